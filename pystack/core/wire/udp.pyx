# UDP header: bytes <-> fields; no state.
# Called by: udp input and output.
# RFCs: 768.

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.wire.bytes cimport load16, store16


cdef int udp_parse(const uint8_t* data, uint32_t length, UdpHeader* header) noexcept nogil:
    """Read the header of a datagram of at most `length` bytes; 0, or a UdpFault."""
    if length < UDP_HEADER_LENGTH:
        return UDP_TOO_SHORT
    header.source_port = load16(data)
    header.destination_port = load16(data + 2)
    header.length = load16(data + 4)
    header.checksum = load16(data + 6)
    if header.length < UDP_HEADER_LENGTH or header.length > length:
        return UDP_BAD_LENGTH
    return 0


cdef void udp_build_header(uint8_t* out, const UdpHeader* header) noexcept nogil:
    """Write the eight bytes, the checksum as it is given."""
    store16(out, header.source_port)
    store16(out + 2, header.destination_port)
    store16(out + 4, header.length)
    store16(out + 6, header.checksum)
