# The internet checksum: sums, pseudo-headers, incremental update.
# Called by: ip, udp, tcp output and input; device/segmentation.
# RFCs: 1071 (computation), 1624 (incremental update), 8200 section 8.1 (IPv6 pseudo-header).

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from pystack.core.wire.address cimport Addr, addr_is_v4
from pystack.core.wire.bytes cimport load16


cdef inline uint64_t carry_add(uint64_t a, uint64_t b) noexcept nogil:
    """Add with end-around carry; compilers make it two instructions."""
    a += b
    return a + (a < b)


cdef inline uint32_t fold64(uint64_t sum) noexcept nogil:
    """The same sum in 32 bits, modulo 0xffff; 0 only for 0."""
    sum = <uint64_t><uint32_t>sum + (sum >> 32)
    return <uint32_t>sum + <uint32_t>(sum >> 32)


cdef inline uint16_t from_memory_order(uint16_t sum) noexcept nogil:
    """The sum of big-endian words from the sum of the same words in the host's order.

    RFC 1071 section 2 (B): swapping the bytes of every word swaps those of the sum.
    """
    cdef uint8_t raw[2]
    memcpy(raw, &sum, 2)
    return load16(raw)


cdef inline uint64_t load_host64(const uint8_t* p) noexcept nogil:
    """Eight bytes at any alignment, in the host's order: one instruction."""
    cdef uint64_t word
    memcpy(&word, p, 8)
    return word


cdef inline uint64_t sum_blocks(const uint8_t* data, size_t count) noexcept nogil:
    """Sum of `count` blocks of 32 bytes, in the host's order.

    Four carry chains side by side: as fast as SSE2 code, at any optimization level.
    """
    cdef uint64_t s0 = 0, s1 = 0, s2 = 0, s3 = 0
    cdef size_t _block
    for _block in range(count):
        s0 = carry_add(s0, load_host64(data))
        s1 = carry_add(s1, load_host64(data + 8))
        s2 = carry_add(s2, load_host64(data + 16))
        s3 = carry_add(s3, load_host64(data + 24))
        data += 32
    return carry_add(carry_add(s0, s1), carry_add(s2, s3))


cdef inline uint64_t sum_tail(const uint8_t* data, size_t length) noexcept nogil:
    """Sum of less than 32 bytes, in the host's order, as if followed by zeros."""
    cdef uint64_t sum = 0
    cdef uint32_t word32
    cdef uint16_t word16
    cdef uint8_t[2] last
    while length >= 8:
        sum = carry_add(sum, load_host64(data))
        data += 8
        length -= 8
    if length & 4:
        memcpy(&word32, data, 4)
        sum = carry_add(sum, word32)
        data += 4
    if length & 2:
        memcpy(&word16, data, 2)
        sum = carry_add(sum, word16)
        data += 2
    if length & 1:
        last = [data[0], 0]
        memcpy(&word16, last, 2)
        sum = carry_add(sum, word16)
    return sum


cdef uint32_t csum_add(uint32_t sum, const uint8_t* data, size_t length) noexcept nogil:
    """Add bytes that lie at an even offset of what is summed.

    An odd last byte counts as if followed by a zero; any alignment in memory will do.
    """
    cdef size_t blocks = length >> 5
    cdef uint64_t part = sum_tail(data + (blocks << 5), length & 31)
    if blocks:
        part = carry_add(part, sum_blocks(data, blocks))
    return fold64(<uint64_t>sum + from_memory_order(csum_fold(fold64(part))))


cdef uint32_t csum_add_at(
    uint32_t sum, const uint8_t* data, size_t length, size_t offset
) noexcept nogil:
    """Add bytes that lie at any offset of what is summed (RFC 1071 section 2 (B))."""
    cdef uint16_t part
    if not offset & 1:
        return csum_add(sum, data, length)
    part = csum_fold(csum_add(0, data, length))
    return fold64(<uint64_t>sum + (((part << 8) | (part >> 8)) & 0xFFFF))


cdef inline uint64_t sum_address(const Addr* address) noexcept nogil:
    """Sum of the 4 or 16 bytes that the address has on the wire."""
    if addr_is_v4(address):
        return <uint32_t>address.lo
    return <uint64_t>fold64(address.hi) + fold64(address.lo)


cdef uint32_t csum_pseudo(
    const Addr* source, const Addr* destination, uint8_t protocol, uint32_t length
) noexcept nogil:
    """Sum of the pseudo-header (RFC 9293 section 3.1 for IPv4, RFC 8200 section 8.1 for IPv6).

    length: bytes of transport header and payload. Both addresses are of one family.
    """
    return fold64(sum_address(source) + sum_address(destination) + protocol + length)


cdef uint16_t csum_fold(uint32_t sum) noexcept nogil:
    """The sum in 16 bits, not complemented: what a CSUM_PARTIAL field holds."""
    sum = (sum & 0xFFFF) + (sum >> 16)
    return <uint16_t>(sum + (sum >> 16))


cdef uint16_t csum_finish(uint32_t sum) noexcept nogil:
    """The checksum: folded and complemented. That UDP sends 0 as 0xffff is for UDP to see to."""
    return <uint16_t>~csum_fold(sum)


cdef uint16_t csum_update16(uint16_t checksum, uint16_t old, uint16_t new) noexcept nogil:
    """The checksum after one aligned 16-bit word has changed (RFC 1624 section 3, equation 3)."""
    cdef uint32_t sum = <uint16_t>~checksum
    sum += <uint16_t>~old
    return csum_finish(sum + new)
