# The windowed maximum, as tests see it.
# Called by: tests/unit/test_maximum.
# RFCs: none.

from pystack.core.tcp.congestion.maximum cimport (
    WindowedMax, maximum_add, maximum_of, maximum_reset,
)


cdef class Maximum:
    cdef WindowedMax maximum
    cdef int window

    def __init__(self, window):
        self.window = window
        maximum_reset(&self.maximum, 0, 0)

    def add(self, now, value):
        """The greatest of the window that ends now."""
        maximum_add(&self.maximum, self.window, now, value)
        return maximum_of(&self.maximum)
