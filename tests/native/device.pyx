# pystack.device.base.Device for Python tests: a driver that reads and writes when it is told to.
# Called by: tests/unit/test_device.py, test_pipe.py, tests/interop/test_tun_device.py.
# RFCs: none.

from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcpy, memset
from pystack.core cimport context
from pystack.core.memory cimport packet as memory
from pystack.core.memory.packet cimport PACKET_MAX, Packet, PacketQueue, PacketSlab
from pystack.device.base cimport Device

import os
from dataclasses import dataclass

CSUM_FULL = memory.CSUM_FULL
CSUM_VERIFIED = memory.CSUM_VERIFIED
CSUM_PARTIAL = memory.CSUM_PARTIAL
GSO_NONE = memory.GSO_NONE
GSO_TCP4 = memory.GSO_TCP4
GSO_TCP6 = memory.GSO_TCP6
GSO_UDP4 = memory.GSO_UDP4
GSO_UDP6 = memory.GSO_UDP6
FEATURES = {
    "csum": context.FEATURE_CSUM,
    "tso4": context.FEATURE_TSO4,
    "tso6": context.FEATURE_TSO6,
    "uso4": context.FEATURE_USO4,
    "uso6": context.FEATURE_USO6,
}

cdef enum:
    ROOM_MAX = 64


@dataclass
class PacketInfo:
    """A packet with its offload metadata."""

    data: bytes
    csum: int = CSUM_FULL
    csum_start: int = 0
    csum_offset: int = 0
    gso: int = GSO_NONE
    gso_size: int = 0
    borrowed: tuple = (b"", b"")


cdef void count_notification(void* counter) noexcept nogil:
    (<int*>counter)[0] += 1


cdef class Driver:
    """Stands where an engine would; owns what is alive of its packets."""

    cdef readonly Device device
    cdef readonly int notified
    cdef bint attached
    cdef PacketSlab slab

    def __cinit__(self, Device device):
        self.device = device
        memset(&self.slab, 0, sizeof(self.slab))
        device.attach(count_notification, &self.notified)
        self.attached = True

    def __del__(self):
        if self.attached:
            self.detach()

    def __dealloc__(self):
        memory.packet_slab_release(&self.slab)

    def detach(self):
        self.attached = False
        self.device.detach()

    @property
    def poll_fd(self):
        return self.device.poll_fd

    @property
    def batch_bytes(self):
        return self.device.batch_bytes

    @property
    def live(self):
        return self.slab.live

    def read(self, int room=ROOM_MAX):
        """What one call of read gives; OSError if the device is gone."""
        cdef Packet *empty[ROOM_MAX]
        cdef int count
        for i in range(room):
            empty[i] = memory.packet_new(&self.slab, PACKET_MAX)
            assert empty[i] != NULL
        with nogil:
            count = self.device.read(empty, room)
        packets = [info(empty[i]) for i in range(count)]
        for i in range(room):
            memory.packet_free(&self.slab, empty[i])
        if count < 0:
            raise OSError(-count, os.strerror(-count))
        return packets

    def write(self, packets):
        """Send PacketInfos, or bytes; OSError if the device is gone."""
        cdef PacketQueue queue
        cdef int problem
        memset(&queue, 0, sizeof(queue))
        packets = [one if isinstance(one, PacketInfo) else PacketInfo(one) for one in packets]
        for packet in packets:
            memory.packet_push(&queue, self.packet(packet))
        with nogil:
            problem = self.device.write(&self.slab, &queue)
        assert queue.first == NULL
        if problem < 0:
            raise OSError(-problem, os.strerror(-problem))

    cdef Packet* packet(self, object info):
        """A packet that borrows from the bytes objects in info.borrowed."""
        cdef bytes data = info.data
        cdef bytes lent
        cdef Packet* packet = memory.packet_new(&self.slab, len(data))
        assert packet != NULL
        memcpy(packet.data, <const uint8_t*>data, len(data))
        packet.length = len(data)
        packet.csum = <uint8_t>info.csum
        packet.csum_start = <uint16_t>info.csum_start
        packet.csum_offset = <uint16_t>info.csum_offset
        packet.gso = <uint8_t>info.gso
        packet.gso_size = <uint16_t>info.gso_size
        for i in range(2):
            lent = info.borrowed[i]
            packet.borrowed[i] = <const uint8_t*>lent if lent else NULL
            packet.borrowed_length[i] = len(lent)
        return packet


cdef info(const Packet* packet):
    return PacketInfo(
        packet.data[: packet.length],
        packet.csum,
        packet.csum_start,
        packet.csum_offset,
        packet.gso,
        packet.gso_size,
    )
