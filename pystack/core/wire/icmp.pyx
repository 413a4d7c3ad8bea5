# ICMP and ICMPv6 messages: types, codes, header; no state.
# Called by: ip icmp, icmp_input, extensions, fragments; udp for echo sockets.
# RFCs: 792, 1812 section 4.3, 1191 section 4, 4443, 4884, 6918.

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from pystack.core.wire.address cimport Addr, addr_is_v4
from pystack.core.wire.bytes cimport store16, store32
from pystack.core.wire.checksum cimport csum_add, csum_finish, csum_pseudo

cdef enum:
    PROTOCOL_ICMPV6 = 58


cdef void icmp_build_header(
    uint8_t* out, uint8_t kind, uint8_t code, uint32_t second_word
) noexcept nogil:
    """Write the 8 bytes that all messages begin with, checksum 0."""
    out[0] = kind
    out[1] = code
    store16(out + 2, 0)
    store32(out + 4, second_word)


cdef uint16_t icmp_checksum(
    const uint8_t* data, uint32_t length, const Addr* source, const Addr* destination
) noexcept nogil:
    """Internet checksum of a message of the addresses' family."""
    cdef uint32_t sum = 0
    if not addr_is_v4(destination):
        sum = csum_pseudo(source, destination, PROTOCOL_ICMPV6, length)
    return csum_finish(csum_add(sum, data, length))
