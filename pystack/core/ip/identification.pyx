# Identification of packets that may be fragmented: hard to guess from outside, slow to repeat.
# Called by: output.
# RFCs: 6864, 7739 section 5.3.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from pystack.core.memory.random cimport Random, random_next
from pystack.core.memory.siphash cimport Sip, sip_add, sip_finish, sip_start
from pystack.core.wire.address cimport Addr


cdef void identification_init(Identification* identification, Random* random) noexcept nogil:
    """Draw a secret of its own and the starting points of the counters."""
    cdef int i
    identification.secret[0] = random_next(random)
    identification.secret[1] = random_next(random)
    for i in range(IDENTIFICATION_COUNTERS):
        identification.counters[i] = <uint32_t>random_next(random)


cdef uint32_t identification_next(
    Identification* identification, const Addr* source, const Addr* destination, uint8_t protocol,
    uint32_t count
) noexcept nogil:
    """Hash of the flow plus one of many counters (RFC 7739 section 5.3).

    A random number for each packet would repeat within a few hundred packets of 16 bits each; a
    counter repeats after 65,536 (RFC 6864 section 4.3), and the hash hides its value from others.
    """
    cdef Sip sip
    cdef uint64_t hashed
    cdef uint32_t* counter
    sip_start(&sip, identification.secret)
    sip_add(&sip, source.hi)
    sip_add(&sip, source.lo)
    sip_add(&sip, destination.hi)
    sip_add(&sip, destination.lo)
    hashed = sip_finish(&sip, protocol)
    counter = &identification.counters[hashed >> 56]
    counter[0] += count
    return <uint32_t>hashed + counter[0] - count
