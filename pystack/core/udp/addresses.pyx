# Which addresses a socket may have and speak to, and which one it speaks from.
# Called by: udp/datagram.
# RFCs: 3493 sections 3.7 and 5.3 (mapped addresses, IPV6_V6ONLY), 6724 (by ip_choose_source).

from libc.errno cimport EACCES, EADDRNOTAVAIL, EAFNOSUPPORT, EINVAL, ENETUNREACH
from pystack.core.endpoint cimport MANNER_FREE_BIND, MANNER_TRANSPARENT
from pystack.core.ip.networks cimport (
    ip_choose_source, ip_is_broadcast, ip_is_local, ip_leaves_loopback
)
from pystack.core.udp.layer cimport Datagram, UdpLayer
from pystack.core.wire.address cimport Addr, addr_is_any, addr_is_multicast, addr_is_v4


cdef bint is_of_many(UdpLayer* udp, const Addr* address) noexcept nogil:
    """An address to listen at, but not to speak from."""
    return addr_is_multicast(address) or ip_is_broadcast(udp.ip, address)


cdef int local_check(UdpLayer* udp, const Datagram* socket, const Addr* address) noexcept nogil:
    """Whether a socket may be bound to an address, whatever the port: 0, or the errno of Linux."""
    if socket.bound:
        return -EINVAL
    if not socket.v6 and not addr_is_v4(address):
        return -EAFNOSUPPORT
    if socket.v6 and socket.endpoint.v6only and addr_is_v4(address):
        return -EINVAL
    if addr_is_any(address) or ip_is_local(udp.ip, address) or is_of_many(udp, address):
        return 0
    if socket.endpoint.manners & (MANNER_FREE_BIND | MANNER_TRANSPARENT):
        return 0
    return -EADDRNOTAVAIL


cdef int remote_check(
    UdpLayer* udp, const Datagram* socket, const Addr* remote
) noexcept nogil:
    """Whether a socket may speak to an address at all: 0, or the errno of Linux."""
    if not socket.v6 and not addr_is_v4(remote):
        return -EAFNOSUPPORT
    if not addr_is_v4(remote):
        return 0
    if socket.v6 and socket.endpoint.v6only:
        return -ENETUNREACH
    if not socket.broadcast and ip_is_broadcast(udp.ip, remote):
        return -EACCES
    return 0


cdef int source_find(
    UdpLayer* udp, const Datagram* socket, const Addr* bound, const Addr* remote, Addr* source
) noexcept nogil:
    """The source of datagrams to a remote address: the bound address, or the one to be chosen.

    Returns 0; -EAFNOSUPPORT or -ENETUNREACH for two families that do not meet; or as
    ip_choose_source.
    """
    if addr_is_v4(bound) and not addr_is_v4(remote):
        return -EAFNOSUPPORT
    if addr_is_any(bound) or is_of_many(udp, bound):
        return ip_choose_source(udp.ip, remote, source)
    if addr_is_v4(remote) and not addr_is_v4(bound):
        return -ENETUNREACH
    if is_foreign(udp, socket, bound):
        return -ENETUNREACH
    if ip_leaves_loopback(udp.ip, bound, remote) and not addr_is_multicast(remote):
        return -EINVAL
    source[0] = bound[0]
    return 0


cdef bint is_foreign(UdpLayer* udp, const Datagram* socket, const Addr* source) noexcept nogil:
    """An address that the socket could be bound to, but not speak from.

    As in Linux the right to do so comes with IP_TRANSPARENT only, but for IPv6.
    """
    if not addr_is_v4(source) or socket.endpoint.manners & MANNER_TRANSPARENT:
        return False
    return socket.endpoint.manners & MANNER_FREE_BIND and not ip_is_local(udp.ip, source)


cdef int source_check(
    UdpLayer* udp, const Datagram* socket, const Addr* source, const Addr* remote
) noexcept nogil:
    """Whether datagrams to a remote address may come from this one (IP_PKTINFO): 0, or -EINVAL."""
    if addr_is_v4(source) != addr_is_v4(remote):
        return -EINVAL
    if ip_is_local(udp.ip, source) or socket.endpoint.manners & MANNER_TRANSPARENT:
        return 0
    if socket.endpoint.manners & MANNER_FREE_BIND and not addr_is_v4(source):
        return 0
    return -EINVAL
