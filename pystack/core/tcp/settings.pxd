# Socket options of a connection or listener, by Linux's numbers.
# Called by: stack's callers (engine).
# RFCs: 9293 section 3.9.1; socket(7), tcp(7).

from libc.stdint cimport int64_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer

# level: SOL_SOCKET (1) or IPPROTO_TCP (6). 0, -ENOPROTOOPT, -EINVAL.
# SO_LINGER's value is -1 for off, else seconds.
cdef int tcp_set_option(
        TcpLayer* tcp, Tcb* tcb, int level, int option, int64_t value) noexcept nogil
cdef int tcp_get_option(
        TcpLayer* tcp, const Tcb* tcb, int level, int option, int64_t* value) noexcept nogil
