# Random numbers, as tests see them.
# Called by: tests/unit/test_random.
# RFCs: none.

from libc.stdint cimport uint32_t, uint64_t
from pystack.core.memory.random cimport Random, random_below, random_init, random_next


cdef class Generator:
    cdef Random random

    def __cinit__(self, uint64_t k0, uint64_t k1):
        cdef uint64_t[2] seed = [k0, k1]
        random_init(&self.random, seed)

    def next(self):
        return random_next(&self.random)

    def below(self, uint32_t bound):
        return random_below(&self.random, bound)
