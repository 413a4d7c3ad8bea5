# IPv4 header and options: bytes <-> fields; no state.
# Called by: ip input, output, fragments and icmp.
# RFCs: 791 section 3.1, 7126 (options).

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from pystack.core.wire.address cimport Addr

cdef enum:
    IPV4_HEADER_LENGTH = 20
    IPV4_MAX_HEADER_LENGTH = 60
    IPV4_DF = 0x4000            # in Ipv4Header.fragment
    IPV4_MF = 0x2000
    IPV4_OFFSET_MASK = 0x1FFF   # units of 8 bytes

cdef enum Ipv4Fault:
    IPV4_TOO_SHORT = -1
    IPV4_BAD_VERSION = -2
    IPV4_BAD_HEADER_LENGTH = -3
    IPV4_BAD_TOTAL_LENGTH = -4
    IPV4_BAD_CHECKSUM = -5

cdef enum Ipv4Options:
    IPV4_OPTIONS_GOOD = 0
    IPV4_OPTIONS_MALFORMED = 1
    IPV4_OPTIONS_SOURCE_ROUTE = 2

ctypedef struct Ipv4Header:
    Addr source
    Addr destination
    uint16_t total_length
    uint16_t id
    uint16_t fragment           # IPV4_DF, IPV4_MF and the offset
    uint8_t header_length       # 20..60
    uint8_t tos
    uint8_t ttl
    uint8_t protocol

# 0, or an Ipv4Fault. length: bytes that are there; total_length may be less (link padding).
cdef int ipv4_parse(const uint8_t* data, uint32_t length, Ipv4Header* header) noexcept nogil
# Read the fields of a header that may be cut short behind its 20 bytes (a quoted one); nothing is
# judged.
cdef void ipv4_read(const uint8_t* data, Ipv4Header* header) noexcept nogil
# Write 20 bytes with their checksum; header.header_length is taken as 20.
cdef void ipv4_build(uint8_t* out, const Ipv4Header* header) noexcept nogil
# Look at the options of a header that ipv4_parse has accepted.
cdef Ipv4Options ipv4_check_options(const uint8_t* data, const Ipv4Header* header) noexcept nogil
