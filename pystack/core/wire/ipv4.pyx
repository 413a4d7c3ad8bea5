# IPv4 header and options: bytes <-> fields; no state.
# Called by: ip input, output, fragments and icmp.
# RFCs: 791 section 3.1, 7126 (options).

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.wire.address cimport addr_load4, addr_store4, addr_v4
from pystack.core.wire.bytes cimport load16, store16
from pystack.core.wire.checksum cimport csum_add, csum_finish

cdef enum:                      # IANA: IP option numbers, with copied flag and class
    OPTION_END = 0
    OPTION_NOP = 1
    OPTION_LOOSE_SOURCE_ROUTE = 131
    OPTION_STRICT_SOURCE_ROUTE = 137


cdef void ipv4_read(const uint8_t* data, Ipv4Header* header) noexcept nogil:
    """Read the fixed 20 bytes."""
    header.header_length = <uint8_t>((data[0] & 0x0F) * 4)
    header.tos = data[1]
    header.total_length = load16(data + 2)
    header.id = load16(data + 4)
    header.fragment = load16(data + 6)
    header.ttl = data[8]
    header.protocol = data[9]
    header.source = addr_load4(data + 12)
    header.destination = addr_load4(data + 16)


cdef inline uint32_t header_sum(const Ipv4Header* header) noexcept nogil:
    """Without options and checksum; from the fields: reading back what was just written would stall
    the processor.
    """
    cdef uint32_t source = addr_v4(&header.source)
    cdef uint32_t destination = addr_v4(&header.destination)
    cdef uint32_t sum = 0x4500 | header.tos
    sum += header.total_length
    sum += header.id
    sum += header.fragment
    sum += <uint32_t>header.ttl << 8 | header.protocol
    sum += (source >> 16) + (source & 0xFFFF) + (destination >> 16) + (destination & 0xFFFF)
    return sum


cdef int ipv4_parse(const uint8_t* data, uint32_t length, Ipv4Header* header) noexcept nogil:
    """Judge and read a header (RFC 1122 section 3.2.1); 0, or an Ipv4Fault."""
    cdef uint32_t sum
    if length < IPV4_HEADER_LENGTH:
        return IPV4_TOO_SHORT
    if data[0] >> 4 != 4:
        return IPV4_BAD_VERSION
    ipv4_read(data, header)
    if header.header_length < IPV4_HEADER_LENGTH or header.header_length > length:
        return IPV4_BAD_HEADER_LENGTH
    if header.total_length < header.header_length or header.total_length > length:
        return IPV4_BAD_TOTAL_LENGTH
    if header.header_length == IPV4_HEADER_LENGTH:
        sum = header_sum(header) + load16(data + 10)
    else:
        sum = csum_add(0, data, header.header_length)
    return 0 if csum_finish(sum) == 0 else IPV4_BAD_CHECKSUM


cdef void ipv4_build(uint8_t* out, const Ipv4Header* header) noexcept nogil:
    """Write a header without options, and its checksum."""
    out[0] = 0x45
    out[1] = header.tos
    store16(out + 2, header.total_length)
    store16(out + 4, header.id)
    store16(out + 6, header.fragment)
    out[8] = header.ttl
    out[9] = header.protocol
    store16(out + 10, csum_finish(header_sum(header)))
    addr_store4(out + 12, &header.source)
    addr_store4(out + 16, &header.destination)


cdef Ipv4Options ipv4_check_options(const uint8_t* data, const Ipv4Header* header) noexcept nogil:
    """Walk the options; the first one that is broken or a source route decides."""
    cdef uint32_t at = IPV4_HEADER_LENGTH
    cdef uint32_t end = header.header_length
    while at < end and data[at] != OPTION_END:
        if data[at] == OPTION_NOP:
            at += 1
            continue
        if end - at < 2 or data[at + 1] < 2 or data[at + 1] > end - at:
            return IPV4_OPTIONS_MALFORMED
        if data[at] == OPTION_LOOSE_SOURCE_ROUTE or data[at] == OPTION_STRICT_SOURCE_ROUTE:
            return IPV4_OPTIONS_SOURCE_ROUTE
        at += data[at + 1]
    return IPV4_OPTIONS_GOOD
