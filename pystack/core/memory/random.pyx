# Random numbers: SipHash of a counter under the seed.
# Called by: ip (identification), tcp (ISN secret, ports), stack.
# RFCs: 4086 (what is at stake).

from libc.stdint cimport uint32_t, uint64_t
from pystack.core.memory.siphash cimport Sip, sip_add, sip_finish, sip_start


cdef void random_init(Random* random, const uint64_t* seed) noexcept nogil:
    """Start the sequence that belongs to a seed of two words."""
    random.key[0] = seed[0]
    random.key[1] = seed[1]
    random.counter = 0


cdef uint64_t random_next(Random* random) noexcept nogil:
    """Return the next 64 random bits: SipHash of the counter as eight little-endian bytes."""
    cdef Sip sip
    sip_start(&sip, random.key)
    sip_add(&sip, random.counter)
    random.counter += 1
    return sip_finish(&sip, <uint64_t>8 << 56)


cdef uint32_t random_below(Random* random, uint32_t bound) noexcept nogil:
    """Return a number in 0..bound-1; 0 if bound is 0.

    Some numbers are likelier than others by at most bound / 2^32.
    """
    return <uint32_t>(((random_next(random) >> 32) * bound) >> 32)
