# The seat: who reads the device of a stack that has a thread: that thread, or a call that waits.
# Called by: thread, endpoint (calls that wait).
# RFCs: none.
#
# A call that waits for a packet could be woken by the thread that has read it; but waking a thread
# costs more than the packet does. So when the thread has woken a call it leaves the seat for a
# while: if the call comes back to wait, it sits down and turns the crank itself, until what it
# waits for has happened. The thread looks after a moment whether calls still come and go.

from libc.stdint cimport int64_t
from pystack.engine.engine cimport Engine
from pystack.engine.owner cimport Owner
from pystack.engine.turn cimport Turning

# Of the thread. Turn the crank until calls may do that, and return True; or until the end. fd: of
# the device, or -1.
cdef bint seat_drive(Engine engine, Turning* turning, int fd) noexcept nogil
# Sleep while calls turn the crank; then the seat is the thread's again.
cdef void seat_await(Engine engine, Turning* turning) noexcept nogil

# Of a call, with the lock: sleep without it until something of `events` happens to the owner, or
# until a time. 0, TIMED_OUT, RAISED or a negative errno, with the lock; or FORKED, without.
cdef int seat_wait(Engine engine, Owner* owner, int events, int64_t until) noexcept nogil
