# TcpHandle: a TCP socket as Python holds it.
# Called by: pystack.socket, which adds what is Python's: addresses as tuples, flags, constants.
# RFCs: 9293 section 3.9.1; socket(7), tcp(7).

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t
from pystack.core.memory.flow cimport FlowKey
from pystack.core.memory.loan cimport Lender
from pystack.core.tcp.layer cimport Tcb
from pystack.core.wire.address cimport Addr
from pystack.engine.endpoint cimport Handle

cdef class TcpHandle(Handle):
    cdef bint connecting        # a connect that did not wait: the next one tells how it has ended
    cdef Tcb* tcb(self) noexcept nogil
    cdef int accept_into(self, TcpHandle child, int64_t until, FlowKey* key) noexcept nogil
    cdef int begin_connect(self, const Addr* address, uint16_t port) noexcept nogil
    cdef bint in_handshake(self) noexcept nogil
    cdef int start_anew(self) noexcept nogil
    cdef int finish_connect(self, int64_t until) noexcept nogil
    cdef size_t waiting(self) noexcept nogil
    cdef int64_t receive(
        self, uint8_t* target, size_t length, int flags, int64_t until
    ) noexcept nogil
    cdef int64_t receive_released(
        self, uint8_t* target, size_t length, int flags, int64_t until
    ) noexcept
    cdef int64_t begin_fast_open(
        self, const Addr* address, uint16_t port, const uint8_t* data, size_t length
    ) noexcept nogil
    cdef int64_t open_fast(
        self, const Addr* address, uint16_t port, const uint8_t* data, size_t length, int64_t until
    ) noexcept nogil
    cdef int64_t transmit(
        self, const uint8_t* data, size_t length, int flags, int64_t until, bint everything,
        const Addr* address, uint16_t port, Lender* lender
    ) noexcept nogil
    cdef int64_t transmit_released(
        self, const uint8_t* data, size_t length, int flags, int64_t until, bint everything,
        Lender* lender
    ) noexcept
    cdef int64_t transmit_from(self, data, int flags, timeout, bint everything) except -1
    # The text that there is, up to so much; None: there is none, or something else has happened.
    cdef bytes take(self, size_t most)
    cdef int64_t take_into(self, uint8_t* target, size_t length) noexcept nogil
    # What is taken at once: 1..length, or a negative code; hold: it may leave later, if it is all.
    cdef int64_t submit(
        self, const uint8_t* data, size_t length, bint hold, Lender* lender
    ) noexcept nogil
    cdef int linger(self, bint may_wait) noexcept nogil
