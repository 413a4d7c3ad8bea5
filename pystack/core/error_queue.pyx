# The error queue of a socket: what ICMP said about packets that it sent, each with what was quoted.
# Called by: udp, tcp, which fill it; engine, which reads it for recvmsg with MSG_ERRQUEUE.
# RFCs: 4884; Linux's IP_RECVERR, IP_RECVERR_RFC4884 (ip(7)).

from libc.errno cimport ENOBUFS, ENOMEM
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from pystack.core.memory.packet cimport (
    Packet, PacketSlab, packet_free, packet_new_snug, packet_pop, packet_push,
    packet_queue_release,
)

cdef enum:
    CONTROL_SIZE = 64           # of Packet.control

cdef extern from "assert.h" nogil:
    void c_assert "assert" (bint condition)


cdef inline uint32_t size_of(const Packet* packet) noexcept nogil:
    return <uint32_t>sizeof(Packet) + packet.capacity


cdef int error_queue_add(
    PacketSlab* slab, ErrorQueue** queue, const ErrorReport* report, const uint8_t* data,
    uint32_t length, uint32_t room
) noexcept nogil:
    """Queue a copy; what does not fit is lost, as in Linux, and so the queue is bounded."""
    cdef Packet* packet
    c_assert(sizeof(ErrorReport) <= CONTROL_SIZE)
    if queue[0] == NULL:
        queue[0] = <ErrorQueue*>calloc(1, sizeof(ErrorQueue))
        if queue[0] == NULL:
            return -ENOMEM
    packet = packet_new_snug(slab, length)
    if packet == NULL:
        return -ENOMEM
    if queue[0].bytes + size_of(packet) > room:
        packet_free(slab, packet)
        return -ENOBUFS
    if length:
        memcpy(packet.data, data, length)
    packet.length = length
    (<ErrorReport*>packet.control)[0] = report[0]
    queue[0].bytes += size_of(packet)
    packet_push(&queue[0].packets, packet)
    return 0


cdef Packet* error_queue_take(ErrorQueue* queue, ErrorReport* report) noexcept nogil:
    """The oldest error; NULL: none."""
    cdef Packet* packet
    if queue == NULL:
        return NULL
    packet = packet_pop(&queue.packets)
    if packet == NULL:
        return NULL
    queue.bytes -= size_of(packet)
    report[0] = (<ErrorReport*>packet.control)[0]
    return packet


cdef void error_queue_release(PacketSlab* slab, ErrorQueue** queue) noexcept nogil:
    """Forget all errors and the queue itself."""
    if queue[0] == NULL:
        return
    packet_queue_release(slab, &queue[0].packets)
    free(queue[0])
    queue[0] = NULL
