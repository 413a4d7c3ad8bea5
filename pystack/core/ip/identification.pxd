# Identification of packets that may be fragmented: hard to guess from outside, slow to repeat.
# Called by: output.
# RFCs: 6864, 7739 section 5.3.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from pystack.core.memory.random cimport Random
from pystack.core.wire.address cimport Addr

cdef enum:
    IDENTIFICATION_COUNTERS = 256

ctypedef struct Identification:
    uint64_t secret[2]
    uint32_t counters[IDENTIFICATION_COUNTERS]

cdef void identification_init(Identification* identification, Random* random) noexcept nogil
# Reserve `count` successive numbers of (source, destination, protocol); return the first.
cdef uint32_t identification_next(
    Identification* identification, const Addr* source, const Addr* destination, uint8_t protocol,
    uint32_t count
) noexcept nogil
