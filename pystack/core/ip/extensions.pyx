# IPv6 extension headers: walked in order, each judged before the next is looked at.
# Called by: ipv6_input.
# RFCs: 8200 section 4, 5095, 7112.

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.context cimport packet_drop
from pystack.core.counters cimport Counter
from pystack.core.ip.icmp cimport icmp6_parameter_problem
from pystack.core.ip.layer cimport IpLayer
from pystack.core.memory.packet cimport Packet
from pystack.core.wire.address cimport Addr, addr_is_multicast
from pystack.core.wire.icmp cimport (
    ICMP6_ERRONEOUS_FIELD, ICMP6_UNKNOWN_NEXT_HEADER, ICMP6_UNKNOWN_OPTION
)
from pystack.core.wire.ipv6 cimport (
    IPV6_FRAGMENT_LENGTH, IPV6_HEADER_LENGTH, Ipv6OptionAction, NEXT_DESTINATION,
    NEXT_FRAGMENT, NEXT_HOP_BY_HOP, NEXT_ROUTING, OPTION_REPORT,
    OPTION_REPORT_UNICAST, OPTION_SKIP, ipv6_check_options, ipv6_extension_length
)

cdef enum:
    NEXT_HEADER_AT = 6          # in the fixed header
    ROUTING_TYPE_AT = 2
    SEGMENTS_LEFT_AT = 3


cdef void extensions_begin(const Packet* packet, ExtensionWalk* walk) noexcept nogil:
    """Stand behind the fixed header."""
    walk.offset = IPV6_HEADER_LENGTH
    walk.named_at = NEXT_HEADER_AT
    walk.next_header = packet.data[NEXT_HEADER_AT]
    walk.count = 0


cdef void extensions_step(
    const Packet* packet, ExtensionWalk* walk, uint32_t length
) noexcept nogil:
    """Every extension header begins with the number of the next."""
    walk.named_at = walk.offset
    walk.next_header = packet.data[walk.offset]
    walk.offset += length
    walk.count += 1


cdef void extensions_reject(
    IpLayer* ip, Packet* packet, uint8_t code, uint32_t pointer
) noexcept nogil:
    """Parameter Problem, then drop."""
    icmp6_parameter_problem(ip, packet.data, packet.length, code, pointer)
    packet_drop(ip.context, packet, Counter.IP_DROP_BAD_EXTENSION_HEADER)


cdef bint options_pass(
    IpLayer* ip, Packet* packet, const Addr* destination, const ExtensionWalk* walk,
    uint32_t length
) noexcept nogil:
    """Judge the options of a hop-by-hop or destination header (RFC 8200 section 4.2)."""
    cdef uint32_t at = 0
    cdef Ipv6OptionAction action = ipv6_check_options(packet.data + walk.offset, length, &at)
    if action == OPTION_SKIP:
        return True
    if action == OPTION_REPORT or (
        action == OPTION_REPORT_UNICAST and not addr_is_multicast(destination)
    ):
        extensions_reject(ip, packet, ICMP6_UNKNOWN_OPTION, walk.offset + at)
    else:
        packet_drop(ip.context, packet, Counter.IP_DROP_BAD_EXTENSION_HEADER)
    return False


cdef bint routing_passes(IpLayer* ip, Packet* packet, const ExtensionWalk* walk) noexcept nogil:
    """No routing type is known here, 0 least of all (RFC 5095); the end of a route may be passed.

    RFC 8200 section 4.4: with segments left, Parameter Problem that points at the routing type.
    """
    if packet.data[walk.offset + SEGMENTS_LEFT_AT] == 0:
        return True
    extensions_reject(ip, packet, ICMP6_ERRONEOUS_FIELD, walk.offset + ROUTING_TYPE_AT)
    return False


cdef inline bint is_extension(uint8_t next_header) noexcept nogil:
    return (next_header == NEXT_HOP_BY_HOP or next_header == NEXT_DESTINATION
            or next_header == NEXT_ROUTING or next_header == NEXT_FRAGMENT)


cdef bint header_passes(
    IpLayer* ip, Packet* packet, const Addr* destination, ExtensionWalk* walk
) noexcept nogil:
    """Judge one header that is no fragment header, and step over it; False: dropped."""
    cdef uint32_t length = ipv6_extension_length(packet.data + walk.offset)
    if length > packet.length - walk.offset:
        packet_drop(ip.context, packet, Counter.IP_DROP_BAD_EXTENSION_HEADER)
        return False
    if walk.next_header == NEXT_ROUTING:
        if not routing_passes(ip, packet, walk):
            return False
    elif not options_pass(ip, packet, destination, walk, length):
        return False
    extensions_step(packet, walk, length)
    return True


cdef ExtensionResult extensions_walk(
    IpLayer* ip, Packet* packet, const Addr* destination, ExtensionWalk* walk
) noexcept nogil:
    """Go through the headers to the next fragment or upper-layer header."""
    cdef uint32_t left
    while is_extension(walk.next_header):
        left = packet.length - walk.offset
        if walk.count == EXTENSION_HEADERS_MAX or left < IPV6_FRAGMENT_LENGTH:
            packet_drop(ip.context, packet, Counter.IP_DROP_BAD_EXTENSION_HEADER)
            return EXTENSIONS_DROPPED
        # RFC 8200 section 4.1: nowhere but directly behind the fixed header.
        if walk.next_header == NEXT_HOP_BY_HOP and walk.count:
            extensions_reject(ip, packet, ICMP6_UNKNOWN_NEXT_HEADER, walk.named_at)
            return EXTENSIONS_DROPPED
        if walk.next_header == NEXT_FRAGMENT:
            return EXTENSIONS_FRAGMENT
        if not header_passes(ip, packet, destination, walk):
            return EXTENSIONS_DROPPED
    return EXTENSIONS_UPPER
