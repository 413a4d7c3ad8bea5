# IPv4 input: header, options, addresses, fragments.
# Called by: ip input.
# RFCs: 791, 1122 section 3.2.1, 7126.

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.context cimport packet_drop
from pystack.core.counters cimport Counter
from pystack.core.ip.control_noise cimport is_control_noise
from pystack.core.ip.fragments cimport Fragment, fragments_input
from pystack.core.ip.layer cimport IpLayer, IpView, PROTOCOL_IGMP, PROTOCOL_UDP
from pystack.core.ip.membership cimport ip_multicast_accepts
from pystack.core.ip.networks cimport (
    ip_addresses_are_noted, ip_is_broadcast, ip_is_destination, ip_is_source, ip_note_addresses
)
from pystack.core.ip.output cimport PACKET_LOOPED
from pystack.core.memory.packet cimport Packet
from pystack.core.wire.address cimport addr_is_multicast
from pystack.core.wire.bytes cimport load16
from pystack.core.wire.ipv4 cimport (
    IPV4_BAD_CHECKSUM, IPV4_BAD_HEADER_LENGTH, IPV4_BAD_TOTAL_LENGTH, IPV4_BAD_VERSION,
    IPV4_HEADER_LENGTH, IPV4_MF, IPV4_OFFSET_MASK, IPV4_OPTIONS_GOOD, Ipv4Header,
    ipv4_check_options, ipv4_parse, ipv4_read
)


cdef Counter reason_of(int fault) noexcept nogil:
    if fault == IPV4_BAD_VERSION:
        return Counter.IP_DROP_BAD_VERSION
    if fault == IPV4_BAD_HEADER_LENGTH:
        return Counter.IP_DROP_BAD_HEADER_LENGTH
    if fault == IPV4_BAD_TOTAL_LENGTH:
        return Counter.IP_DROP_BAD_TOTAL_LENGTH
    if fault == IPV4_BAD_CHECKSUM:
        return Counter.IP_DROP_BAD_CHECKSUM
    return Counter.IP_DROP_TOO_SHORT


cdef bint drop(IpLayer* ip, Packet* packet, Counter reason) noexcept nogil:
    packet_drop(ip.context, packet, reason)
    return False


cdef bint drop_to_many(IpLayer* ip, Packet* packet, const Ipv4Header* header) noexcept nogil:
    """Nothing here listens to it."""
    if not header.fragment & IPV4_OFFSET_MASK and is_control_noise(
        packet.data + header.header_length, packet.length - header.header_length, header.protocol
    ):
        return drop(ip, packet, Counter.IP_IGNORED_MULTICAST_CONTROL)
    return drop(ip, packet, Counter.IP_DROP_BROADCAST_OR_MULTICAST)


cdef bint is_wanted(IpLayer* ip, const Packet* packet, const Ipv4Header* header) noexcept nogil:
    """Whether a packet to many hosts may be for a socket, or is about who is in which group."""
    if header.protocol == PROTOCOL_IGMP:
        return True
    if header.protocol != PROTOCOL_UDP:
        return False
    if addr_is_multicast(&header.destination):
        return ip_multicast_accepts(ip, &header.destination, &header.source)
    # A later fragment of a broadcast has no ports to tell.
    return header.fragment & IPV4_OFFSET_MASK != 0 or not is_control_noise(
        packet.data + header.header_length, packet.length - header.header_length, header.protocol
    )


cdef bint addresses_fit(
    IpLayer* ip, Packet* packet, const Ipv4Header* header, bint* to_many
) noexcept nogil:
    """Judge source and destination."""
    cdef bint looped = packet.control[0] == PACKET_LOOPED
    if ip_addresses_are_noted(ip, &header.source, &header.destination, False):
        return True
    if not ip_is_destination(ip, &header.destination, looped):
        if not addr_is_multicast(&header.destination) and (
                not ip_is_broadcast(ip, &header.destination)):
            return drop(ip, packet, Counter.IP_DROP_NOT_OUR_ADDRESS)
        if not is_wanted(ip, packet, header):
            return drop_to_many(ip, packet, header)
        to_many[0] = True
    # Who asks about groups may have no address yet (RFC 3376 section 4.2.13).
    if not ip_is_source(ip, &header.source, looped) and not (
            to_many[0] and header.protocol == PROTOCOL_IGMP):
        return drop(ip, packet, Counter.IP_DROP_BAD_SOURCE)
    if not looped and not to_many[0]:
        ip_note_addresses(ip, &header.source, &header.destination, False)
    return True


cdef bint ipv4_accept(IpLayer* ip, Packet* packet, IpView* view) noexcept nogil:
    """Judge header, options and addresses."""
    cdef bint to_many = False
    cdef Ipv4Header header
    cdef int fault = ipv4_parse(packet.data, packet.length, &header)
    if fault:
        return drop(ip, packet, reason_of(fault))
    packet.length = header.total_length         # the rest is a link's padding
    if header.header_length != IPV4_HEADER_LENGTH:
        # RFC 7126 sections 4.3 and 4.4: source routes are dropped, in silence.
        if ipv4_check_options(packet.data, &header) != IPV4_OPTIONS_GOOD:
            return drop(ip, packet, Counter.IP_DROP_BAD_OPTIONS)
    if not addresses_fit(ip, packet, &header, &to_many):
        return False
    view.source = header.source
    view.destination = header.destination
    view.packet = packet
    view.ttl = header.ttl
    view.tos = header.tos
    view.flow_label = 0
    view.v6 = False
    view.to_many = to_many
    return True


cdef bint reassemble(IpLayer* ip, IpView* view) noexcept nogil:
    """Give a fragment to reassembly; True: that makes a whole packet."""
    cdef Ipv4Header header
    cdef Fragment fragment
    ipv4_read(view.packet.data, &header)
    fragment.source = header.source
    fragment.destination = header.destination
    fragment.id = header.id
    fragment.header_length = header.header_length
    fragment.offset = <uint32_t>(header.fragment & IPV4_OFFSET_MASK) << 3
    fragment.length = <uint32_t>header.total_length - header.header_length
    fragment.protocol = header.protocol
    fragment.next_header = header.protocol
    fragment.tos = header.tos
    fragment.more = header.fragment & IPV4_MF != 0
    fragment.v6 = False
    view.packet = fragments_input(ip, view.packet, &fragment)
    if view.packet == NULL:
        return False
    ipv4_read(view.packet.data, &header)
    view.ttl = header.ttl
    view.tos = header.tos
    return True


cdef bint ipv4_open(IpLayer* ip, IpView* view) noexcept nogil:
    """Find the transport header, in the whole packet."""
    cdef uint8_t* data = view.packet.data
    cdef uint32_t header_length
    if load16(data + 6) & (IPV4_MF | IPV4_OFFSET_MASK):
        if not reassemble(ip, view):
            return False
        data = view.packet.data
    header_length = (data[0] & 15) * 4
    view.payload = data + header_length
    view.length = load16(data + 2) - header_length
    view.protocol = data[9]
    return True
