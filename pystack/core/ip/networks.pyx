# IP networks: which addresses are ours, and which of them speaks to a destination.
# Called by: ip input, output and icmp; udp and tcp when they bind and connect; stack.
# RFCs: 6724 section 5, 3021, 919, 922, 1122 section 3.2.1.3.

from libc.errno cimport EADDRNOTAVAIL, EEXIST, EINVAL, ENETUNREACH, ENOMEM
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from pystack.core.ip.layer cimport IpLayer
from pystack.core.ip.network_list cimport AddressPair, Network, NetworkList
from pystack.core.ip.source_rules cimport source_is_better
from pystack.core.wire.address cimport (
    Addr, addr_eq, addr_in_prefix, addr_is_loopback, addr_is_multicast, addr_is_v4
)

cdef enum:
    V4_BITS = 96                # where an IPv4 prefix begins
    V4_BROADCAST_MAX = 126      # /30: longer ones have no network and broadcast address (RFC 3021)
    FIRST_HOST_MAX = 126        # longer prefixes use their address 0 too


cdef Addr last_address(const Addr* prefix, int prefix_length) noexcept nogil:
    """The prefix with all host bits set."""
    cdef Addr a = prefix[0]
    if prefix_length < 64:
        a.lo = ~<uint64_t>0
        a.hi |= ~<uint64_t>0 >> prefix_length
    elif prefix_length < 128:
        a.lo |= ~<uint64_t>0 >> (prefix_length - 64)
    return a


cdef bint overlaps(const Network* network, const Addr* prefix, int prefix_length) noexcept nogil:
    if network.v4 != addr_is_v4(prefix):
        return False
    if network.prefix_length <= prefix_length:
        return addr_in_prefix(prefix, &network.first, network.prefix_length)
    return addr_in_prefix(&network.first, prefix, prefix_length)


cdef inline bint network_has(const Network* network, const Addr* address) noexcept nogil:
    """An address of the prefix: what differs from its first is where its first and last differ."""
    cdef const Addr* first = &network.first
    cdef const Addr* last = &network.last
    return ((address.hi ^ first.hi) & ~(first.hi ^ last.hi)
            | (address.lo ^ first.lo) & ~(first.lo ^ last.lo)) == 0


cdef inline const Network* network_of(
    const NetworkList* networks, const Addr* address
) noexcept nogil:
    """The network that an address is in, whatever it means there; NULL."""
    cdef const Network* network = networks.items
    cdef bint v4 = addr_is_v4(address)
    cdef uint32_t _i
    for _i in range(networks.count):
        # A short IPv6 prefix covers ::ffff:0:0/96 too, where IPv4 is held.
        if network.v4 == v4 and network_has(network, address):
            return network
        network += 1
    return NULL


cdef inline bint is_network_broadcast(const Network* network, const Addr* address) noexcept nogil:
    """The network's own address or its directed broadcast (RFC 922); /31 and /32 have none."""
    if not network.v4 or network.prefix_length > V4_BROADCAST_MAX:
        return False
    return address.lo == network.first.lo or address.lo == network.last.lo


cdef bint is_excluded(const NetworkList* networks, const Addr* address) noexcept nogil:
    cdef uint32_t i
    for i in range(networks.excluded_count):
        if addr_eq(&networks.excluded[i], address):
            return True
    return False


cdef void forget_addresses(NetworkList* networks) noexcept nogil:
    """What was noted of them may be true no more."""
    networks.noted[0].is_set = networks.noted[1].is_set = False


cdef int ip_add_network(IpLayer* ip, const Addr* prefix, int prefix_length) noexcept nogil:
    """Add a network whose addresses all answer.

    0; -EINVAL: host bits set, or no unicast network; -EEXIST: overlaps another; -ENOMEM.
    """
    cdef NetworkList* networks = &ip.networks
    cdef bint v4 = addr_is_v4(prefix)
    cdef Network* network
    cdef uint32_t i
    if prefix_length < 0 or prefix_length > 128 or (v4 and prefix_length < V4_BITS):
        return -EINVAL
    if not addr_in_prefix(prefix, prefix, prefix_length):
        return -EINVAL
    if addr_is_multicast(prefix):
        return -EINVAL
    for i in range(networks.count):
        if overlaps(&networks.items[i], prefix, prefix_length):
            return -EEXIST
    network = <Network*>realloc(networks.items, (networks.count + 1) * sizeof(Network))
    if network == NULL:
        return -ENOMEM
    networks.items = network
    network += networks.count
    network.first = prefix[0]
    network.last = last_address(prefix, prefix_length)
    network.prefix_length = prefix_length
    network.v4 = v4
    networks.count += 1
    forget_addresses(networks)
    return 0


cdef int ip_exclude_address(IpLayer* ip, const Addr* address) noexcept nogil:
    """Say that an address is somebody else's; 0, or -ENOMEM."""
    cdef NetworkList* networks = &ip.networks
    cdef Addr* excluded
    if is_excluded(networks, address):
        return 0
    excluded = <Addr*>realloc(networks.excluded, (networks.excluded_count + 1) * sizeof(Addr))
    if excluded == NULL:
        return -ENOMEM
    networks.excluded = excluded
    excluded[networks.excluded_count] = address[0]
    networks.excluded_count += 1
    forget_addresses(networks)
    return 0


cdef void networks_release(IpLayer* ip) noexcept nogil:
    """Free the lists; there are no networks then."""
    free(ip.networks.items)
    free(ip.networks.excluded)
    ip.networks.items = NULL
    ip.networks.excluded = NULL
    ip.networks.count = ip.networks.excluded_count = 0
    forget_addresses(&ip.networks)


cdef void ip_note_addresses(
    IpLayer* ip, const Addr* source, const Addr* destination, bint v6
) noexcept nogil:
    cdef AddressPair* noted = &ip.networks.noted[v6]
    noted.source = source[0]
    noted.destination = destination[0]
    noted.is_set = True


cdef inline bint is_of_loopback(const Network* network) noexcept nogil:
    """A network that was given as one: 127.0.0.0/8 or a part of it, ::1/128."""
    return addr_is_loopback(&network.first)


cdef bint ip_is_destination(IpLayer* ip, const Addr* address, bint looped) noexcept nogil:
    """True of a unicast address of one of our networks that is not excluded.

    A loopback address is one to ourselves only (RFC 1122 section 3.2.1.3 (g), RFC 4291 2.5.3).
    """
    cdef const Network* network = network_of(&ip.networks, address)
    if network == NULL or is_network_broadcast(network, address):
        return False
    if not addr_is_unicast(address) and not (looped and is_of_loopback(network)):
        return False
    return not is_excluded(&ip.networks, address)


cdef bint ip_is_local(IpLayer* ip, const Addr* address) noexcept nogil:
    """True of an address that we may speak from and to, if only to ourselves."""
    return ip_is_destination(ip, address, True)


cdef bint ip_leaves_loopback(
    IpLayer* ip, const Addr* source, const Addr* destination
) noexcept nogil:
    """From a loopback address to somebody else: no wire may carry that."""
    return addr_is_loopback(source) and not ip_is_local(ip, destination)


cdef bint ip_is_broadcast(IpLayer* ip, const Addr* address) noexcept nogil:
    """True of the limited broadcast address and of those of our networks."""
    cdef const Network* network
    if not addr_is_v4(address):
        return False
    if <uint32_t>address.lo == <uint32_t>0xFFFFFFFF:
        return True
    network = network_of(&ip.networks, address)
    return network != NULL and is_network_broadcast(network, address)


cdef bint ip_is_source(IpLayer* ip, const Addr* address, bint looped) noexcept nogil:
    """True of one host's address (RFC 1122 section 3.2.1.3); of ours only if the packet is ours.

    A device that claims to send from one of our addresses could set two of our services talking
    to each other for ever (RFC 1812 section 5.3.8).
    """
    cdef const Network* network
    if not addr_is_unicast(address):
        return looped and ip_is_local(ip, address)
    network = network_of(&ip.networks, address)
    if network == NULL:
        return True
    if is_network_broadcast(network, address):
        return False
    return looped or is_excluded(&ip.networks, address)


cdef bint first_usable(IpLayer* ip, const Network* network, Addr* address) noexcept nogil:
    """The lowest address of a network that is ours to use.

    Address 0 is skipped where it is the network's, or the routers' anycast (RFC 4291 2.6.1).
    """
    cdef uint32_t start = 1 if network.prefix_length <= FIRST_HOST_MAX else 0
    cdef uint32_t i
    for i in range(start, start + ip.networks.excluded_count + 1):
        address[0] = network.first
        address.lo += i
        if not network_has(network, address):
            return False
        if ip_is_local(ip, address):
            return True
    return False


cdef int ip_choose_source(IpLayer* ip, const Addr* destination, Addr* source) noexcept nogil:
    """Choose among the first usable address of each network of the destination's family.

    0; -ENETUNREACH: no network of that family; -EADDRNOTAVAIL: no usable address in them.
    """
    cdef const Network* network
    cdef Addr candidate
    cdef int result = -ENETUNREACH
    cdef int best_length = 0
    cdef uint32_t i
    if ip_is_local(ip, destination):        # rule 1: the same address
        source[0] = destination[0]
        return 0
    for i in range(ip.networks.count):
        network = &ip.networks.items[i]
        if network.v4 != addr_is_v4(destination) or is_of_loopback(network):
            continue
        if result == -ENETUNREACH:
            result = -EADDRNOTAVAIL
        if not first_usable(ip, network, &candidate):
            continue
        if result != 0 or source_is_better(
            destination, &candidate, network.prefix_length, source, best_length
        ):
            source[0] = candidate
            best_length = network.prefix_length
        result = 0
    return result
