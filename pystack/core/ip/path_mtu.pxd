# IP path mtu: path MTU cache (RFC 1191, 8201).

from libc.stdint cimport uint32_t
from pystack.core.ip.layer cimport IpLayer
from pystack.core.wire.address cimport Addr

# Bytes of IP packet that fit the path: the device's MTU, or less after a Packet Too Big that a
# transport has vouched for.
cdef uint32_t ip_path_mtu(IpLayer* ip, const Addr* local, const Addr* remote) noexcept nogil
# A transport has checked a TOO_BIG error. 1: the path MTU was lowered; 0: ignored (below minimum,
# not lower).
cdef int ip_path_mtu_lower(
    IpLayer* ip, const Addr* local, const Addr* remote, uint32_t mtu
) noexcept nogil
# True if the path takes less than we go down to: then IPv4 packets leave without DF, and routers
# may cut them.
cdef bint ip_path_mtu_is_locked(IpLayer* ip, const Addr* local, const Addr* remote) noexcept nogil
cdef void path_mtu_init(IpLayer* ip) noexcept nogil
cdef void path_mtu_release(IpLayer* ip) noexcept nogil
