# Turn: what a driver does each time: packets in, what is due, packets out; then how long to sleep.
# Called by: seat (of a thread), loop.
# RFCs: none.

from libc.stdint cimport int64_t, uint64_t
from pystack.engine.batch cimport Batch
from pystack.engine.engine cimport Engine

ctypedef struct Turning:        # all zero: nothing has happened yet
    Batch batch
    bint stays                  # between two turns there is nothing but waiting for packets
    uint64_t calls              # of the engine when we last looked
    int64_t busy_until
    bint roused                 # the last turn has woken a call
    int64_t alone_until         # calls do not take part before (seat.pyx)
    int expected                # as many packets as came last time (busy_poll.pyx)
    bint more                   # as many were read as were asked for
    int64_t patience            # ns to look for packets before sleeping; 0: not at all
    int pauses                  # waits until the next try
    int failures                # in a row

# Do all that is to be done now; ns to sleep unless woken before, negative: the end.
# filled: packets that batch_read has read, or why the device is gone.
cdef int64_t turn(Engine engine, Turning* turning, int filled) noexcept nogil
# Before a driver sleeps: False if it should rather turn again, as a call has left something to it.
cdef bint turning_may_rest(Engine engine, const Turning* turning) noexcept nogil
# With the lock, before a driver gives up its place: send what calls have left to it.
cdef void turning_ends(Engine engine) noexcept nogil
