# IP fragmentation: a packet that is too large for the path leaves in pieces.
# Called by: output; input, for what it mirrors.
# RFCs: 791 section 3.2, 8200 section 4.5.

from libc.errno cimport EMSGSIZE, ENOMEM
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy
from pystack.core.context cimport count, packet_drop
from pystack.core.counters cimport Counter
from pystack.core.ip.layer cimport IpLayer
from pystack.core.memory.packet cimport (
    CSUM_FULL, CSUM_PARTIAL, Packet, PacketQueue, packet_free, packet_linearize, packet_new,
    packet_pop, packet_push, packet_queue_release
)
from pystack.core.wire.bytes cimport store16
from pystack.core.wire.checksum cimport csum_add, csum_finish
from pystack.core.wire.ipv4 cimport (
    IPV4_HEADER_LENGTH, IPV4_MF, Ipv4Header, ipv4_build, ipv4_read
)
from pystack.core.wire.ipv6 cimport (
    IPV6_FRAGMENT_LENGTH, IPV6_HEADER_LENGTH, NEXT_FRAGMENT, Ipv6Fragment, Ipv6Header, ipv6_build,
    ipv6_fragment_build, ipv6_read
)

cdef enum:
    UDP_CHECKSUM_OFFSET = 6


cdef int packet_complete_checksum(Packet* packet) noexcept nogil:
    """Replace the pseudo-header sum in the checksum field by the checksum."""
    cdef uint32_t start = packet.csum_start
    cdef uint32_t field = start + packet.csum_offset
    cdef uint16_t checksum
    if packet.csum != CSUM_PARTIAL:
        return 0
    if packet.length < 2 or field > packet.length - 2:
        return -1
    checksum = csum_finish(csum_add(0, packet.data + start, packet.length - start))
    # RFC 768: a UDP checksum of 0 is sent as 0xffff. For TCP the two are the same number.
    if checksum == 0 and packet.csum_offset == UDP_CHECKSUM_OFFSET:
        checksum = 0xFFFF
    store16(packet.data + field, checksum)
    packet.csum = CSUM_FULL
    return 0


cdef int fragments4(
    IpLayer* ip, const Packet* packet, uint32_t chunk, PacketQueue* queue
) noexcept nogil:
    """Cut an IPv4 packet into pieces of `chunk` payload bytes: 0, or -1 when out of memory."""
    cdef uint32_t size = packet.length - IPV4_HEADER_LENGTH
    cdef uint32_t offset = 0, piece
    cdef Ipv4Header header
    cdef Packet* fragment
    ipv4_read(packet.data, &header)
    while offset < size:
        piece = min(chunk, size - offset)
        fragment = packet_new(&ip.context.slab, IPV4_HEADER_LENGTH + piece)
        if fragment == NULL:
            return -1
        header.total_length = <uint16_t>(IPV4_HEADER_LENGTH + piece)
        header.fragment = <uint16_t>(offset >> 3 | (IPV4_MF if offset + piece < size else 0))
        ipv4_build(fragment.data, &header)
        memcpy(
            fragment.data + IPV4_HEADER_LENGTH, packet.data + IPV4_HEADER_LENGTH + offset, piece
        )
        fragment.length = IPV4_HEADER_LENGTH + piece
        packet_push(queue, fragment)
        offset += piece
    return 0


cdef int fragments6(
    IpLayer* ip, const Packet* packet, uint32_t chunk, uint32_t id, PacketQueue* queue
) noexcept nogil:
    """Cut an IPv6 packet into pieces of `chunk` payload bytes: 0, or -1 when out of memory."""
    cdef uint32_t overhead = IPV6_HEADER_LENGTH + IPV6_FRAGMENT_LENGTH
    cdef uint32_t size = packet.length - IPV6_HEADER_LENGTH
    cdef uint32_t offset = 0, piece
    cdef Ipv6Header header
    cdef Ipv6Fragment head
    cdef Packet* fragment
    ipv6_read(packet.data, &header)
    head.id = id
    head.next_header = header.next_header
    header.next_header = NEXT_FRAGMENT
    while offset < size:
        piece = min(chunk, size - offset)
        fragment = packet_new(&ip.context.slab, overhead + piece)
        if fragment == NULL:
            return -1
        header.payload_length = <uint16_t>(IPV6_FRAGMENT_LENGTH + piece)
        head.offset = <uint16_t>offset
        head.more = offset + piece < size
        ipv6_build(fragment.data, &header)
        ipv6_fragment_build(fragment.data + IPV6_HEADER_LENGTH, &head)
        memcpy(fragment.data + overhead, packet.data + IPV6_HEADER_LENGTH + offset, piece)
        fragment.length = overhead + piece
        packet_push(queue, fragment)
        offset += piece
    return 0


cdef int fragments_send(
    IpLayer* ip, const Packet* packet, uint32_t chunk, uint32_t id, bint v6
) noexcept nogil:
    """Send all fragments, or none: 0, or -1 when out of memory."""
    cdef PacketQueue queue
    cdef int failed
    queue.first = queue.last = NULL
    queue.count = 0
    if v6:
        failed = fragments6(ip, packet, chunk, id, &queue)
    else:
        failed = fragments4(ip, packet, chunk, &queue)
    if failed:
        packet_queue_release(&ip.context.slab, &queue)
        return -1
    while queue.count:
        count(ip.context, Counter.IP_FRAGMENTS_OUT)
        packet_push(&ip.context.tx, packet_pop(&queue))
    return 0


cdef int ip_fragment(IpLayer* ip, Packet* packet, uint32_t mtu, uint32_t id) noexcept nogil:
    """Send a packet as fragments of at most `mtu` bytes."""
    cdef bint v6 = packet.data[0] >> 4 == 6
    cdef uint32_t overhead = IPV4_HEADER_LENGTH
    if v6:
        overhead = IPV6_HEADER_LENGTH + IPV6_FRAGMENT_LENGTH
    packet = packet_linearize(&ip.context.slab, packet)
    if packet == NULL:
        count(ip.context, Counter.OUT_OF_MEMORY)
        return -ENOMEM
    if mtu < overhead + 8 or packet_complete_checksum(packet) < 0:
        packet_drop(ip.context, packet, Counter.IP_DROP_TOO_BIG)
        return -EMSGSIZE
    # All but the last carry a multiple of 8 bytes.
    if fragments_send(ip, packet, (mtu - overhead) & ~<uint32_t>7, id, v6) < 0:
        packet_drop(ip.context, packet, Counter.OUT_OF_MEMORY)
        return -ENOMEM
    packet_free(&ip.context.slab, packet)
    return 0
