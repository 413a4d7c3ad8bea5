# The virtio-net header: a packet's offload metadata, as the kernel reads and writes it.
# Called by: tun.
# RFCs: none; Virtual I/O Device 1.2 section 5.1.6, legacy layout: in the machine's byte order.

from libc.stdint cimport uint8_t, uint16_t
from pystack.core.memory.packet cimport Packet

cdef enum:
    VIRTIO_NEEDS_CSUM = 1       # flags
    VIRTIO_DATA_VALID = 2

    VIRTIO_GSO_NONE = 0         # gso_type
    VIRTIO_GSO_TCPV4 = 1
    VIRTIO_GSO_TCPV6 = 4
    VIRTIO_GSO_UDP_L4 = 5
    VIRTIO_GSO_ECN = 0x80       # with one of TCP: the first segment carries CWR

    VIRTIO_HEADER_SIZE = 10

ctypedef struct VirtioHeader:
    uint8_t flags
    uint8_t gso_type
    uint16_t hdr_len            # bytes of headers, the transport header included; with gso_type
    uint16_t gso_size
    uint16_t csum_start         # from the first byte of the packet; with NEEDS_CSUM
    uint16_t csum_offset

# Set the metadata of a received packet; -1 if the header does not fit it.
cdef int virtio_read(const VirtioHeader* header, Packet* packet) noexcept nogil
# Describe a packet to be sent; -1 if its metadata does not fit it.
cdef int virtio_write(VirtioHeader* header, const Packet* packet) noexcept nogil
