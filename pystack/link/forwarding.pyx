# Forwarding: what a router may pass on, what it changes, and how it cuts what is too long.
# Called by: node.
# RFCs: 1812 section 5, 791 section 3.2, 8200 section 3, 2827 and 3704, 3927 section 7, 4291 2.5.6.

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy
from pystack.core.memory.packet cimport (
    CSUM_FULL,
    Packet,
    PacketQueue,
    PacketSlab,
    packet_free,
    packet_new,
    packet_push,
)
from pystack.core.wire.address cimport (
    Addr,
    addr_is_any,
    addr_is_link_local,
    addr_is_loopback,
    addr_is_multicast,
    addr_is_v4,
    addr_load4,
    addr_load16,
    addr_v4,
)
from pystack.core.wire.bytes cimport load16, store16
from pystack.core.wire.checksum cimport csum_add, csum_finish, csum_update16
from pystack.core.wire.ipv4 cimport (
    IPV4_DF,
    IPV4_HEADER_LENGTH,
    IPV4_MAX_HEADER_LENGTH,
    IPV4_MF,
    IPV4_OFFSET_MASK,
    IPV4_OPTIONS_SOURCE_ROUTE,
    Ipv4Header,
    ipv4_check_options,
    ipv4_parse,
)
from pystack.core.wire.ipv6 cimport Ipv6Header, ipv6_parse

cdef enum:
    OPTION_END = 0
    OPTION_NOP = 1
    OPTION_COPIED = 0x80        # RFC 791 section 3.1: also in every fragment


cdef int hop_read(const Packet* packet, Hop* hop) noexcept nogil:
    """Read and validate the header (RFC 1812 section 5.2.2); 0, or -1 if it is wrong."""
    cdef Ipv4Header v4
    cdef Ipv6Header v6
    hop.v6 = packet.length > 0 and packet.data[0] >> 4 == 6
    if hop.v6:
        if ipv6_parse(packet.data, packet.length, &v6) < 0:
            return -1
        hop.source, hop.destination = v6.source, v6.destination
        hop.fragile = True
        return 0
    if ipv4_parse(packet.data, packet.length, &v4) < 0:
        return -1
    hop.source, hop.destination = v4.source, v4.destination
    hop.fragile = v4.fragment & IPV4_DF
    return 0


cdef Addr hop_destination(const Packet* packet) noexcept nogil:
    """Of a packet of our own stack, whose header is good."""
    if packet.data[0] >> 4 == 6:
        return addr_load16(packet.data + 24)
    return addr_load4(packet.data + 16)


cdef bint is_martian(const Addr* address) noexcept nogil:
    """An address that no router passes on, as source or destination (RFC 1812 section 5.3.7)."""
    if addr_is_any(address) or addr_is_loopback(address) or addr_is_multicast(address):
        return True
    if addr_is_link_local(address):     # RFC 3927 section 7, RFC 4291 section 2.5.6
        return True
    if not addr_is_v4(address):
        return False
    return addr_v4(address) >> 24 == 0 or addr_v4(address) >> 28 == 15


cdef Verdict hop_judge(const Packet* packet, const Hop* hop) noexcept nogil:
    """Whether a packet for somebody else may be passed on; nothing is changed."""
    cdef Ipv4Header v4
    if is_martian(&hop.source) or is_martian(&hop.destination):
        return MARTIAN
    if hop.v6:
        return EXPIRED if packet.data[7] <= 1 else PASS_ON
    if ipv4_parse(packet.data, packet.length, &v4) < 0:
        return BAD_HEADER
    if v4.header_length > IPV4_HEADER_LENGTH:
        if ipv4_check_options(packet.data, &v4) == IPV4_OPTIONS_SOURCE_ROUTE:
            return SOURCE_ROUTED        # RFC 7126 section 4.3
    return EXPIRED if v4.ttl <= 1 else PASS_ON


cdef void count_hop(Packet* packet) noexcept nogil:
    """One hop less (RFC 1812 section 5.3.1, RFC 8200 section 3)."""
    cdef uint8_t* ip = packet.data
    cdef uint16_t word
    if ip[0] >> 4 == 6:
        ip[7] -= 1
        return
    word = load16(ip + 8)
    ip[8] -= 1
    store16(ip + 10, csum_update16(load16(ip + 10), word, load16(ip + 8)))


cdef uint32_t copy_options(const uint8_t* ip, uint32_t length, uint8_t* out) noexcept nogil:
    """The header of all fragments but the first: only options that say so; its length."""
    cdef uint32_t at = IPV4_HEADER_LENGTH
    cdef uint32_t end = IPV4_HEADER_LENGTH
    cdef uint32_t size
    memcpy(out, ip, IPV4_HEADER_LENGTH)
    while at < length and ip[at] != OPTION_END:
        if ip[at] == OPTION_NOP:
            at += 1
            continue
        if at + 2 > length or ip[at + 1] < 2 or at + ip[at + 1] > length:
            break
        size = ip[at + 1]
        if ip[at] & OPTION_COPIED:
            memcpy(out + end, ip + at, size)
            end += size
        at += size
    while end & 3:
        out[end] = OPTION_END
        end += 1
    return end


cdef int fragment(
    PacketSlab* slab, Packet* packet, uint32_t mtu, PacketQueue* out
) noexcept nogil:
    """Cut a packet, perhaps a fragment itself, into fragments of up to `mtu` (RFC 791 3.2)."""
    cdef uint8_t[IPV4_MAX_HEADER_LENGTH] later
    cdef const uint8_t* ip = packet.data
    cdef uint32_t header_length = (ip[0] & 15) * 4
    cdef uint32_t end = load16(ip + 2)
    cdef uint32_t at = header_length
    cdef uint16_t flags = load16(ip + 6)
    cdef uint32_t later_length = copy_options(ip, header_length, later)
    cdef const uint8_t* header = ip
    cdef uint32_t length = header_length
    cdef uint32_t count
    cdef Packet* piece
    cdef int result = 0
    while at < end and result == 0:
        if mtu < length + 8:
            result = -1
            break
        count = min(end - at, (mtu - length) & ~<uint32_t>7)
        piece = packet_new(slab, length + count)
        if piece == NULL:
            result = -1
            break
        memcpy(piece.data, header, length)
        memcpy(piece.data + length, ip + at, count)
        piece.length = length + count
        piece.csum = CSUM_FULL
        piece.data[0] = 0x40 | <uint8_t>(length >> 2)
        store16(piece.data + 2, <uint16_t>piece.length)
        store16(piece.data + 6, <uint16_t>(
            (flags & ~IPV4_OFFSET_MASK) | ((flags & IPV4_OFFSET_MASK) + (at - header_length) // 8)
            | (IPV4_MF if at + count < end else 0)))
        store16(piece.data + 10, 0)
        store16(piece.data + 10, csum_finish(csum_add(0, piece.data, length)))
        packet_push(out, piece)
        at += count
        header, length = later, later_length
    packet_free(slab, packet)
    return result
