# Assertions about our own callers: C's assert, which a release build (-DNDEBUG) leaves out.
# Called by: memory/*.pyx.
# RFCs: none.

cdef extern from "<assert.h>" nogil:
    void check "assert"(bint fact) noexcept
