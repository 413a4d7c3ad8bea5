# SipHash-1-3, word by word: one round per word of input, three at the end.
# Called by: memory/flow, memory/random; tcp/fast_open_cookie, which takes SipHash-2-4 as Linux.
# RFCs: none; Aumasson and Bernstein, "SipHash: a fast short-input PRF".

from libc.stdint cimport uint64_t

ctypedef struct Sip:
    uint64_t v0
    uint64_t v1
    uint64_t v2
    uint64_t v3


cdef inline uint64_t rotate_left(uint64_t word, int bits) noexcept nogil:
    return (word << bits) | (word >> (64 - bits))


cdef inline void sip_round(Sip* sip) noexcept nogil:
    sip.v0 += sip.v1
    sip.v2 += sip.v3
    sip.v1 = rotate_left(sip.v1, 13) ^ sip.v0
    sip.v3 = rotate_left(sip.v3, 16) ^ sip.v2
    sip.v0 = rotate_left(sip.v0, 32)
    sip.v2 += sip.v1
    sip.v0 += sip.v3
    sip.v1 = rotate_left(sip.v1, 17) ^ sip.v2
    sip.v3 = rotate_left(sip.v3, 21) ^ sip.v0
    sip.v2 = rotate_left(sip.v2, 32)


cdef inline void sip_start(Sip* sip, const uint64_t* secret) noexcept nogil:
    sip.v0 = secret[0] ^ 0x736F6D6570736575ULL
    sip.v1 = secret[1] ^ 0x646F72616E646F6DULL
    sip.v2 = secret[0] ^ 0x6C7967656E657261ULL
    sip.v3 = secret[1] ^ 0x7465646279746573ULL


cdef inline void sip_add(Sip* sip, uint64_t word) noexcept nogil:
    sip.v3 ^= word
    sip_round(sip)
    sip.v0 ^= word


cdef inline uint64_t sip_finish(Sip* sip, uint64_t last) noexcept nogil:
    """Add the last word (top byte: input length; below: the remaining 0..7 bytes) and close."""
    sip_add(sip, last)
    sip.v2 ^= 0xFF
    sip_round(sip)
    sip_round(sip)
    sip_round(sip)
    return sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3


cdef inline uint64_t siphash_2_4(
        const uint64_t* secret, const uint64_t* words, int count) noexcept nogil:
    """SipHash-2-4 of whole words, least significant byte first: Linux's siphash()."""
    cdef Sip sip
    cdef uint64_t word
    cdef int i, _final
    sip_start(&sip, secret)
    for i in range(count + 1):
        word = words[i] if i < count else <uint64_t>count << 59
        sip.v3 ^= word
        sip_round(&sip)
        sip_round(&sip)
        sip.v0 ^= word
    sip.v2 ^= 0xFF
    for _final in range(4):
        sip_round(&sip)
    return sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3
