# Socket options of a connection or listener, by Linux's numbers.
# Called by: stack's callers (engine).
# RFCs: 9293 section 3.9.1; socket(7), tcp(7).

from libc.stdint cimport int64_t, uint32_t, uint64_t
from pystack.core.tcp.layer cimport FastOpenKeys, Tcb, TcpLayer

# Those of IP that are of connections only, whatever the family.
cdef enum:
    IP_MINTTL = 21
    IP_BIND_ADDRESS_NO_PORT = 24

# level: SOL_SOCKET (1) or IPPROTO_TCP (6); to set those above also IPPROTO_IP (0). 0, -ENOPROTOOPT,
# -EINVAL, -ENOMEM.
# SO_LINGER's value is -1 for off, else seconds.
cdef int tcp_set_option(
        TcpLayer* tcp, Tcb* tcb, int level, int option, int64_t value) noexcept nogil
cdef int tcp_get_option(
        TcpLayer* tcp, const Tcb* tcb, int level, int option, int64_t* value) noexcept nogil
# TCP_FASTOPEN_KEY: one key, or one and the one before, each two little-endian words. 0 or a
# negative errno.
cdef int tcp_set_fast_open_keys(
        Tcb* tcb, const uint64_t* words, uint32_t keys) noexcept nogil
cdef void tcp_get_fast_open_keys(
        const TcpLayer* tcp, const Tcb* tcb, FastOpenKeys* keys) noexcept nogil
