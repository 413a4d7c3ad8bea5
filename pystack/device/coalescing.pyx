# Coalescing at the device's edge: segments of a connection that came in a row, into a train.
# Called by: engine/batch, for devices that do not hand out trains themselves.
# RFCs: 9293 section 3.1; 6864 section 4 (what tells atomic datagrams apart).
#
# A train costs the stack what one packet does, so this pays although it copies: the text of a short
# packet would be copied anyway. What is joined could be cut again without a difference, as with
# Linux's GRO: same headers, whole checksums, sequence numbers without a gap, and all pieces but the
# last of one size. Whatever is unusual passes as it came, for the layers above to judge.

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy
from pystack.core.memory.packet cimport (
    CSUM_FULL,
    CSUM_PARTIAL,
    GSO_NONE,
    GSO_TCP4,
    GSO_TCP6,
    PACKET_MAX,
    Packet,
    packet_tailroom,
)
from pystack.core.wire.bytes cimport load16, load32, store16
from pystack.core.wire.checksum cimport csum_add, csum_fold, csum_update16
from pystack.core.wire.ipv4 cimport IPV4_DF, IPV4_HEADER_LENGTH
from pystack.core.wire.ipv6 cimport IPV6_HEADER_LENGTH
from pystack.core.wire.tcp cimport TCP_ACK, TCP_HEADER_LENGTH, TCP_PSH

cdef enum:
    PROTOCOL_TCP = 6
    TCP_CHECKSUM_AT = 16
    TCP_FLAGS_AT = 13
    TRAINS = 8                  # connections whose segments may alternate

# A TCP segment without IP options, extension headers or fragments.
ctypedef struct Segment:
    uint8_t* ip
    uint8_t* tcp
    uint32_t ip_length          # of the header
    uint32_t header_length      # of TCP's, options included
    uint32_t text_length
    bint plain                  # text, and no flag but ACK and PSH

# Segments of one connection; the first one's packet takes the text of the others.
ctypedef struct Train:
    Packet* packet
    Segment first
    uint32_t next_seq
    bint intact                 # the first one's checksums are good
    bint open                   # can grow
    bint grown


cdef bint segment_read(Packet* packet, Segment* segment) noexcept nogil:
    """Whether it is one; its checksums were not looked at."""
    cdef uint8_t* ip = packet.data
    cdef uint32_t length = packet.length
    if length >= IPV4_HEADER_LENGTH and ip[0] == 0x45:
        segment.ip_length = IPV4_HEADER_LENGTH
        if ip[9] != PROTOCOL_TCP or load16(ip + 2) != length or load16(ip + 6) != IPV4_DF:
            return False
    elif length >= IPV6_HEADER_LENGTH and ip[0] >> 4 == 6:
        segment.ip_length = IPV6_HEADER_LENGTH
        if ip[6] != PROTOCOL_TCP or load16(ip + 4) + <uint32_t>IPV6_HEADER_LENGTH != length:
            return False
    else:
        return False
    length -= segment.ip_length
    segment.ip = ip
    segment.tcp = ip + segment.ip_length
    if length < TCP_HEADER_LENGTH:
        return False
    segment.header_length = (segment.tcp[12] >> 4) * 4
    if not TCP_HEADER_LENGTH <= segment.header_length <= length:
        return False
    segment.text_length = length - segment.header_length
    segment.plain = (
        segment.text_length > 0
        and packet.gso == GSO_NONE
        and segment.tcp[TCP_FLAGS_AT] & ~TCP_PSH == TCP_ACK
        and segment.tcp[12] & 15 == 0
    )
    return True


cdef bint same_connection(const Segment* a, const Segment* b) noexcept nogil:
    if a.ip_length != b.ip_length or memcmp(a.tcp, b.tcp, 4) != 0:
        return False
    if a.ip_length == IPV4_HEADER_LENGTH:
        return memcmp(a.ip + 12, b.ip + 12, 8) == 0
    return memcmp(a.ip + 8, b.ip + 8, 32) == 0


cdef bint same_headers(const Segment* a, const Segment* b) noexcept nogil:
    """What a cut would give all pieces: class and TTL; acknowledgment, window and options."""
    if a.ip_length == IPV4_HEADER_LENGTH:
        if a.ip[1] != b.ip[1] or a.ip[8] != b.ip[8]:
            return False
    elif memcmp(a.ip, b.ip, 4) != 0 or a.ip[7] != b.ip[7]:
        return False
    return (
        a.header_length == b.header_length
        and memcmp(a.tcp + 8, b.tcp + 8, 4) == 0
        and memcmp(a.tcp + 14, b.tcp + 14, 2) == 0
        and memcmp(a.tcp + 18, b.tcp + 18, a.header_length - 18) == 0
    )


cdef uint32_t pseudo_sum(const Segment* segment, uint32_t length) noexcept nogil:
    """Of the pseudo-header; length: of TCP header and text."""
    if segment.ip_length == IPV4_HEADER_LENGTH:
        return csum_add(length + PROTOCOL_TCP, segment.ip + 12, 8)
    return csum_add(length + PROTOCOL_TCP, segment.ip + 8, 32)


cdef bint is_intact(const Packet* packet, const Segment* segment) noexcept nogil:
    """Its checksums are good, that of TCP unless the device vouches for it."""
    cdef uint32_t length = segment.header_length + segment.text_length
    if segment.ip_length == IPV4_HEADER_LENGTH:
        if csum_fold(csum_add(0, segment.ip, IPV4_HEADER_LENGTH)) != 0xFFFF:
            return False
    if packet.csum != CSUM_FULL:
        return True
    return csum_fold(csum_add(pseudo_sum(segment, length), segment.tcp, length)) == 0xFFFF


cdef bint train_takes(Train* train, const Packet* packet, const Segment* segment) noexcept nogil:
    """Whether the segment continues it; if not, the train has ended."""
    if (
        not segment.plain
        or packet.handed_on != train.packet.handed_on
        or load32(segment.tcp + 4) != train.next_seq
        or segment.text_length > train.first.text_length
        or train.packet.length + segment.text_length > PACKET_MAX
        or packet_tailroom(train.packet) < segment.text_length
        or not same_headers(&train.first, segment)
    ):
        return False
    if not train.intact:
        train.intact = is_intact(train.packet, &train.first)
    return train.intact and is_intact(packet, segment)


cdef void train_append(Train* train, const Segment* segment) noexcept nogil:
    cdef Packet* packet = train.packet
    memcpy(packet.data + packet.length, segment.tcp + segment.header_length, segment.text_length)
    packet.length += segment.text_length
    train.grown = True
    train.first.tcp[TCP_FLAGS_AT] |= segment.tcp[TCP_FLAGS_AT]
    train.next_seq += segment.text_length
    # A push ends it: it should not wait for company. So does the end of a write.
    train.open = (
        segment.text_length == train.first.text_length
        and not segment.tcp[TCP_FLAGS_AT] & TCP_PSH
    )


cdef void train_begin(Train* train, Packet* packet, const Segment* segment) noexcept nogil:
    train.packet = packet
    train.first = segment[0]
    train.next_seq = load32(segment.tcp + 4) + segment.text_length
    train.intact = train.grown = False
    train.open = segment.plain and not segment.tcp[TCP_FLAGS_AT] & TCP_PSH


cdef void train_finish(const Train* train) noexcept nogil:
    """Say that it is one: lengths, and a checksum still to be completed."""
    cdef Packet* packet = train.packet
    cdef const Segment* first = &train.first
    cdef uint16_t length = <uint16_t>(packet.length - first.ip_length)
    if not train.grown:
        return
    if first.ip_length == IPV4_HEADER_LENGTH:
        packet.gso = GSO_TCP4
        store16(first.ip + 10, csum_update16(
            load16(first.ip + 10), load16(first.ip + 2), <uint16_t>packet.length))
        store16(first.ip + 2, <uint16_t>packet.length)
    else:
        packet.gso = GSO_TCP6
        store16(first.ip + 4, length)
    packet.gso_size = <uint16_t>first.text_length
    store16(first.tcp + TCP_CHECKSUM_AT, csum_fold(pseudo_sum(first, length)))
    packet.csum = CSUM_PARTIAL
    packet.csum_start = <uint16_t>first.ip_length
    packet.csum_offset = TCP_CHECKSUM_AT


cdef int packets_coalesce(Packet** packets, int count) noexcept nogil:
    cdef Train[TRAINS] trains
    cdef Train* train
    cdef Segment segment
    cdef Packet* packet
    cdef int known = 0, left = 0, oldest = 0
    cdef int i, t
    for i in range(count):
        packet = packets[i]
        packets[i] = packets[left]
        packets[left] = packet
        left += 1
        if not segment_read(packet, &segment):
            continue
        train = NULL
        for t in range(known):
            if same_connection(&trains[t].first, &segment):
                train = &trains[t]
                break
        if train != NULL and train.open and train_takes(train, packet, &segment):
            train_append(train, &segment)
            left -= 1
            continue
        if train != NULL:
            train_finish(train)
        elif known < TRAINS:
            train = &trains[known]
            known += 1
        else:
            train = &trains[oldest]
            oldest = (oldest + 1) % TRAINS
            train_finish(train)
        train_begin(train, packet, &segment)
    for t in range(known):
        train_finish(&trains[t])
    return left
