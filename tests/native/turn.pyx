# A driver between two turns, as tests see it.
# Called by: tests/scenario/sockets: test_left_to_driver, test_lock_and_gil.
# RFCs: none.

from libc.string cimport memset
from pystack.engine.batch cimport batch_end
from pystack.engine.busy_poll cimport wait_for_packets
from pystack.engine.engine cimport Engine
from pystack.engine.sleeper cimport sleeper_sleep, sleeper_wake
from pystack.engine.turn cimport Turning, turn, turning_ends, turning_may_rest

cdef enum:
    SECOND = 1_000_000_000


cdef class Driver:
    """One that does nothing unless it is told to."""

    cdef Engine engine
    cdef Turning turning

    def __cinit__(self, stack, bint stays):
        self.engine = stack.engine
        memset(&self.turning, 0, sizeof(self.turning))
        self.turning.stays = stays

    def turn(self):
        """Without having read anything."""
        return turn(self.engine, &self.turning, 0)

    def may_rest(self):
        return turning_may_rest(self.engine, &self.turning)

    def sleeps(self):
        """Whether it sleeps when it waits for packets, of which there are none; it is woken."""
        cdef bint interrupted, slept
        sleeper_wake(&self.engine.sleeper)
        wait_for_packets(self.engine, &self.turning, -1, SECOND, &interrupted)
        slept = not self.engine.sleeper.rung
        sleeper_sleep(&self.engine.sleeper, -1, 0)
        return slept

    def end(self):
        self.engine.lock()
        turning_ends(self.engine)
        self.engine.unlock()
        batch_end(&self.turning.batch, self.engine)
