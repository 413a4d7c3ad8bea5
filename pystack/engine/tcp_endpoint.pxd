# TcpEndpoint: how a TCP socket gets its names, listens, is opened, and what it tells of itself.
# Called by: tcp, which adds the bytes and the end.
# RFCs: 9293 section 3.9.1; socket(7), tcp(7).

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t
from pystack.core.memory.flow cimport FlowKey
from pystack.core.tcp.layer cimport Tcb
from pystack.core.wire.address cimport Addr
from pystack.engine.endpoint cimport Handle

cdef class TcpEndpoint(Handle):
    cdef bint connecting        # a connect that did not wait: the next one tells how it has ended
    cdef Tcb* tcb(self) noexcept nogil
    cdef int accept_into(self, TcpEndpoint child, int64_t until, FlowKey* key) noexcept nogil
    cdef int begin_connect(self, const Addr* address, uint16_t port) noexcept nogil
    cdef bint in_handshake(self) noexcept nogil
    cdef int start_anew(self) noexcept nogil
    cdef int finish_connect(self, int64_t until) noexcept nogil
    cdef int64_t begin_fast_open(
        self, const Addr* address, uint16_t port, const uint8_t* data, size_t length
    ) noexcept nogil
    cdef int64_t open_fast(
        self, const Addr* address, uint16_t port, const uint8_t* data, size_t length, int64_t until
    ) noexcept nogil
