# Errors: the one place where negative codes become Python exceptions.
# Called by: whatever in engine/ Python calls.
# RFCs: none.

from libc.stdint cimport int64_t

cdef extern from "errno.h" nogil:
    enum:
        EDEADLK                 # libc.errno leaves it out

# Codes of the engine's own, beyond every errno.
cdef enum:
    TIMED_OUT = -100001         # the caller's time is over
    RAISED = -100002            # an exception is set already: a signal's handler raised it
    FORKED = -100003            # called in a child of the process that made the stack
    BACKWARDS = -100004         # the caller's time goes back

# Raises for code < 0; returns 0 otherwise.
cdef int check(int64_t code) except -1
