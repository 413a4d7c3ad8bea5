# pystack.device.virtio for Python tests.
# Called by: tests/unit/test_virtio.py.
# RFCs: none.

from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcpy, memset
from pystack.core.memory.packet cimport Packet
from pystack.device.virtio cimport (
    VIRTIO_HEADER_SIZE,
    VirtioHeader,
    virtio_read,
    virtio_write,
)


def read(bytes header, bytes data):
    """(csum, csum_start, csum_offset, gso, gso_size) of a received packet; None if refused."""
    cdef VirtioHeader virtio
    cdef Packet packet
    assert sizeof(VirtioHeader) == VIRTIO_HEADER_SIZE == len(header)
    memcpy(&virtio, <const uint8_t*>header, VIRTIO_HEADER_SIZE)
    memset(&packet, 0xFF, sizeof(packet))
    packet.data = data
    packet.length = len(data)
    if virtio_read(&virtio, &packet) < 0:
        return None
    return packet.csum, packet.csum_start, packet.csum_offset, packet.gso, packet.gso_size


def write(bytes data, int csum=0, int csum_start=0, int csum_offset=0, int gso=0, int gso_size=0):
    """The header that describes a packet to the kernel; None if refused."""
    cdef VirtioHeader virtio
    cdef Packet packet
    memset(&packet, 0, sizeof(packet))
    packet.data = data
    packet.length = len(data)
    packet.csum = <uint8_t>csum
    packet.csum_start = <uint16_t>csum_start
    packet.csum_offset = <uint16_t>csum_offset
    packet.gso = <uint8_t>gso
    packet.gso_size = <uint16_t>gso_size
    memset(&virtio, 0xFF, sizeof(virtio))
    if virtio_write(&virtio, &packet) < 0:
        return None
    return (<const char*>&virtio)[:VIRTIO_HEADER_SIZE]
