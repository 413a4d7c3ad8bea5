# Interval set: disjoint, sorted, non-adjacent half-open intervals of 32-bit numbers modulo 2^32.
# Called by: tcp (out-of-order data), ip (fragments). All members lie within 2^31 of each other.
# RFCs: none.

from libc.stdint cimport uint16_t, uint32_t

ctypedef struct Interval:
    uint32_t start
    uint32_t end            # exclusive

ctypedef struct IntervalSet:
    Interval* items         # NULL while empty
    uint16_t count
    uint16_t capacity

# Add [start, end), joining what it touches. Returns 0; -1, and the set unchanged, if that would
# need more than `limit` intervals or memory that is not there.
cdef int interval_add(IntervalSet* intervals, uint32_t start, uint32_t end,
                      uint16_t limit) noexcept nogil
# Remove everything before `bound`.
cdef void interval_remove_below(IntervalSet* intervals, uint32_t bound) noexcept nogil
# The interval that contains `value`, or NULL.
cdef const Interval* interval_find(const IntervalSet* intervals, uint32_t value) noexcept nogil
# True if any number of [start, end) is in the set.
cdef bint interval_overlaps(const IntervalSet* intervals, uint32_t start,
                            uint32_t end) noexcept nogil
cdef void interval_release(IntervalSet* intervals) noexcept nogil
