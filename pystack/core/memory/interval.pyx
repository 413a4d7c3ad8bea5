# Interval set: a sorted array of disjoint intervals modulo 2^32.
# Called by: tcp (out-of-order data), ip (fragments).
# RFCs: none.

from libc.stdint cimport int32_t, uint16_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove

cdef enum:
    FIRST_CAPACITY = 4


cdef inline bint before(uint32_t a, uint32_t b) noexcept nogil:
    """True if a precedes b; the two lie within 2^31 of each other."""
    return <int32_t>(a - b) < 0


cdef uint32_t first_ending_after(const IntervalSet* intervals, uint32_t value) noexcept nogil:
    """Index of the first interval whose end lies after `value`; count if none does."""
    cdef uint32_t low = 0
    cdef uint32_t high = intervals.count
    cdef uint32_t middle
    while low < high:
        middle = (low + high) >> 1
        if before(value, intervals.items[middle].end):
            high = middle
        else:
            low = middle + 1
    return low


cdef uint32_t first_starting_after(const IntervalSet* intervals, uint32_t index,
                                   uint32_t value) noexcept nogil:
    """Index, from `index` on, of the first that starts after `value`; count if none does."""
    while index < intervals.count and not before(value, intervals.items[index].start):
        index += 1
    return index


cdef void close_gap(IntervalSet* intervals, uint32_t first, uint32_t last) noexcept nogil:
    """Take out the intervals first..last-1."""
    cdef Interval* items = intervals.items
    memmove(items + first, items + last, (intervals.count - last) * sizeof(Interval))
    intervals.count -= <uint16_t>(last - first)


cdef int make_room(IntervalSet* intervals, uint16_t limit) noexcept nogil:
    """Hold memory for one interval more (count < limit): 0, or -1 when out of memory."""
    cdef uint32_t capacity
    cdef Interval* items
    if intervals.count < intervals.capacity:
        return 0
    capacity = max(<uint32_t>FIRST_CAPACITY, 2 * <uint32_t>intervals.capacity)
    capacity = min(capacity, <uint32_t>limit)
    items = <Interval*>realloc(intervals.items, capacity * sizeof(Interval))
    if items == NULL:
        return -1
    intervals.items = items
    intervals.capacity = <uint16_t>capacity
    return 0


cdef int insert_at(IntervalSet* intervals, uint32_t index, uint32_t start, uint32_t end,
                   uint16_t limit) noexcept nogil:
    cdef Interval* item
    if intervals.count >= limit or make_room(intervals, limit) < 0:
        return -1
    item = intervals.items + index
    memmove(item + 1, item, (intervals.count - index) * sizeof(Interval))
    item.start = start
    item.end = end
    intervals.count += 1
    return 0


cdef void join(IntervalSet* intervals, uint32_t first, uint32_t last, uint32_t start,
               uint32_t end) noexcept nogil:
    """Make one interval of first..last-1 and [start, end), which touches each of them."""
    cdef Interval* item = intervals.items + first
    cdef uint32_t last_end = intervals.items[last - 1].end
    if before(start, item.start):
        item.start = start
    item.end = end if before(last_end, end) else last_end
    close_gap(intervals, first + 1, last)


cdef int interval_add(IntervalSet* intervals, uint32_t start, uint32_t end,
                      uint16_t limit) noexcept nogil:
    """Add [start, end), joining what it overlaps or touches; an empty interval adds nothing.

    Returns 0; -1, and the set unchanged, beyond `limit` intervals or when out of memory.
    """
    cdef uint32_t first, last
    if not before(start, end):
        return 0
    first = first_ending_after(intervals, start - 1)
    last = first_starting_after(intervals, first, end)
    if first == last:
        return insert_at(intervals, first, start, end, limit)
    if intervals.count - (last - first) + 1 > limit:
        return -1
    join(intervals, first, last, start, end)
    return 0


cdef void interval_remove_below(IntervalSet* intervals, uint32_t bound) noexcept nogil:
    """Remove every number before `bound`; an empty set holds no memory."""
    cdef uint32_t first = first_ending_after(intervals, bound)
    if first == intervals.count:
        interval_release(intervals)
        return
    close_gap(intervals, 0, first)
    if before(intervals.items[0].start, bound):
        intervals.items[0].start = bound


cdef const Interval* interval_find(const IntervalSet* intervals, uint32_t value) noexcept nogil:
    """Return the interval that contains `value`, or NULL; valid until the set changes."""
    cdef uint32_t index = first_ending_after(intervals, value)
    if index == intervals.count or before(value, intervals.items[index].start):
        return NULL
    return intervals.items + index


cdef bint interval_overlaps(const IntervalSet* intervals, uint32_t start,
                            uint32_t end) noexcept nogil:
    """True if any number of [start, end) is in the set; never of an empty interval."""
    cdef uint32_t index = first_ending_after(intervals, start)
    if index == intervals.count or not before(start, end):
        return False
    return before(intervals.items[index].start, end)


cdef void interval_release(IntervalSet* intervals) noexcept nogil:
    """Free the memory; the set is empty and usable again."""
    free(intervals.items)
    intervals.items = NULL
    intervals.count = intervals.capacity = 0
