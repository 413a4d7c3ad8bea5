# What a driver learns about waiting for packets, as tests see it.
# Called by: tests/unit/test_busy_poll.
# RFCs: none.

from libc.stdint cimport int64_t
from libc.string cimport memset
from pystack.engine.busy_poll cimport learn_patience
from pystack.engine.turn cimport Turning


cdef class Learner:
    cdef Turning turning

    def __cinit__(self):
        memset(&self.turning, 0, sizeof(self.turning))

    def learn(self, int64_t waited):
        """Packets have let it wait so many ns; for how many it would look now."""
        learn_patience(&self.turning, waited)
        return self.turning.patience
