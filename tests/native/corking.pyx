# Which writes wait for others, as tests see it.
# Called by: tests/unit/test_corking.
# RFCs: none.

from libc.stdint cimport int64_t
from pystack.engine.corking cimport Corking, corking_start, corking_waits


cdef class Cork:
    cdef Corking corking

    def __cinit__(self, Py_ssize_t crowd):
        corking_start(&self.corking)
        self.corking.crowd = crowd

    def waits(self, int64_t now):
        """Whether what is written then is to wait."""
        return corking_waits(&self.corking, now)
