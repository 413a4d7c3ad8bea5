# The virtio-net header: a packet's offload metadata, as the kernel reads and writes it.
# Called by: tun.
# RFCs: none; Virtual I/O Device 1.2 section 5.1.6, legacy layout: in the machine's byte order.

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset
from pystack.core.memory.packet cimport (
    CSUM_FULL,
    CSUM_PARTIAL,
    CSUM_VERIFIED,
    GSO_NONE,
    GSO_TCP4,
    GSO_TCP6,
    GSO_UDP4,
    GSO_UDP6,
    Packet,
)

cdef enum:
    TCP_HEADER_MIN = 20
    TCP_DATA_OFFSET_AT = 12
    UDP_HEADER = 8
    UNKNOWN = -1


cdef inline bint csum_field_fits(const Packet* packet) noexcept nogil:
    return packet.csum_start + <uint32_t>packet.csum_offset + 2 <= packet.length


cdef inline int gso_from_virtio(uint8_t gso_type, uint8_t ip_version) noexcept nogil:
    """GsoType, or UNKNOWN."""
    gso_type &= ~VIRTIO_GSO_ECN
    if gso_type == VIRTIO_GSO_TCPV4 and ip_version == 4:
        return GSO_TCP4
    if gso_type == VIRTIO_GSO_TCPV6 and ip_version == 6:
        return GSO_TCP6
    if gso_type == VIRTIO_GSO_UDP_L4:
        return GSO_UDP4 if ip_version == 4 else GSO_UDP6
    return UNKNOWN


cdef inline uint8_t gso_to_virtio(uint8_t gso) noexcept nogil:
    if gso == GSO_TCP4:
        return VIRTIO_GSO_TCPV4
    if gso == GSO_TCP6:
        return VIRTIO_GSO_TCPV6
    return VIRTIO_GSO_UDP_L4


cdef int virtio_read(const VirtioHeader* header, Packet* packet) noexcept nogil:
    """Set the metadata of a received packet; -1 if the header does not fit it.

    The kernel gives trains only with NEEDS_CSUM: their pieces have no checksums of their own.
    """
    packet.csum = CSUM_FULL
    packet.gso = GSO_NONE
    packet.gso_size = 0
    packet.csum_start = 0
    packet.csum_offset = 0
    if header.flags & VIRTIO_NEEDS_CSUM:
        packet.csum = CSUM_PARTIAL
        packet.csum_start = header.csum_start
        packet.csum_offset = header.csum_offset
        if not csum_field_fits(packet):
            return -1
    elif header.flags & VIRTIO_DATA_VALID:
        packet.csum = CSUM_VERIFIED
    if header.gso_type == VIRTIO_GSO_NONE:
        return 0
    return virtio_read_train(header, packet)


cdef int virtio_read_train(const VirtioHeader* header, Packet* packet) noexcept nogil:
    cdef int gso = gso_from_virtio(header.gso_type, packet.data[0] >> 4)
    if gso == UNKNOWN or packet.csum != CSUM_PARTIAL or header.gso_size == 0:
        return -1
    packet.gso = <uint8_t>gso
    packet.gso_size = header.gso_size
    return 0


cdef int virtio_write(VirtioHeader* header, const Packet* packet) noexcept nogil:
    """Describe a packet to be sent; -1 if its metadata does not fit it."""
    memset(header, 0, sizeof(VirtioHeader))
    if packet.csum == CSUM_PARTIAL:
        if not csum_field_fits(packet):
            return -1
        header.flags = VIRTIO_NEEDS_CSUM
        header.csum_start = packet.csum_start
        header.csum_offset = packet.csum_offset
    if packet.gso == GSO_NONE:
        return 0
    return virtio_write_train(header, packet)


cdef int virtio_write_train(VirtioHeader* header, const Packet* packet) noexcept nogil:
    cdef uint32_t headers = train_headers(packet)
    if packet.csum != CSUM_PARTIAL or packet.gso_size == 0 or headers == 0:
        return -1
    header.gso_type = gso_to_virtio(packet.gso)
    header.hdr_len = <unsigned short>headers
    header.gso_size = packet.gso_size
    return 0


cdef uint32_t train_headers(const Packet* packet) noexcept nogil:
    """Bytes of IP and transport headers of a train; 0 if they are not whole."""
    cdef uint32_t start = packet.csum_start
    cdef uint32_t headers
    if packet.gso == GSO_UDP4 or packet.gso == GSO_UDP6:
        headers = start + UDP_HEADER
    elif start + TCP_HEADER_MIN > packet.length:
        return 0
    else:
        headers = start + (packet.data[start + TCP_DATA_OFFSET_AT] >> 4) * 4
    return headers if headers <= packet.length else 0
