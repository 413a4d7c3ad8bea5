# IPv6 header and extension headers: bytes <-> fields; no state.
# Called by: ip input, extensions, output, fragments and icmp.
# RFCs: 8200 sections 3 and 4.

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from pystack.core.wire.address cimport Addr

cdef enum:
    IPV6_HEADER_LENGTH = 40
    IPV6_FRAGMENT_LENGTH = 8
    IPV6_MIN_MTU = 1280         # RFC 8200 section 5

cdef enum NextHeader:
    NEXT_HOP_BY_HOP = 0
    NEXT_ROUTING = 43
    NEXT_FRAGMENT = 44
    NEXT_NONE = 59
    NEXT_DESTINATION = 60

cdef enum Ipv6Fault:
    IPV6_TOO_SHORT = -1
    IPV6_BAD_VERSION = -2
    IPV6_BAD_LENGTH = -3

# What an unknown option asks for in its two highest bits (RFC 8200 section 4.2).
cdef enum Ipv6OptionAction:
    OPTION_SKIP = 0
    OPTION_DISCARD = 1
    OPTION_REPORT = 2
    OPTION_REPORT_UNICAST = 3   # not if the packet went to a multicast address
    OPTION_MALFORMED = 4        # no action bits: a length that leads out of the header

ctypedef struct Ipv6Header:
    Addr source
    Addr destination
    uint32_t flow_label
    uint16_t payload_length
    uint8_t next_header
    uint8_t hop_limit
    uint8_t tos

ctypedef struct Ipv6Fragment:
    uint32_t id
    uint16_t offset             # bytes, a multiple of 8
    uint8_t next_header
    bint more

# Where the upper-layer header of a packet begins.
ctypedef struct Ipv6Upper:
    uint32_t offset
    uint32_t named_at           # offset of the field that names its protocol
    uint8_t protocol
    bint later_fragment         # a fragment, and not the first: it has no upper-layer header

# 0, or an Ipv6Fault. length: bytes that are there; the packet may be shorter (link padding).
cdef int ipv6_parse(const uint8_t* data, uint32_t length, Ipv6Header* header) noexcept nogil
# Read the fields of a header whose payload may be cut short (a quoted one); nothing is judged.
cdef void ipv6_read(const uint8_t* data, Ipv6Header* header) noexcept nogil
cdef void ipv6_build(uint8_t* out, const Ipv6Header* header) noexcept nogil
cdef void ipv6_fragment_read(const uint8_t* data, Ipv6Fragment* fragment) noexcept nogil
cdef void ipv6_fragment_build(uint8_t* out, const Ipv6Fragment* fragment) noexcept nogil
# Walk the options of a hop-by-hop or destination header of `length` bytes. The first unknown one
# that is not to be skipped decides; *at is its offset in the header.
cdef Ipv6OptionAction ipv6_check_options(
    const uint8_t* data, uint32_t length, uint32_t* at
) noexcept nogil
# Find the upper-layer header of a packet or of its first bytes, judging nothing. 0; -1: it is not
# in these bytes.
cdef int ipv6_find_upper(const uint8_t* data, uint32_t length, Ipv6Upper* upper) noexcept nogil


cdef inline uint32_t ipv6_extension_length(const uint8_t* data) noexcept nogil:
    """Bytes of a hop-by-hop, routing or destination header, of which at least two are there."""
    return (<uint32_t>data[1] + 1) * 8
