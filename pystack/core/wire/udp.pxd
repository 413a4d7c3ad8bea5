# UDP header: bytes <-> fields; no state.
# Called by: udp input and output.
# RFCs: 768.

from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    UDP_HEADER_LENGTH = 8
    UDP_CHECKSUM_OFFSET = 6

cdef enum UdpFault:
    UDP_TOO_SHORT = -1          # no whole header
    UDP_BAD_LENGTH = -2         # the length field is below 8 or beyond the bytes that are there

# A checked view of the header of one datagram (or train); udp/ trusts it.
ctypedef struct UdpHeader:
    uint16_t source_port        # 0: none, no answer is possible
    uint16_t destination_port
    uint16_t length             # header and payload; bytes behind that are not UDP's
    uint16_t checksum           # as on the wire; 0: none

# 0 or a UdpFault.
cdef int udp_parse(const uint8_t* data, uint32_t length, UdpHeader* header) noexcept nogil
cdef void udp_build_header(uint8_t* out, const UdpHeader* header) noexcept nogil
