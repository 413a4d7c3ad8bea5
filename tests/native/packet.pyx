# Packets, their queue and their slab, as tests see them.
# Called by: tests/unit/test_packet, tests/unit/exhaustion.
# RFCs: none.

from libc.stdint cimport uint8_t, uint32_t, uintptr_t
from libc.string cimport memcpy, memset
from pystack.core.memory.packet cimport (
    PACKET_CLASSES, PACKET_HEADROOM, PACKET_MAX, Packet, PacketQueue, PacketSlab, packet_buffer,
    packet_free, packet_hand_over, packet_headroom, packet_linearize, packet_new,
    packet_new_snug, packet_pop, packet_push, packet_queue_release, packet_slab_release,
    packet_tailroom, packet_total,
)

HEADROOM = PACKET_HEADROOM
MAX = PACKET_MAX


cdef class Handle:
    """A packet that the test owns, and the bytes lent to it."""
    cdef Packet* packet
    cdef list lent

    @property
    def address(self):
        return <uintptr_t>self.packet

    @property
    def data(self):
        return self.packet.data[:self.packet.length]

    @property
    def length(self):
        return self.packet.length

    @property
    def capacity(self):
        return self.packet.capacity

    @property
    def total(self):
        return packet_total(self.packet)

    @property
    def headroom(self):
        return packet_headroom(self.packet)

    @property
    def tailroom(self):
        return packet_tailroom(self.packet)

    @property
    def control_offset(self):
        return <uintptr_t>self.packet.control - <uintptr_t>self.packet

    @property
    def metadata(self):
        """All that an owner may set."""
        return (self.packet.next != NULL, self.packet.csum_start, self.packet.csum_offset,
                self.packet.gso_size, self.packet.gso, self.packet.csum,
                self.packet.borrowed[0] != NULL, self.packet.borrowed[1] != NULL,
                self.packet.borrowed_length[0], self.packet.borrowed_length[1],
                self.packet.control[:sizeof(self.packet.control)])

    def append(self, bytes data):
        assert len(data) <= packet_tailroom(self.packet)
        memcpy(self.packet.data + self.packet.length, <const uint8_t*>data, len(data))
        self.packet.length += <uint32_t>len(data)

    def prepend(self, bytes data):
        assert len(data) <= packet_headroom(self.packet)
        self.packet.data -= len(data)
        self.packet.length += <uint32_t>len(data)
        memcpy(self.packet.data, <const uint8_t*>data, len(data))

    def lend(self, int part, bytes data):
        self.lent.append(data)
        self.packet.borrowed[part] = data
        self.packet.borrowed_length[part] = <uint32_t>len(data)

    def mark(self, uint8_t value):
        """Set each field of the metadata that survives a move."""
        self.packet.csum_start = self.packet.csum_offset = self.packet.gso_size = value
        self.packet.gso = self.packet.csum = value
        memset(self.packet.control, value, sizeof(self.packet.control))

    def scribble(self):
        """Fill the buffer, ends included: an address sanitizer sees a capacity that lies."""
        memset(packet_buffer(self.packet), 0xA5, self.packet.capacity)


cdef Handle handle(Packet* packet, list lent):
    cdef Handle result = Handle.__new__(Handle)
    result.packet = packet
    result.lent = lent
    return result


cdef class Slab:
    cdef PacketSlab slab

    def __dealloc__(self):
        packet_slab_release(&self.slab)

    @property
    def live(self):
        return self.slab.live

    @property
    def free_count(self):
        return [self.slab.free_count[i] for i in range(PACKET_CLASSES)]

    def new(self, uint32_t size):
        cdef Packet* packet = packet_new(&self.slab, size)
        return None if packet == NULL else handle(packet, [])

    def new_snug(self, uint32_t size):
        cdef Packet* packet = packet_new_snug(&self.slab, size)
        return None if packet == NULL else handle(packet, [])

    def free(self, Handle owned not None):
        packet_free(&self.slab, owned.packet)
        owned.packet = NULL

    def hand_over(self, Slab taker not None, Handle owned not None):
        packet_hand_over(&self.slab, &taker.slab, owned.packet)

    def linearize(self, Handle owned not None):
        """The old handle is void afterwards."""
        cdef Packet* packet = packet_linearize(&self.slab, owned.packet)
        owned.packet = NULL
        return None if packet == NULL else handle(packet, owned.lent)

    def release(self):
        packet_slab_release(&self.slab)


cdef class Queue:
    cdef PacketQueue queue
    cdef dict lent

    def __cinit__(self):
        self.lent = {}

    @property
    def count(self):
        return self.queue.count

    def push(self, Handle owned not None):
        packet_push(&self.queue, owned.packet)
        self.lent[<uintptr_t>owned.packet] = owned.lent
        owned.packet = NULL

    def pop(self):
        cdef Packet* packet = packet_pop(&self.queue)
        return None if packet == NULL else handle(packet, self.lent.pop(<uintptr_t>packet))

    def release(self, Slab slab not None):
        packet_queue_release(&slab.slab, &self.queue)
        self.lent.clear()
