# The user calls of RFC 9293 section 3.9.1: OPEN, CLOSE, ABORT, STATUS; in the manner of
# sockets. SEND and RECEIVE: transfer.
# Called by: stack's callers (engine), with the lock held and context.now set; native services.
# RFCs: 9293 section 3.9.1 and 3.10.1 to 3.10.6.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from pystack.core.tcp.layer cimport Backlog, Tcb, TcpLayer
from pystack.core.wire.address cimport Addr

# All return 0 or a count, or a negative errno.
# A new TCB, CLOSED, held by the caller until tcp_close. NULL: out of memory.
cdef Tcb* tcp_open(TcpLayer* tcp, bint v6) noexcept nogil
cdef int tcp_bind(TcpLayer* tcp, Tcb* tcb, const Addr* address, uint16_t port) noexcept nogil
cdef int tcp_listen(TcpLayer* tcp, Tcb* tcb, int backlog) noexcept nogil
# The next established connection, which the caller then holds, or NULL. READY_READ of the listener
# announces it.
cdef Tcb* tcp_accept(TcpLayer* tcp, Tcb* listener) noexcept nogil
# As connect and send in one: the SYN carries data if there is a cookie. How much of it; the rest
# is to be sent later. address NULL: of the connect() that has been deferred.
cdef int64_t tcp_fast_open(
        TcpLayer* tcp, Tcb* tcb, const Addr* address, uint16_t port, const uint8_t* data,
        size_t length) noexcept nogil
# A listener's queues, made if they are not there yet; NULL when out of memory.
cdef Backlog* tcp_backlog(Tcb* tcb) noexcept nogil
# 0: SYN sent; READY_WRITE or READY_ERROR follows. Chooses address and port if need be.
cdef int tcp_connect(TcpLayer* tcp, Tcb* tcb, const Addr* address, uint16_t port) noexcept nogil
# how: 0 read, 1 write, 2 both (SHUT_RD, SHUT_WR, SHUT_RDWR).
cdef int tcp_shutdown(TcpLayer* tcp, Tcb* tcb, int how) noexcept nogil
# The holder lets go: linger, orphan, or RST if unread data would be lost (RFC 2525 section 2.17).
# endpoint.owner must
# be NULL; tcb must not be used afterwards.
cdef void tcp_close(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# As tcp_close, with RST and everything dropped.
cdef void tcp_abort(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# What poll() would say now: Ready bits.
cdef int tcp_poll(const Tcb* tcb) noexcept nogil
# What an ICMP error has said of a connection that goes on, errno, positive, once; 0: nothing.
cdef int tcp_take_soft_error(Tcb* tcb) noexcept nogil
# True when SO_LINGER's wait is over: all data and the FIN are acknowledged, or the connection is
# gone.
cdef bint tcp_drained(const Tcb* tcb) noexcept nogil
