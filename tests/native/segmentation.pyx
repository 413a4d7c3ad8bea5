# pystack.device.segmentation for Python tests.
# Called by: tests/unit/test_segmentation.py.
# RFCs: none.

from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcpy, memset
from pystack.core.memory cimport packet as memory
from pystack.core.memory.packet cimport Packet, PacketQueue, PacketSlab
from pystack.device cimport segmentation

CSUM_FULL = memory.CSUM_FULL
CSUM_VERIFIED = memory.CSUM_VERIFIED
CSUM_PARTIAL = memory.CSUM_PARTIAL
GSO_NONE = memory.GSO_NONE
GSO_TCP4 = memory.GSO_TCP4
GSO_TCP6 = memory.GSO_TCP6
GSO_UDP4 = memory.GSO_UDP4
GSO_UDP6 = memory.GSO_UDP6


cdef bytes whole(Packet* packet):
    """The bytes of a packet, borrowed ones included."""
    cdef bytes data = packet.data[: packet.length]
    for i in range(2):
        if packet.borrowed_length[i]:
            data += packet.borrowed[i][: packet.borrowed_length[i]]
    return data


cdef class Slab:
    cdef PacketSlab slab

    def __cinit__(self):
        memset(&self.slab, 0, sizeof(self.slab))

    def __dealloc__(self):
        memory.packet_slab_release(&self.slab)

    @property
    def live(self):
        return self.slab.live

    cdef Packet* packet(
        self, bytes own, tuple borrowed, int gso, int gso_size, int csum, int start, int offset
    ):
        """A packet that borrows from the bytes objects given."""
        cdef Packet* packet = memory.packet_new(&self.slab, len(own))
        assert packet != NULL
        memcpy(packet.data, <const uint8_t*>own, len(own))
        packet.length = len(own)
        for i in range(2):
            packet.borrowed[i] = <const uint8_t*><bytes>borrowed[i] if borrowed[i] else NULL
            packet.borrowed_length[i] = len(borrowed[i])
        packet.gso = <uint8_t>gso
        packet.gso_size = <uint16_t>gso_size
        packet.csum = <uint8_t>csum
        packet.csum_start = <uint16_t>start
        packet.csum_offset = <uint16_t>offset
        return packet

    def segment(self, own, borrowed=(b"", b""), *, gso, gso_size, csum, csum_start, csum_offset):
        """(result, the pieces' bytes, their checksum states) of packet_segment."""
        cdef Packet* packet = self.packet(
            own, borrowed, gso, gso_size, csum, csum_start, csum_offset
        )
        cdef PacketQueue out
        memset(&out, 0, sizeof(out))
        result = segmentation.packet_segment(&self.slab, packet, &out)
        pieces = []
        states = []
        assert result == -1 or result == <int>out.count
        while out.count:
            packet = memory.packet_pop(&out)
            assert packet.gso == memory.GSO_NONE
            pieces.append(whole(packet))
            states.append(packet.csum)
            memory.packet_free(&self.slab, packet)
        return result, pieces, states

    def complete(self, own, borrowed=(b"", b""), *, csum, csum_start, csum_offset):
        """(bytes, checksum state, own bytes) after packet_complete_checksum; None if refused."""
        cdef Packet* given = self.packet(own, borrowed, 0, 0, csum, csum_start, csum_offset)
        cdef Packet* packet = segmentation.packet_complete_checksum(&self.slab, given)
        if packet == NULL:
            return None
        assert packet == given
        found = whole(packet), packet.csum, packet.length
        memory.packet_free(&self.slab, packet)
        return found
