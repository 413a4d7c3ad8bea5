# The receive queue: text that has not been read, first in a ring, then in trains as they arrived.
# Called by: receive (adds), transfer (removes), calls, service (the ring), tcb and busy (the end).
# RFCs: none.
#
# A long train stays where the device has put it: to copy it into a ring would cost as much as to
# copy it to who reads it. What lies beyond a hole needs a place of its own in the ring, so then the
# trains are copied there after all.

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy
from pystack.core.memory.packet cimport (
    Packet, packet_free, packet_new_snug, packet_pop, packet_push, packet_queue_release,
    packet_tailroom,
)
from pystack.core.memory.ring cimport (
    ring_consume, ring_extend, ring_get, ring_put, ring_release, ring_reserve,
)
from pystack.core.tcp.layer cimport ReceiveQueue, TcpLayer

cdef enum:
    SHORT_TEXT = 2048       # what follows a train shares packets of this size


cdef int received_reserve(TcpLayer* tcp, ReceiveQueue* queue, uint32_t size) noexcept nogil:
    """Room behind the trains is in the ring: there they go, too."""
    cdef Packet* packet
    if ring_reserve(&queue.ring, &tcp.context.rings, size) < 0:
        return -1
    while queue.trains.first != NULL:
        packet = packet_pop(&queue.trains)
        ring_put(&queue.ring, queue.ring.length, packet.data, packet.length)
        ring_extend(&queue.ring, packet.length)
        packet_free(&tcp.context.slab, packet)
    return 0


cdef void received_put(
        ReceiveQueue* queue, uint32_t offset, const uint8_t* text, uint32_t length) noexcept nogil:
    ring_put(&queue.ring, offset, text, length)


cdef void received_extend(ReceiveQueue* queue, uint32_t length) noexcept nogil:
    ring_extend(&queue.ring, length)
    queue.length += length


cdef int append_to_trains(
        TcpLayer* tcp, ReceiveQueue* queue, const uint8_t* text, uint32_t length) noexcept nogil:
    cdef Packet* last = queue.trains.last
    if packet_tailroom(last) < length:
        last = packet_new_snug(&tcp.context.slab, max(length, <uint32_t>SHORT_TEXT))
        if last == NULL:
            return -1
        packet_push(&queue.trains, last)
    memcpy(last.data + last.length, text, length)
    last.length += length
    queue.length += length
    return 0


cdef int received_append(
        TcpLayer* tcp, ReceiveQueue* queue, const uint8_t* text, uint32_t length) noexcept nogil:
    if queue.trains.first != NULL:
        return append_to_trains(tcp, queue, text, length)
    if ring_reserve(&queue.ring, &tcp.context.rings, queue.length + length) < 0:
        return -1
    ring_put(&queue.ring, queue.length, text, length)
    received_extend(queue, length)
    return 0


cdef void received_keep(
        ReceiveQueue* queue, Packet* packet, uint8_t* text, uint32_t length) noexcept nogil:
    packet.data = text
    packet.length = length
    packet_push(&queue.trains, packet)
    queue.length += length


cdef void received_get(
        const ReceiveQueue* queue, uint32_t offset, uint8_t* target, uint32_t count) noexcept nogil:
    cdef const Packet* packet = queue.trains.first
    cdef uint32_t part
    if offset < queue.ring.length:
        part = min(count, queue.ring.length - offset)
        ring_get(&queue.ring, offset, target, part)
        target += part
        count -= part
        offset = 0
    else:
        offset -= queue.ring.length
    while count:
        if offset < packet.length:
            part = min(count, packet.length - offset)
            memcpy(target, packet.data + offset, part)
            target += part
            count -= part
            offset = 0
        else:
            offset -= packet.length
        packet = packet.next


cdef void received_consume(TcpLayer* tcp, ReceiveQueue* queue, uint32_t count) noexcept nogil:
    cdef uint32_t part = min(count, queue.ring.length)
    cdef Packet* packet
    queue.length -= count
    if part:
        ring_consume(&queue.ring, part)
        count -= part
    while count:
        packet = queue.trains.first
        part = min(count, packet.length)
        packet.data += part
        packet.length -= part
        count -= part
        if packet.length == 0:
            packet_free(&tcp.context.slab, packet_pop(&queue.trains))


cdef void received_release(TcpLayer* tcp, ReceiveQueue* queue) noexcept nogil:
    packet_queue_release(&tcp.context.slab, &queue.trains)
    queue.ring.length = queue.length = 0
    ring_release(&queue.ring, &tcp.context.rings)
