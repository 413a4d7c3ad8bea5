# Segmentation at the device's edge: trains into packets, partial checksums into whole ones.
# Called by: devices and links that take single, finished packets only.
# RFCs: 791 and 8200 (IP lengths), 9293 section 3.1, 768; 6864 section 4 (identification).

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy
from pystack.core.memory.packet cimport (
    CSUM_PARTIAL,
    CSUM_VERIFIED,
    GSO_NONE,
    GSO_TCP4,
    GSO_UDP4,
    GSO_UDP6,
    Packet,
    PacketQueue,
    PacketSlab,
    packet_free,
    packet_new,
    packet_push,
    packet_total,
)
from pystack.core.wire.bytes cimport load16, load32, store16, store32
from pystack.core.wire.checksum cimport csum_add, csum_add_at, csum_finish, csum_fold
from pystack.core.wire.tcp cimport (
    TCP_CWR,
    TCP_FIN,
    TCP_PSH,
    TCP_URG,
    TcpSegment,
    tcp_parse,
)

cdef enum:
    HOP_BY_HOP = 0
    PROTOCOL_TCP = 6
    PROTOCOL_UDP = 17
    ROUTING = 43
    DESTINATION_OPTIONS = 60
    IP4_HEADER_LENGTH = 20
    IP6_HEADER_LENGTH = 40
    UDP_HEADER_LENGTH = 8
    TCP_CHECKSUM_AT = 16
    UDP_CHECKSUM_AT = 6
    SPANS = 3                   # the packet's own bytes, and two borrowed stretches

# A checked train. `taken` and `pieces` move on as it is cut; the rest stays as it was read.
ctypedef struct Train:
    const uint8_t* headers      # IP header, extension headers, transport header
    uint32_t ip_length          # bytes before the transport header
    uint32_t headers_length
    uint32_t payload_length
    uint32_t size               # payload of each piece but the last
    uint32_t pseudo_sum         # of the pseudo-header, without its length field
    uint32_t ip4_sum            # of the IPv4 header, without what differs from piece to piece
    bint is_v4
    bint is_udp
    uint32_t taken              # payload bytes that have gone into pieces
    uint32_t pieces             # how many there are
    const uint8_t* span[SPANS]  # the payload still to be taken
    uint32_t span_length[SPANS]


cdef inline uint16_t checksum_on_wire(uint32_t sum, bint is_udp) noexcept nogil:
    """Finish a sum. In UDP 0 says that there is no checksum, so 0xffff is sent (RFC 768)."""
    cdef uint16_t checksum = csum_finish(sum)
    return 0xFFFF if checksum == 0 and is_udp else checksum


cdef Packet* packet_complete_checksum(PacketSlab* slab, Packet* packet) noexcept nogil:
    """Turn CSUM_PARTIAL into a whole checksum, over borrowed bytes too, which stay where they are.

    Returns the packet; NULL, and the packet freed, if the field is not within packet.data.
    """
    cdef uint32_t start = packet.csum_start
    cdef uint32_t field = start + packet.csum_offset
    cdef size_t own
    cdef uint32_t sum
    if packet.csum != CSUM_PARTIAL:
        return packet
    if field + 2 > packet.length:
        packet_free(slab, packet)
        return NULL
    own = packet.length - start
    sum = csum_add(0, packet.data + start, own)
    sum = csum_add_at(sum, packet.borrowed[0], packet.borrowed_length[0], own)
    own += packet.borrowed_length[0]
    sum = csum_add_at(sum, packet.borrowed[1], packet.borrowed_length[1], own)
    store16(packet.data + field, checksum_on_wire(sum, packet.csum_offset == UDP_CHECKSUM_AT))
    packet.csum = CSUM_VERIFIED
    return packet


cdef inline bint gso_is_v4(const Packet* packet) noexcept nogil:
    return packet.gso == GSO_TCP4 or packet.gso == GSO_UDP4


cdef inline bint gso_is_udp(const Packet* packet) noexcept nogil:
    return packet.gso == GSO_UDP4 or packet.gso == GSO_UDP6


cdef bint ip4_fits(const Packet* packet, uint8_t protocol) noexcept nogil:
    """An unfragmented IPv4 packet of this length, its header as long as csum_start says."""
    cdef const uint8_t* ip = packet.data
    return (
        packet.csum_start >= IP4_HEADER_LENGTH
        and ip[0] >> 4 == 4
        and (ip[0] & 15) * 4 == packet.csum_start
        and ip[9] == protocol
        and load16(ip + 2) == packet_total(packet)
        and not load16(ip + 6) & 0x3FFF
    )


cdef bint ip6_fits(const Packet* packet, uint8_t protocol) noexcept nogil:
    """An IPv6 packet of this length, whose extension headers end where csum_start says."""
    cdef const uint8_t* ip = packet.data
    cdef uint32_t at = IP6_HEADER_LENGTH
    cdef uint8_t following
    if packet.csum_start < IP6_HEADER_LENGTH or ip[0] >> 4 != 6:
        return False
    following = ip[6]
    while at < packet.csum_start and following in (HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS):
        following = ip[at]
        at += 8 + 8 * <uint32_t>ip[at + 1]
    return (
        at == packet.csum_start
        and following == protocol
        and load16(ip + 4) + <uint32_t>IP6_HEADER_LENGTH == packet_total(packet)
    )


cdef uint32_t transport_header_length(const Packet* packet, bint is_udp) noexcept nogil:
    """Bytes of the UDP or TCP header; 0 if it is wrong, or not whole within packet.data."""
    cdef const uint8_t* transport = packet.data + packet.csum_start
    cdef uint32_t own = packet.length - packet.csum_start
    cdef uint32_t length = packet_total(packet) - packet.csum_start
    cdef TcpSegment segment
    if not is_udp:
        return segment.header_length if tcp_parse(transport, own, &segment) == 0 else 0
    if own < UDP_HEADER_LENGTH or load16(transport + 4) != length:
        return 0
    return UDP_HEADER_LENGTH


cdef void train_set_spans(Train* train, const Packet* packet) noexcept nogil:
    train.span[0] = packet.data + train.headers_length
    train.span_length[0] = packet.length - train.headers_length
    train.span[1] = packet.borrowed[0]
    train.span_length[1] = packet.borrowed_length[0]
    train.span[2] = packet.borrowed[1]
    train.span_length[2] = packet.borrowed_length[1]


cdef bint train_is_sound(const Packet* packet) noexcept nogil:
    """The offload metadata agree with each other and with the IP header."""
    cdef bint is_udp = gso_is_udp(packet)
    cdef uint8_t protocol = PROTOCOL_UDP if is_udp else PROTOCOL_TCP
    if packet.gso > GSO_UDP6 or packet.gso_size == 0 or packet.csum != CSUM_PARTIAL:
        return False
    if packet.csum_offset != (UDP_CHECKSUM_AT if is_udp else TCP_CHECKSUM_AT):
        return False
    if packet.csum_start >= packet.length:
        return False
    if gso_is_v4(packet):
        return ip4_fits(packet, protocol)
    return ip6_fits(packet, protocol)


cdef uint32_t pseudo_sum_without_length(const Packet* packet) noexcept nogil:
    """What the checksum field of a train holds, less the length of the train.

    From the field, not from the addresses: with a routing header the destination that counts is
    not the one in the IP header (RFC 8200 section 8.1).
    """
    cdef uint16_t length = <uint16_t>(packet_total(packet) - packet.csum_start)
    cdef uint32_t sum = load16(packet.data + packet.csum_start + packet.csum_offset)
    return sum + <uint16_t>~length


cdef uint32_t ip4_sum_of_train(const uint8_t* ip, uint32_t length) noexcept nogil:
    """Sum of an IPv4 header less its total length, identification and checksum."""
    return (csum_add(0, ip, length)
            + <uint16_t>~load16(ip + 2) + <uint16_t>~load16(ip + 4) + <uint16_t>~load16(ip + 10))


cdef int train_read(const Packet* packet, Train* train) noexcept nogil:
    """Check a train and make a Train of it; 0, or -1 if metadata and bytes disagree."""
    cdef uint32_t transport_length
    if not train_is_sound(packet):
        return -1
    train.is_v4 = gso_is_v4(packet)
    train.is_udp = gso_is_udp(packet)
    transport_length = transport_header_length(packet, train.is_udp)
    if transport_length == 0:
        return -1
    train.headers = packet.data
    train.ip_length = packet.csum_start
    train.headers_length = train.ip_length + transport_length
    train.payload_length = packet_total(packet) - train.headers_length
    train.size = packet.gso_size
    train.pseudo_sum = pseudo_sum_without_length(packet)
    train.ip4_sum = ip4_sum_of_train(packet.data, packet.csum_start) if train.is_v4 else 0
    train.taken = train.pieces = 0
    train_set_spans(train, packet)
    return 0


cdef void train_take(Train* train, uint8_t* out, uint32_t count) noexcept nogil:
    """Copy out the next `count` bytes of payload; they are there."""
    cdef uint32_t part
    cdef int i
    train.taken += count
    for i in range(SPANS):
        part = min(count, train.span_length[i])
        if part == 0:
            continue
        memcpy(out, train.span[i], part)
        train.span[i] += part
        train.span_length[i] -= part
        out += part
        count -= part


cdef void piece_set_ip4(Packet* piece, const Train* train) noexcept nogil:
    """Total length, an identification of its own, header checksum."""
    cdef uint8_t* ip = piece.data
    # RFC 6864 section 4.3: packets that may be fragmented must not share an identification.
    cdef uint16_t id = <uint16_t>(load16(train.headers + 4) + train.pieces)
    store16(ip + 2, <uint16_t>piece.length)
    store16(ip + 4, id)
    store16(ip + 10, csum_finish(train.ip4_sum + piece.length + id))


cdef inline void piece_set_ip6(Packet* piece) noexcept nogil:
    store16(piece.data + 4, <uint16_t>(piece.length - IP6_HEADER_LENGTH))


cdef void piece_set_tcp(uint8_t* tcp, uint32_t offset, bint is_last) noexcept nogil:
    """Sequence number and flags of the piece whose payload begins at `offset` of the train's."""
    cdef uint16_t urgent = load16(tcp + 18)
    store32(tcp + 4, load32(tcp + 4) + offset)
    if offset != 0:
        tcp[13] &= ~TCP_CWR         # RFC 3168 section 6.1.2: on the first new segment
    if not is_last:
        tcp[13] &= ~(TCP_FIN | TCP_PSH)
    if not tcp[13] & TCP_URG:
        return
    # The urgent pointer counts from the segment's own sequence number.
    if urgent > offset:
        store16(tcp + 18, <uint16_t>(urgent - offset))
    else:
        tcp[13] &= ~TCP_URG
        store16(tcp + 18, 0)


cdef void piece_set_checksum(
    Packet* piece, uint32_t pseudo_sum, bint is_udp, bint whole
) noexcept nogil:
    """The transport checksum, whole or partial; pseudo_sum is without the length."""
    cdef uint8_t* transport = piece.data + piece.csum_start
    cdef uint32_t length = piece.length - piece.csum_start
    pseudo_sum += length
    if not whole:
        store16(transport + piece.csum_offset, csum_fold(pseudo_sum))
        piece.csum = CSUM_PARTIAL
        return
    store16(transport + piece.csum_offset, 0)
    pseudo_sum = csum_add(pseudo_sum, transport, length)
    store16(transport + piece.csum_offset, checksum_on_wire(pseudo_sum, is_udp))
    piece.csum = CSUM_VERIFIED


cdef Packet* train_cut(PacketSlab* slab, Train* train, bint whole) noexcept nogil:
    """The next piece, its checksum whole or partial; NULL: out of memory."""
    cdef uint32_t offset = train.taken
    cdef uint32_t count = min(train.size, train.payload_length - offset)
    cdef Packet* piece = packet_new(slab, train.headers_length + count)
    cdef uint8_t* transport
    if piece == NULL:
        return NULL
    memcpy(piece.data, train.headers, train.headers_length)
    train_take(train, piece.data + train.headers_length, count)
    piece.length = train.headers_length + count
    piece.csum_start = <uint16_t>train.ip_length
    piece.csum_offset = UDP_CHECKSUM_AT if train.is_udp else TCP_CHECKSUM_AT
    if train.is_v4:
        piece_set_ip4(piece, train)
    else:
        piece_set_ip6(piece)
    transport = piece.data + train.ip_length
    if train.is_udp:
        store16(transport + 4, <uint16_t>(UDP_HEADER_LENGTH + count))
    else:
        piece_set_tcp(transport, offset, train.taken == train.payload_length)
    piece_set_checksum(piece, train.pseudo_sum, train.is_udp, whole)
    train.pieces += 1
    return piece


cdef inline bint is_partial_tcp(const Packet* packet) noexcept nogil:
    return (
        packet.csum == CSUM_PARTIAL
        and packet.csum_offset == TCP_CHECKSUM_AT
        and <uint32_t>packet.csum_start + TCP_CHECKSUM_AT + 2 <= packet.length
    )


cdef int push_single(
    PacketSlab* slab, Packet* packet, PacketQueue* out, bint whole
) noexcept nogil:
    if whole or not is_partial_tcp(packet):
        packet = packet_complete_checksum(slab, packet)
    if packet == NULL:
        return -1
    packet.gso = GSO_NONE
    packet.gso_size = 0
    packet_push(out, packet)
    return 1


cdef int segment(PacketSlab* slab, Packet* packet, PacketQueue* out, bint whole) noexcept nogil:
    """Push a packet, or the pieces of the train that it is, with whole checksums, or not if TCP's.

    Returns how many were pushed; -1, and the packet freed, if its metadata is wrong or when out of
    memory, in which case the pieces already pushed stay: to the peer the others are lost.
    """
    cdef Train train
    cdef Packet* piece
    cdef int count = 0
    if packet.gso == GSO_NONE:
        return push_single(slab, packet, out, whole)
    if train_read(packet, &train) < 0:
        packet_free(slab, packet)
        return -1
    if train.payload_length <= train.size:
        return push_single(slab, packet, out, whole)
    while train.taken < train.payload_length:
        piece = train_cut(slab, &train, whole or train.is_udp)
        if piece == NULL:
            count = -1
            break
        packet_push(out, piece)
        count += 1
    packet_free(slab, packet)
    return count


cdef int packet_segment(PacketSlab* slab, Packet* packet, PacketQueue* out) noexcept nogil:
    return segment(slab, packet, out, True)


cdef int packet_cut(PacketSlab* slab, Packet* packet, PacketQueue* out) noexcept nogil:
    return segment(slab, packet, out, False)
