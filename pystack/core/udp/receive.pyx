# Receive queues of datagram sockets: bounded by the memory that they hold.
# Called by: udp.
# RFCs: 1122 section 4.1.

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from pystack.core.context cimport Context, count, endpoint_ready, packet_drop
from pystack.core.counters cimport (
    OUT_OF_MEMORY,
    UDP_DATAGRAMS_IN,
    UDP_DROP_QUEUE_FULL,
    UDP_DROP_SHUT_DOWN,
)
from pystack.core.endpoint cimport READY_READ, Endpoint
from pystack.core.ip.layer cimport PROTOCOL_UDP
from pystack.core.memory.packet cimport (
    CSUM_VERIFIED,
    GSO_NONE,
    PACKET_HEADROOM,
    Packet,
    PacketSlab,
    packet_free,
    packet_new_snug,
    packet_push,
)
from pystack.core.udp.layer cimport Datagram, DatagramInfo


cdef uint32_t true_size(const Packet* packet) noexcept nogil:
    """Bytes of memory that a packet holds."""
    return <uint32_t>sizeof(Packet) + packet.capacity


cdef Packet* packet_of(
    PacketSlab* slab, const Packet* packet, uint32_t start, uint32_t size
) noexcept nogil:
    """A copy of a part of a packet's bytes in a buffer of its own, or NULL."""
    cdef Packet* copy = packet_new_snug(slab, size)
    if copy == NULL:
        return NULL
    memcpy(copy.data, packet.data + start, size)
    copy.length = size
    return copy


cdef Packet* datagram_copy(Context* context, const Packet* packet) noexcept nogil:
    """A copy for one more receiver."""
    cdef Packet* copy = packet_of(&context.slab, packet, 0, packet.length)
    if copy == NULL:
        count(context, OUT_OF_MEMORY)
    return copy


cdef Packet* right_sized(PacketSlab* slab, Packet* packet) noexcept nogil:
    """The packet; or, if it wastes more than half of its buffer, a copy in a smaller one."""
    cdef Packet* small
    if packet.capacity <= 2 * (packet.length + PACKET_HEADROOM):
        return packet
    small = packet_of(slab, packet, 0, packet.length)
    if small == NULL:
        return packet
    if small.capacity >= packet.capacity:
        packet_free(slab, small)
        return packet
    packet_free(slab, packet)
    return small


cdef inline uint32_t error_queue_bytes(const Endpoint* endpoint) noexcept nogil:
    return 0 if endpoint.errors == NULL else endpoint.errors.bytes


cdef inline bint queue_has_room(const Datagram* socket, uint32_t size) noexcept nogil:
    """One datagram fits into an empty queue, however small its limit."""
    if socket.queue.first == NULL:
        return True
    return <uint64_t>socket.queue_bytes + error_queue_bytes(&socket.endpoint) + size <= (
        socket.queue_limit)


cdef void drop_for_room(Context* context, Datagram* socket, Packet* packet) noexcept nogil:
    socket.dropped += 1
    packet_drop(context, packet, UDP_DROP_QUEUE_FULL)


cdef void datagram_deliver(
    Context* context, Datagram* socket, Packet* packet, const DatagramInfo* info
) noexcept nogil:
    """Queue a datagram for its socket; drop it if there is no room or nobody will read it."""
    cdef DatagramInfo* queued
    if socket.shut_read:
        packet_drop(context, packet, UDP_DROP_SHUT_DOWN)
        return
    if not queue_has_room(socket, 1):
        drop_for_room(context, socket, packet)
        return
    packet = right_sized(&context.slab, packet)
    if not queue_has_room(socket, true_size(packet)):
        drop_for_room(context, socket, packet)
        return
    packet.gso = GSO_NONE
    packet.csum = CSUM_VERIFIED
    queued = <DatagramInfo*>packet.control
    queued[0] = info[0]
    queued.destination_port = socket.endpoint.key.local_port
    queued.received_at = context.now
    queued.dropped = socket.dropped
    socket.queue_bytes += true_size(packet)
    packet_push(&socket.queue, packet)
    if socket.endpoint.key.protocol == PROTOCOL_UDP:
        count(context, UDP_DATAGRAMS_IN)
    endpoint_ready(context, &socket.endpoint, READY_READ)


cdef void deliver_pieces(
    Context* context, Datagram* socket, const Packet* train, const DatagramInfo* info,
    uint16_t gso_size
) noexcept nogil:
    """Queue a copy of each piece; the train stays the caller's."""
    cdef uint32_t start = 0, size
    cdef Packet* piece
    while start < train.length:
        size = min(<uint32_t>gso_size, train.length - start)
        piece = packet_of(&context.slab, train, start, size)
        if piece == NULL:
            count(context, OUT_OF_MEMORY)
            return
        datagram_deliver(context, socket, piece, info)
        start += size


cdef void datagram_deliver_train(
    Context* context, Datagram* socket, Packet* packet, DatagramInfo* info, uint16_t gso_size
) noexcept nogil:
    """Queue a train whole if the socket has UDP_GRO, otherwise datagram by datagram."""
    if socket.gro:
        info.gso_size = gso_size
        datagram_deliver(context, socket, packet, info)
        return
    deliver_pieces(context, socket, packet, info, gso_size)
    packet_free(&context.slab, packet)
