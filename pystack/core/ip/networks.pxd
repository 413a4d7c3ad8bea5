# IP networks: which addresses are ours, and which of them speaks to a destination (RFC 6724).

from libc.stdint cimport uint32_t
from pystack.core.ip.layer cimport IpLayer
from pystack.core.ip.network_list cimport AddressPair
from pystack.core.wire.address cimport (
    Addr, addr_eq, addr_is_any, addr_is_loopback, addr_is_multicast, addr_is_v4, addr_v4
)

# Our networks: prefix_length 0..128 (IPv4 adds 96). 0; -EINVAL host bits set; -EEXIST overlaps;
# -ENOMEM.
cdef int ip_add_network(IpLayer* ip, const Addr* prefix, int prefix_length) noexcept nogil
# An address inside our networks that is somebody else's (the kernel's end of a TUN).
cdef int ip_exclude_address(IpLayer* ip, const Addr* address) noexcept nogil
# Unicast address of ours that may be a source or a destination.
cdef bint ip_is_local(IpLayer* ip, const Addr* address) noexcept nogil
# The same, of a packet's destination; looped: the packet comes from ourselves.
cdef bint ip_is_destination(IpLayer* ip, const Addr* address, bint looped) noexcept nogil
# What no wire may carry: from a loopback address to somebody else.
cdef bint ip_leaves_loopback(
    IpLayer* ip, const Addr* source, const Addr* destination
) noexcept nogil
# Source for a destination (RFC 6724 section 5): 0, or -EADDRNOTAVAIL / -ENETUNREACH.
cdef int ip_choose_source(IpLayer* ip, const Addr* destination, Addr* source) noexcept nogil
# An address of our networks that stands for all of their hosts: no unicast address, neither source
# nor destination.
cdef bint ip_is_broadcast(IpLayer* ip, const Addr* address) noexcept nogil
# An address that a packet may come from; looped: it comes from ourselves.
cdef bint ip_is_source(IpLayer* ip, const Addr* address, bint looped) noexcept nogil
cdef void networks_release(IpLayer* ip) noexcept nogil
# Note that these are a source and a destination of ours, of a packet that has not looped.
cdef void ip_note_addresses(
    IpLayer* ip, const Addr* source, const Addr* destination, bint v6
) noexcept nogil


cdef inline bint ip_addresses_are_noted(
    const IpLayer* ip, const Addr* source, const Addr* destination, bint v6
) noexcept nogil:
    """They were noted last, so that nobody need look again."""
    cdef const AddressPair* noted = &ip.networks.noted[v6]
    return (noted.is_set and addr_eq(source, &noted.source)
            and addr_eq(destination, &noted.destination))


cdef inline bint addr_is_unicast(const Addr* a) noexcept nogil:
    """An address that one host may have on a wire (RFC 1122 section 3.2.1.3, RFC 4291 2.5)."""
    cdef uint32_t first
    if not addr_is_v4(a):
        return not (addr_is_multicast(a) or addr_is_any(a) or addr_is_loopback(a))
    first = addr_v4(a) >> 24
    return first != 0 and first != 127 and first >> 4 != 0xE and addr_v4(a) != <uint32_t>0xFFFFFFFF
