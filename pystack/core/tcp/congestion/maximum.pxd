# The greatest value of a moving window, in constant space.
# Called by: bbr_model.
# RFCs: none; the estimator is K. Nichols' (as in Linux's win_minmax).

from libc.stdint cimport uint32_t, uint64_t

# The best of the window, and the best after the one before: [0] is the greatest.
ctypedef struct WindowedMax:
    uint64_t value[3]
    uint32_t at[3]

# `value` at `now`, which never goes back; what is older than `window` does not count any more.
cdef void maximum_add(
        WindowedMax* maximum, uint32_t window, uint32_t now, uint64_t value) noexcept nogil
# Nothing counts but this value.
cdef void maximum_reset(WindowedMax* maximum, uint32_t now, uint64_t value) noexcept nogil


cdef inline uint64_t maximum_of(const WindowedMax* maximum) noexcept nogil:
    return maximum.value[0]
