# Random numbers from a seed: unpredictable to peers, repeatable for the owner of the seed (SipHash in counter mode).
# Called by: ip (identification), tcp (ISN secret, ports). The driver provides the seed; the core never asks for one.
# RFCs: 4086 (what is at stake).

from libc.stdint cimport uint32_t, uint64_t

ctypedef struct Random:
    uint64_t key[2]
    uint64_t counter

cdef void random_init(Random* random, const uint64_t* seed) noexcept nogil      # seed: 2 words
cdef uint64_t random_next(Random* random) noexcept nogil
cdef uint32_t random_below(Random* random, uint32_t bound) noexcept nogil       # 0..bound-1, unbiased enough
