# Busy poll: how a driver waits for packets: it looks again and again for a moment before it sleeps.
# Called by: seat, loop (learns only: how it waits is the event loop's affair).
# RFCs: none.
#
# To be woken costs the sender of a packet and us more than all protocol work for it. So while
# packets come every few microseconds nobody sleeps between them. How long it is worth to look is
# learned from how long the last packets have let us wait. To look in vain is worse than useless,
# for whom we wait for may wait for our CPU: then we look more and more rarely.

from libc.stdint cimport int64_t
from pystack.engine.engine cimport Engine
from pystack.engine.turn cimport Turning

# Read packets; if there are none wait for them, at most `duration` ns or until woken. How many were
# read, or a negative errno. interrupted: a signal has arrived, and nothing was read.
cdef int wait_for_packets(
    Engine engine, Turning* turning, int fd, int64_t duration, bint* interrupted) noexcept nogil
# Packets have let us wait so many ns.
cdef void learn_patience(Turning* turning, int64_t waited) noexcept nogil
