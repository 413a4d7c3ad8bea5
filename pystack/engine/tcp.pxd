# TcpHandle: a TCP socket as Python holds it: what is sent and received, and the end.
# Called by: pystack.socket, which adds what is Python's: addresses as tuples, flags, constants.
# RFCs: 9293 section 3.9.1; socket(7), tcp(7).

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t
from pystack.core.memory.loan cimport Lender
from pystack.core.wire.address cimport Addr
from pystack.engine.tcp_endpoint cimport TcpEndpoint

cdef class TcpHandle(TcpEndpoint):
    cdef size_t waiting(self) noexcept nogil
    cdef int64_t receive(
        self, uint8_t* target, size_t length, int flags, int64_t until
    ) noexcept nogil
    cdef int wait_and_drop(self, size_t length, size_t* done, int64_t until) noexcept nogil
    cdef int64_t receive_released(
        self, uint8_t* target, size_t length, int flags, int64_t until
    ) noexcept
    cdef int64_t transmit(
        self, const uint8_t* data, size_t length, int flags, int64_t until, bint everything,
        const Addr* address, uint16_t port, Lender* lender
    ) noexcept nogil
    cdef int64_t transmit_released(
        self, const uint8_t* data, size_t length, int flags, int64_t until, bint everything,
        Lender* lender
    ) noexcept
    cdef int64_t transmit_short(self, const uint8_t* data, size_t length) noexcept
    cdef int64_t transmit_from(self, data, int flags, timeout, bint everything) except -1
    # The text that there is, up to so much; None: there is none, or something else has happened.
    cdef bytes take(self, size_t most)
    cdef int64_t take_into(self, uint8_t* target, size_t length) noexcept nogil
    # What is taken at once: 1..length, or a negative code; hold: it may leave later, if it is all.
    cdef int64_t submit(
        self, const uint8_t* data, size_t length, bint hold, Lender* lender
    ) noexcept nogil
    cdef int linger(self, bint may_wait) noexcept nogil
