# IPv6 header and extension headers: bytes <-> fields; no state.
# Called by: ip input, extensions, output, fragments and icmp.
# RFCs: 8200 sections 3 and 4.

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from pystack.core.wire.address cimport addr_load16, addr_store16
from pystack.core.wire.bytes cimport load16, load32, store16, store32

cdef enum:
    OPTION_PAD1 = 0
    OPTION_PADN = 1
    OPTION_ROUTER_ALERT = 5     # RFC 2711; all MLD packets carry it
    MAX_HEADERS = 8             # of a chain that ipv6_find_upper follows


cdef void ipv6_read(const uint8_t* data, Ipv6Header* header) noexcept nogil:
    """Read the fixed 40 bytes."""
    cdef uint32_t first = load32(data)
    header.tos = <uint8_t>(first >> 20)
    header.flow_label = first & 0xFFFFF
    header.payload_length = load16(data + 4)
    header.next_header = data[6]
    header.hop_limit = data[7]
    header.source = addr_load16(data + 8)
    header.destination = addr_load16(data + 24)


cdef int ipv6_parse(const uint8_t* data, uint32_t length, Ipv6Header* header) noexcept nogil:
    """Judge and read the fixed header; 0, or an Ipv6Fault."""
    if length < IPV6_HEADER_LENGTH:
        return IPV6_TOO_SHORT
    if data[0] >> 4 != 6:
        return IPV6_BAD_VERSION
    ipv6_read(data, header)
    if header.payload_length > length - IPV6_HEADER_LENGTH:
        return IPV6_BAD_LENGTH
    return 0


cdef void ipv6_build(uint8_t* out, const Ipv6Header* header) noexcept nogil:
    """Write the fixed header."""
    store32(out, <uint32_t>6 << 28 | <uint32_t>header.tos << 20 | (header.flow_label & 0xFFFFF))
    store16(out + 4, header.payload_length)
    out[6] = header.next_header
    out[7] = header.hop_limit
    addr_store16(out + 8, &header.source)
    addr_store16(out + 24, &header.destination)


cdef void ipv6_fragment_read(const uint8_t* data, Ipv6Fragment* fragment) noexcept nogil:
    """Read a fragment header of 8 bytes (RFC 8200 section 4.5)."""
    cdef uint16_t field = load16(data + 2)
    fragment.next_header = data[0]
    fragment.offset = field & 0xFFF8
    fragment.more = field & 1
    fragment.id = load32(data + 4)


cdef void ipv6_fragment_build(uint8_t* out, const Ipv6Fragment* fragment) noexcept nogil:
    """Write a fragment header of 8 bytes."""
    out[0] = fragment.next_header
    out[1] = 0
    store16(out + 2, <uint16_t>(fragment.offset | (1 if fragment.more else 0)))
    store32(out + 4, fragment.id)


cdef Ipv6OptionAction ipv6_check_options(
    const uint8_t* data, uint32_t length, uint32_t* at
) noexcept nogil:
    """Walk the type-length-value options behind the two bytes of next header and length."""
    cdef uint32_t i = 2
    cdef uint8_t kind
    while i < length:
        kind = data[i]
        if kind == OPTION_PAD1:
            i += 1
            continue
        at[0] = i
        if length - i < 2 or data[i + 1] > length - i - 2:
            return OPTION_MALFORMED
        if kind != OPTION_PADN and kind != OPTION_ROUTER_ALERT and kind >> 6 != OPTION_SKIP:
            return <Ipv6OptionAction>(kind >> 6)
        i += 2 + data[i + 1]
    return OPTION_SKIP


cdef inline bint is_extension(uint8_t next_header) noexcept nogil:
    return (next_header == NEXT_HOP_BY_HOP or next_header == NEXT_ROUTING
            or next_header == NEXT_FRAGMENT or next_header == NEXT_DESTINATION)


cdef int ipv6_find_upper(const uint8_t* data, uint32_t length, Ipv6Upper* upper) noexcept nogil:
    """Follow the chain of extension headers as far as these bytes go."""
    cdef Ipv6Fragment fragment
    cdef uint32_t at, size
    cdef int _i
    upper.later_fragment = False
    upper.named_at = 6
    upper.offset = IPV6_HEADER_LENGTH
    if length < IPV6_HEADER_LENGTH:
        return -1
    for _i in range(MAX_HEADERS + 1):
        at = upper.offset
        upper.protocol = data[upper.named_at]
        if upper.later_fragment or not is_extension(upper.protocol):
            return 0
        if length - at < IPV6_FRAGMENT_LENGTH:      # the least that any extension header has
            return -1
        size = ipv6_extension_length(data + at)
        if upper.protocol == NEXT_FRAGMENT:
            ipv6_fragment_read(data + at, &fragment)
            upper.later_fragment = fragment.offset != 0
            size = IPV6_FRAGMENT_LENGTH
        if size > length - at:
            return -1
        upper.named_at = at
        upper.offset = at + size
    return -1
