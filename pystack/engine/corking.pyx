# Corking: which writes of an event loop's program wait for those to other connections.
# Called by: watch, stream.
# RFCs: none.

from libc.stdint cimport int64_t
from libc.string cimport memset


cdef void corking_start(Corking* corking) noexcept nogil:
    memset(corking, 0, sizeof(Corking))
    corking.pause = CORK_PAUSE_NS


cdef bint corking_waits(Corking* corking, int64_t now) noexcept nogil:
    cdef bint soon = now - corking.wrote_at <= corking.pause
    corking.wrote_at = now
    corking.writes += 1
    if corking.crowd >= CORK_CROWD and soon and corking.writes < CORK_WRITES:
        return True
    corking.writes = 0
    return False
