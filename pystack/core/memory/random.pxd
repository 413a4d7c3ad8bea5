# Random numbers: unpredictable to peers, repeatable from the seed, which the driver provides.
# Called by: ip (identification), tcp (ISN secret, ports).
# RFCs: 4086 (what is at stake).

from libc.stdint cimport uint32_t, uint64_t

ctypedef struct Random:
    uint64_t key[2]
    uint64_t counter

cdef void random_init(Random* random, const uint64_t* seed) noexcept nogil      # seed: 2 words
cdef uint64_t random_next(Random* random) noexcept nogil
# 0..bound-1, unbiased enough
cdef uint32_t random_below(Random* random, uint32_t bound) noexcept nogil
