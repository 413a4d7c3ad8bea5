# IGMP and MLD messages out: built record by record, sent when full.
# Called by: membership_report.
# RFCs: 3376 section 4.2, 3810 section 5.2, 2236, 2710, 2113 and 2711 (router alert).

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.ip.layer cimport IpLayer, PROTOCOL_ICMPV6, PROTOCOL_IGMP
from pystack.core.ip.networks cimport ip_choose_source
from pystack.core.ip.output cimport ip_packet_new
from pystack.core.memory.packet cimport Packet, packet_push
from pystack.core.wire.address cimport (
    Addr, addr_any, addr_from_v4, addr_is_link_local, addr_is_v4, addr_store16, addr_store4
)
from pystack.core.wire.bytes cimport store16
from pystack.core.wire.checksum cimport csum_add, csum_finish
from pystack.core.wire.icmp cimport icmp_checksum
from pystack.core.wire.ipv4 cimport IPV4_HEADER_LENGTH, Ipv4Header, ipv4_build
from pystack.core.wire.ipv6 cimport IPV6_HEADER_LENGTH, NEXT_HOP_BY_HOP, Ipv6Header, ipv6_build
from pystack.core.wire.membership cimport (
    IGMP_LENGTH, IGMP_REPORT_3, MEMBERSHIP_HEADER_LENGTH, MLD_LENGTH, MLD_REPORT_2,
    RECORD_HEADER_LENGTH, RECORD_IS_EXCLUDE, RECORD_TO_EXCLUDE
)

cdef enum:
    ALERT4_LENGTH = 4           # router alert (RFC 2113)
    ALERT6_LENGTH = 8           # a hop-by-hop header with router alert (RFC 2711) and padding
    VERSION_AND_LENGTH = 0x46   # IPv4, 24 bytes of header
    HEADER4_LENGTH = IPV4_HEADER_LENGTH + ALERT4_LENGTH
    HEADER6_LENGTH = IPV6_HEADER_LENGTH + ALERT6_LENGTH
    TOS_INTERNETWORK_CONTROL = 0xC0
    REPORTS3_TO = 0xE0000016    # 224.0.0.22
    MESSAGE_LEAST = 64          # of which one record with a source is sure to fit

cdef uint8_t[ALERT4_LENGTH] ALERT4 = [0x94, 4, 0, 0]
cdef uint8_t[ALERT6_LENGTH] ALERT6 = [PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0]


cdef Addr reports_to(bint v6) noexcept nogil:
    """Where reports of version 3 go (RFC 3376 section 4.2.14, RFC 3810 section 5.2.14)."""
    cdef Addr address
    if not v6:
        return addr_from_v4(REPORTS3_TO)
    address.hi = <unsigned long long>0xFF02 << 48
    address.lo = 0x16
    return address


cdef Addr source_for(IpLayer* ip, const Addr* destination) noexcept nogil:
    """RFC 3810 section 5.2.13: a link-local address or none; RFC 3376 section 4.2.13."""
    cdef bint v6 = not addr_is_v4(destination)
    cdef Addr source
    if ip_choose_source(ip, destination, &source) < 0 or (v6 and not addr_is_link_local(&source)):
        return addr_any(v6)
    return source


cdef void header4_push(Packet* packet, const Addr* source, const Addr* destination) noexcept nogil:
    """An IPv4 header with a router alert, TTL 1."""
    cdef Ipv4Header header
    memset(&header, 0, sizeof(Ipv4Header))
    header.source = source[0]
    header.destination = destination[0]
    header.total_length = <uint16_t>(HEADER4_LENGTH + packet.length)
    header.tos = TOS_INTERNETWORK_CONTROL
    header.ttl = 1
    header.protocol = PROTOCOL_IGMP
    packet.data -= HEADER4_LENGTH
    packet.length += HEADER4_LENGTH
    ipv4_build(packet.data, &header)
    memcpy(packet.data + IPV4_HEADER_LENGTH, ALERT4, ALERT4_LENGTH)
    packet.data[0] = VERSION_AND_LENGTH
    store16(packet.data + 10, 0)
    store16(packet.data + 10, csum_finish(csum_add(0, packet.data, HEADER4_LENGTH)))


cdef void header6_push(Packet* packet, const Addr* source, const Addr* destination) noexcept nogil:
    """An IPv6 header with a router alert, hop limit 1."""
    cdef Ipv6Header header
    memset(&header, 0, sizeof(Ipv6Header))
    header.source = source[0]
    header.destination = destination[0]
    header.payload_length = <uint16_t>(ALERT6_LENGTH + packet.length)
    header.next_header = NEXT_HOP_BY_HOP
    header.hop_limit = 1
    packet.data -= HEADER6_LENGTH
    packet.length += HEADER6_LENGTH
    ipv6_build(packet.data, &header)
    memcpy(packet.data + IPV6_HEADER_LENGTH, ALERT6, ALERT6_LENGTH)


cdef void message_push(IpLayer* ip, Packet* packet, const Addr* destination) noexcept nogil:
    """Send a message whose checksum field is 0."""
    cdef Addr source = source_for(ip, destination)
    cdef uint16_t checksum = icmp_checksum(packet.data, packet.length, &source, destination)
    store16(packet.data + 2, checksum)
    if addr_is_v4(destination):
        header4_push(packet, &source, destination)
    else:
        header6_push(packet, &source, destination)
    count(ip.context, Counter.IP_MEMBERSHIP_MESSAGES_OUT)
    packet_push(&ip.context.tx, packet)


cdef uint8_t* addr_write(uint8_t* at, const Addr* address, bint v6) noexcept nogil:
    """Write an address of a family; return what is behind it."""
    if v6:
        addr_store16(at, address)
        return at + 16
    addr_store4(at, address)
    return at + 4


cdef inline uint32_t addr_size(bint v6) noexcept nogil:
    return 16 if v6 else 4


cdef void report_begin(IpLayer* ip, ReportWriter* writer, bint v6) noexcept nogil:
    cdef uint32_t headers = HEADER6_LENGTH if v6 else HEADER4_LENGTH
    memset(writer, 0, sizeof(ReportWriter))
    writer.v6 = v6
    writer.limit = max(ip.context.mtu, headers + MESSAGE_LEAST) - headers


cdef bint room_for(
    IpLayer* ip, ReportWriter* writer, uint32_t size
) noexcept nogil:
    """Have a message with so much room, sending one that is full; False: out of memory."""
    if writer.packet != NULL and writer.packet.length + size > writer.limit:
        report_finish(ip, writer)
    if writer.packet != NULL:
        return True
    writer.packet = ip_packet_new(ip, writer.limit)
    if writer.packet == NULL:
        return False
    memset(writer.packet.data, 0, MEMBERSHIP_HEADER_LENGTH)
    writer.packet.data[0] = MLD_REPORT_2 if writer.v6 else <int>IGMP_REPORT_3
    writer.packet.length = MEMBERSHIP_HEADER_LENGTH
    return True


cdef void report_record(
    IpLayer* ip, ReportWriter* writer, uint8_t kind, const Addr* group
) noexcept nogil:
    """A record without sources yet."""
    cdef uint32_t size = addr_size(writer.v6)
    cdef uint8_t* at
    if not room_for(ip, writer, RECORD_HEADER_LENGTH + 2 * size):
        return
    writer.record_at = writer.packet.length
    writer.sources = 0
    at = writer.packet.data + writer.record_at
    at[0] = kind
    at[1] = 0
    store16(at + 2, 0)
    addr_write(at + RECORD_HEADER_LENGTH, group, writer.v6)
    writer.packet.length += RECORD_HEADER_LENGTH + size
    writer.records += 1


cdef void report_source(
    IpLayer* ip, ReportWriter* writer, uint8_t kind, const Addr* group, const Addr* source
) noexcept nogil:
    cdef uint32_t size = addr_size(writer.v6)
    if writer.packet == NULL:
        return
    if writer.packet.length + size > writer.limit:
        if kind == RECORD_IS_EXCLUDE or kind == RECORD_TO_EXCLUDE:
            return
        report_record(ip, writer, kind, group)
        if writer.packet == NULL:
            return
    addr_write(writer.packet.data + writer.packet.length, source, writer.v6)
    writer.packet.length += size
    writer.sources += 1
    store16(writer.packet.data + writer.record_at + 2, <uint16_t>writer.sources)


cdef void report_finish(IpLayer* ip, ReportWriter* writer) noexcept nogil:
    cdef Addr destination = reports_to(writer.v6)
    if writer.packet == NULL:
        return
    store16(writer.packet.data + 6, <uint16_t>writer.records)
    message_push(ip, writer.packet, &destination)
    writer.packet = NULL
    writer.records = 0


cdef void membership_message_send(
    IpLayer* ip, uint8_t kind, const Addr* group, const Addr* destination
) noexcept nogil:
    """Type, zeros, group."""
    cdef bint v6 = not addr_is_v4(group)
    cdef uint32_t length = MLD_LENGTH if v6 else <int>IGMP_LENGTH
    cdef Packet* packet = ip_packet_new(ip, length)
    if packet == NULL:
        return
    memset(packet.data, 0, length)
    packet.data[0] = kind
    addr_write(packet.data + length - addr_size(v6), group, v6)
    packet.length = length
    message_push(ip, packet, destination)
