# pystack.device.coalescing for Python tests.
# Called by: tests/unit/test_coalescing.py.
# RFCs: none.

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, memset
from pystack.core.memory cimport packet as memory
from pystack.core.memory.packet cimport PACKET_MAX, Packet, PacketQueue, PacketSlab
from pystack.device cimport coalescing, segmentation

cdef enum:
    MOST = 256

CSUM_FULL = memory.CSUM_FULL
CSUM_VERIFIED = memory.CSUM_VERIFIED
GSO_NONE = memory.GSO_NONE
GSO_TCP4 = memory.GSO_TCP4
GSO_TCP6 = memory.GSO_TCP6


cdef list pieces_of(PacketSlab* slab, Packet* packet):
    """The bytes of the pieces that a train has, or of what is none; takes the packet."""
    cdef PacketQueue out
    memset(&out, 0, sizeof(out))
    assert segmentation.packet_segment(slab, packet, &out) > 0
    pieces = []
    while out.count:
        packet = memory.packet_pop(&out)
        pieces.append(packet.data[:packet.length])
        memory.packet_free(slab, packet)
    return pieces


def coalesce(list given, *, int csum=memory.CSUM_FULL, int room=PACKET_MAX, int gso=0,
             handed_on=(), bint cut=True):
    """What is left, (bytes, gso, gso_size) of each packet; and the pieces these are cut into."""
    cdef PacketSlab slab
    cdef Packet* packets[MOST]
    cdef Packet* packet
    cdef int count = len(given)
    cdef int left, i
    memset(&slab, 0, sizeof(slab))
    assert count <= MOST
    for i in range(count):
        packet = memory.packet_new(&slab, max(room, len(given[i])))
        memcpy(packet.data, <const uint8_t*><bytes>given[i], len(given[i]))
        packet.length = len(given[i])
        packet.csum = <uint8_t>csum
        packet.gso = <uint8_t>gso
        packet.handed_on = <uint8_t>handed_on[i] if handed_on else 0
        packets[i] = packet
    before = sorted(<uint64_t>packets[i] for i in range(count))
    left = coalescing.packets_coalesce(packets, count)
    assert sorted(<uint64_t>packets[i] for i in range(count)) == before
    found, pieces = [], []
    for i in range(count):
        packet = packets[i]
        if i >= left:
            assert packet.gso == memory.GSO_NONE
            memory.packet_free(&slab, packet)
            continue
        found.append((packet.data[:packet.length], packet.gso, packet.gso_size))
        if cut:
            pieces += pieces_of(&slab, packet)
        else:
            memory.packet_free(&slab, packet)
    assert slab.live == 0
    memory.packet_slab_release(&slab)
    return found, pieces
