# The greatest value of a moving window, in constant space.
# Called by: bbr_model.
# RFCs: none; the estimator is K. Nichols' (as in Linux's win_minmax).

from libc.stdint cimport uint32_t, uint64_t


cdef void keep_from(
        WindowedMax* maximum, int place, uint32_t now, uint64_t value) noexcept nogil:
    for place in range(place, 3):
        maximum.value[place] = value
        maximum.at[place] = now


cdef void maximum_reset(WindowedMax* maximum, uint32_t now, uint64_t value) noexcept nogil:
    keep_from(maximum, 0, now, value)


cdef void forget_first(WindowedMax* maximum, uint32_t now, uint64_t value) noexcept nogil:
    cdef int i
    for i in range(2):
        maximum.value[i] = maximum.value[i + 1]
        maximum.at[i] = maximum.at[i + 1]
    keep_from(maximum, 2, now, value)


cdef void maximum_add(
        WindowedMax* maximum, uint32_t window, uint32_t now, uint64_t value) noexcept nogil:
    """The second is the best of the last three quarters of the window, the third of its last half:
    when the first has grown too old, one is at hand that has not.
    """
    cdef uint32_t age
    if value >= maximum.value[0] or now - maximum.at[2] > window:
        keep_from(maximum, 0, now, value)
        return
    if value >= maximum.value[1]:
        keep_from(maximum, 1, now, value)
    elif value >= maximum.value[2]:
        keep_from(maximum, 2, now, value)
    age = now - maximum.at[0]
    if age > window:
        forget_first(maximum, now, value)
        if now - maximum.at[0] > window:
            forget_first(maximum, now, value)
    elif maximum.at[1] == maximum.at[0] and age > window // 4:
        keep_from(maximum, 1, now, value)
    elif maximum.at[2] == maximum.at[1] and age > window // 2:
        keep_from(maximum, 2, now, value)
