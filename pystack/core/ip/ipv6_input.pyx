# IPv6 input: header, addresses, extension headers, fragments.
# Called by: ip input.
# RFCs: 8200, 4291 section 2.5, 5722, 6946, 7112.

from libc.stdint cimport uint32_t
from pystack.core.context cimport packet_drop
from pystack.core.counters cimport Counter
from pystack.core.ip.control_noise cimport is_control_noise
from pystack.core.ip.extensions cimport (
    EXTENSIONS_DROPPED, EXTENSIONS_FRAGMENT, EXTENSIONS_UPPER, ExtensionResult, ExtensionWalk,
    extensions_begin, extensions_reject, extensions_step, extensions_walk
)
from pystack.core.ip.fragments cimport Fragment, fragments_input
from pystack.core.ip.icmp cimport icmp6_parameter_problem
from pystack.core.ip.layer cimport IpLayer, IpView, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP
from pystack.core.ip.membership cimport ip_multicast_is_joined
from pystack.core.ip.networks cimport (
    ip_addresses_are_noted, ip_is_destination, ip_is_source, ip_note_addresses
)
from pystack.core.ip.output cimport PACKET_LOOPED
from pystack.core.memory.packet cimport Packet
from pystack.core.wire.address cimport Addr, addr_is_multicast, addr_is_v4
from pystack.core.wire.icmp cimport (
    ICMP6_ERRONEOUS_FIELD, ICMP6_INCOMPLETE_CHAIN, ICMP6_UNKNOWN_NEXT_HEADER
)
from pystack.core.wire.ipv6 cimport (
    IPV6_BAD_LENGTH, IPV6_BAD_VERSION, IPV6_FRAGMENT_LENGTH, IPV6_HEADER_LENGTH, Ipv6Fragment,
    Ipv6Header, Ipv6Upper, NEXT_HOP_BY_HOP, NEXT_NONE, ipv6_find_upper, ipv6_fragment_read,
    ipv6_parse, ipv6_read
)

cdef enum:
    PAYLOAD_LENGTH_AT = 4       # in the fixed header
    FRAGMENT_OFFSET_AT = 2      # in the fragment header
    PAYLOAD_MAX = 65535
    TCP_HEADER_LENGTH = 20
    TRANSPORT_HEADER_LENGTH = 8     # of UDP and ICMPv6


cdef Counter reason_of(int fault) noexcept nogil:
    if fault == IPV6_BAD_VERSION:
        return Counter.IP_DROP_BAD_VERSION
    if fault == IPV6_BAD_LENGTH:
        return Counter.IP_DROP_BAD_TOTAL_LENGTH
    return Counter.IP_DROP_TOO_SHORT


cdef bint drop(IpLayer* ip, Packet* packet, Counter reason) noexcept nogil:
    packet_drop(ip.context, packet, reason)
    return False


cdef bint drop_multicast(IpLayer* ip, Packet* packet, const Addr* destination) noexcept nogil:
    """Nothing here listens to it; but unknown options are judged (RFC 8200 section 4.2)."""
    cdef ExtensionWalk walk
    cdef ExtensionResult result
    extensions_begin(packet, &walk)
    result = extensions_walk(ip, packet, destination, &walk)
    if result == EXTENSIONS_DROPPED:
        return False
    if result == EXTENSIONS_UPPER and is_control_noise(
        packet.data + walk.offset, packet.length - walk.offset, walk.next_header
    ):
        return drop(ip, packet, Counter.IP_IGNORED_MULTICAST_CONTROL)
    return drop(ip, packet, Counter.IP_DROP_BROADCAST_OR_MULTICAST)


cdef bint addresses_fit(
    IpLayer* ip, Packet* packet, const Ipv6Header* header, bint* to_many
) noexcept nogil:
    """Judge source and destination."""
    cdef bint looped = packet.control[0] == PACKET_LOOPED
    if ip_addresses_are_noted(ip, &header.source, &header.destination, True):
        return True
    if addr_is_multicast(&header.destination):
        if not ip_multicast_is_joined(ip, &header.destination) or (
                not ip_is_source(ip, &header.source, looped)):
            return drop_multicast(ip, packet, &header.destination)
        to_many[0] = True
    elif addr_is_v4(&header.destination) or (
            not ip_is_destination(ip, &header.destination, looped)):
        return drop(ip, packet, Counter.IP_DROP_NOT_OUR_ADDRESS)
    # Mapped addresses are ours to hold IPv4 in, and never on a wire (RFC 4291 section 2.5.5.2).
    if addr_is_v4(&header.source) or not ip_is_source(ip, &header.source, looped):
        return drop(ip, packet, Counter.IP_DROP_BAD_SOURCE)
    if not looped and not to_many[0]:
        ip_note_addresses(ip, &header.source, &header.destination, True)
    return True


cdef bint ipv6_accept(IpLayer* ip, Packet* packet, IpView* view) noexcept nogil:
    """Judge the fixed header and its addresses."""
    cdef bint to_many = False
    cdef Ipv6Header header
    cdef int fault = ipv6_parse(packet.data, packet.length, &header)
    if fault:
        return drop(ip, packet, reason_of(fault))
    packet.length = IPV6_HEADER_LENGTH + <uint32_t>header.payload_length
    if not addresses_fit(ip, packet, &header, &to_many):
        return False
    view.source = header.source
    view.destination = header.destination
    view.packet = packet
    view.ttl = header.hop_limit
    view.tos = header.tos
    view.flow_label = header.flow_label
    view.v6 = True
    view.to_many = to_many
    return True


cdef bint chain_is_complete(const Packet* packet) noexcept nogil:
    """All headers, the upper-layer one too, are in the first fragment (RFC 7112 section 5)."""
    cdef Ipv6Upper upper
    cdef uint32_t least = 0
    if ipv6_find_upper(packet.data, packet.length, &upper) < 0:
        return False
    if upper.protocol == PROTOCOL_TCP:
        least = TCP_HEADER_LENGTH
    elif upper.protocol == PROTOCOL_UDP or upper.protocol == PROTOCOL_ICMPV6:
        least = TRANSPORT_HEADER_LENGTH
    return packet.length - upper.offset >= least


cdef bint fragment_passes(
    IpLayer* ip, Packet* packet, const Ipv6Fragment* head, const ExtensionWalk* walk
) noexcept nogil:
    """Judge a fragment that is not all of a packet (RFC 8200 section 4.5); False: dropped."""
    cdef uint32_t length = packet.length - walk.offset - IPV6_FRAGMENT_LENGTH
    if head.more and length & 7:
        icmp6_parameter_problem(
            ip, packet.data, packet.length, ICMP6_ERRONEOUS_FIELD, PAYLOAD_LENGTH_AT
        )
        return drop(ip, packet, Counter.IP_DROP_FRAGMENT_BAD)
    if head.offset + length > PAYLOAD_MAX:
        icmp6_parameter_problem(
            ip, packet.data, packet.length, ICMP6_ERRONEOUS_FIELD,
            walk.offset + FRAGMENT_OFFSET_AT
        )
        return drop(ip, packet, Counter.IP_DROP_FRAGMENT_TOO_BIG)
    # It would seem to follow the fixed header once the packet is whole.
    if head.next_header == NEXT_HOP_BY_HOP:
        extensions_reject(ip, packet, ICMP6_UNKNOWN_NEXT_HEADER, walk.offset)
        return False
    if head.offset == 0 and not chain_is_complete(packet):
        icmp6_parameter_problem(ip, packet.data, packet.length, ICMP6_INCOMPLETE_CHAIN, 0)
        return drop(ip, packet, Counter.IP_DROP_FRAGMENT_TINY)
    return True


cdef bint reassemble(
    IpLayer* ip, IpView* view, const Ipv6Fragment* head, const ExtensionWalk* walk
) noexcept nogil:
    """Give a fragment to reassembly; True if that makes a whole packet."""
    cdef Fragment fragment
    cdef Ipv6Header header
    fragment.source = view.source
    fragment.destination = view.destination
    fragment.id = head.id
    fragment.header_length = walk.offset + IPV6_FRAGMENT_LENGTH
    fragment.offset = head.offset
    fragment.length = view.packet.length - fragment.header_length
    fragment.protocol = 0
    fragment.next_header = head.next_header
    fragment.tos = view.tos
    fragment.more = head.more
    fragment.v6 = True
    view.packet = fragments_input(ip, view.packet, &fragment)
    if view.packet == NULL:
        return False
    ipv6_read(view.packet.data, &header)
    view.ttl = header.hop_limit
    view.tos = header.tos
    return True


cdef bint fragment_header(IpLayer* ip, IpView* view, ExtensionWalk* walk) noexcept nogil:
    """Deal with a fragment header; True: walk on, in this packet or in the whole one."""
    cdef Ipv6Fragment head
    ipv6_fragment_read(view.packet.data + walk.offset, &head)
    # RFC 6946: an atomic fragment is a whole packet, whatever else has its identification.
    if head.offset == 0 and not head.more:
        extensions_step(view.packet, walk, IPV6_FRAGMENT_LENGTH)
        return True
    if not fragment_passes(ip, view.packet, &head, walk):
        return False
    if not reassemble(ip, view, &head, walk):
        return False
    extensions_begin(view.packet, walk)
    return True


cdef bint ipv6_open(IpLayer* ip, IpView* view) noexcept nogil:
    """Find the upper-layer header, in the whole packet."""
    cdef ExtensionWalk walk
    cdef ExtensionResult result
    extensions_begin(view.packet, &walk)
    result = extensions_walk(ip, view.packet, &view.destination, &walk)
    if result == EXTENSIONS_FRAGMENT:
        if not fragment_header(ip, view, &walk):
            return False
        result = extensions_walk(ip, view.packet, &view.destination, &walk)
        # Fragments of fragments are nobody's packets.
        if result == EXTENSIONS_FRAGMENT:
            return drop(ip, view.packet, Counter.IP_DROP_BAD_EXTENSION_HEADER)
    if result == EXTENSIONS_DROPPED:
        return False
    if walk.next_header == NEXT_NONE:
        return drop(ip, view.packet, Counter.IP_IGNORED_NO_NEXT_HEADER)
    view.payload = view.packet.data + walk.offset
    view.length = view.packet.length - walk.offset
    view.protocol = walk.next_header
    return True
