# Interval set, as tests see it.
# Called by: tests/unit/test_interval, tests/unit/exhaustion.
# RFCs: none.

from libc.stdint cimport uint16_t, uint32_t
from pystack.core.memory.interval cimport (
    Interval, IntervalSet, interval_add, interval_find, interval_overlaps, interval_release,
    interval_remove_below,
)


cdef class Intervals:
    cdef IntervalSet intervals

    def __dealloc__(self):
        interval_release(&self.intervals)

    @property
    def items(self):
        return [(self.intervals.items[i].start, self.intervals.items[i].end)
                for i in range(self.intervals.count)]

    @property
    def capacity(self):
        return self.intervals.capacity

    @property
    def has_memory(self):
        return self.intervals.items != NULL

    def add(self, uint32_t start, uint32_t end, uint16_t limit):
        return interval_add(&self.intervals, start, end, limit)

    def remove_below(self, uint32_t bound):
        interval_remove_below(&self.intervals, bound)

    def find(self, uint32_t value):
        cdef const Interval* found = interval_find(&self.intervals, value)
        return None if found == NULL else (found.start, found.end)

    def overlaps(self, uint32_t start, uint32_t end):
        return interval_overlaps(&self.intervals, start, end)

    def release(self):
        interval_release(&self.intervals)
