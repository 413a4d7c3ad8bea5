# Stream: a connection as an event loop has it: what arrives is handed over, what is written in
# pieces leaves in one.
# Called by: pystack.aio.
# RFCs: none.

from libc.stdint cimport int64_t
from pystack.engine.watch cimport Watch

cdef class Stream(Watch):
    cdef readonly object protocol   # whose data_received gets what arrives; None: the callback does
    cdef object failed
    # How often the program writes before the loop turns again: as it did the last time.
    cdef int64_t turn           # of the watcher, in which `pieces` are counted
    cdef int64_t pieces
    cdef int64_t expected
    cdef bint more_comes(self) noexcept
