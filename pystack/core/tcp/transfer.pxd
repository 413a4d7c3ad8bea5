# Transfer: the user calls SEND and RECEIVE (RFC 9293 section 3.9.1), in the manner of sockets.
# Called by: stack's callers (engine), with the lock held and context.now set; native services.
# RFCs: 9293 sections 3.10.2 and 3.10.3.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from pystack.core.memory.loan cimport Lender
from pystack.core.tcp.layer cimport Tcb, TcpLayer

# All return a count, or a negative errno.
# 1..length; -EAGAIN: no room now (READY_WRITE follows); -EPIPE; -ENOTCONN; the pending error.
# lender: whose bytes need not be copied; NULL: the caller's, who may change them.
cdef int64_t tcp_send(
        TcpLayer* tcp, Tcb* tcb, const uint8_t* data, size_t length, bint more,
        bint urgent, Lender* lender) noexcept nogil
# Fill the send buffer with a pattern that outlives the connection and is not copied (ring_lend).
cdef void tcp_send_pattern(
        TcpLayer* tcp, Tcb* tcb, uint8_t* pattern, uint32_t capacity,
        uint32_t period) noexcept nogil
# 1..length; 0: end of stream; -EAGAIN: nothing yet (READY_READ follows); -ENOTCONN; the pending
# error.
cdef int64_t tcp_receive(
        TcpLayer* tcp, Tcb* tcb, uint8_t* target, size_t length, bint peek) noexcept nogil
cdef int64_t tcp_peek(
        TcpLayer* tcp, Tcb* tcb, uint8_t* target, size_t length, uint32_t offset) noexcept nogil
# The application is done with `size` received bytes that it has looked at in the ring itself.
cdef void tcp_consume(TcpLayer* tcp, Tcb* tcb, uint32_t size) noexcept nogil
# RECEIVE that waits and wants no bytes, so that nobody has to wake for them. Begin: up to `length`
# bytes are dropped as they come, and READY_READ follows the last one; False: another call does so
# already, or out of memory. End: how many were dropped.
cdef bint tcp_drop_begin(TcpLayer* tcp, Tcb* tcb, uint64_t length) noexcept nogil
cdef void tcp_drop(TcpLayer* tcp, Tcb* tcb) noexcept nogil      # what has come; output.pyx
cdef uint64_t tcp_drop_end(TcpLayer* tcp, Tcb* tcb) noexcept nogil
