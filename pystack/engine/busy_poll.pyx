# Busy poll: how a driver waits for packets: it looks again and again for a moment before it sleeps.
# Called by: seat, loop.
# RFCs: none.

from libc.errno cimport EBADF
from libc.stdint cimport int64_t
from pystack.engine.batch cimport batch_read, batch_room
from pystack.engine.clock cimport clock_ns
from pystack.engine.engine cimport Engine
from pystack.engine.sleeper cimport SLEEP_INTERRUPTED, sleeper_sleep
from pystack.engine.turn cimport Turning, turning_may_rest

cdef enum:
    # Of how long it is worth to look. A wake-up takes tens of microseconds on a virtual machine.
    PATIENCE_LEAST_NS = 10_000
    PATIENCE_MOST_NS = 100_000
    RAREST = 12                 # after this many failures, one wait of 2^12 begins with a look


cdef int look(Engine engine, Turning* turning, bint eager) noexcept nogil:
    """Read packets; eager: as many as came last time, or twice as many if there were more.

    To ask for one more costs a call of the system, and while requests and responses alternate it is
    in vain each time.
    """
    cdef int room = batch_room(&turning.batch)
    cdef int filled
    if eager:
        room = min(room, max(turning.expected, 1))
    filled = batch_read(&turning.batch, engine, room)
    turning.more = filled == room and room > 0
    if filled > 0:
        turning.expected = 2 * filled if turning.more else filled
    return filled


cdef void learn_patience(Turning* turning, int64_t waited) noexcept nogil:
    if waited > turning.patience > 0:
        turning.patience = 0
        turning.pauses = 1 << turning.failures
        turning.failures = min(turning.failures + 1, <int>RAREST)
        return
    if turning.patience:
        turning.failures = 0
    elif turning.pauses or waited > PATIENCE_MOST_NS:
        turning.pauses = max(turning.pauses - 1, 0)
        return
    turning.patience = min(
        max(2 * waited, <int64_t>PATIENCE_LEAST_NS), <int64_t>PATIENCE_MOST_NS)


cdef int wait_for_packets(
    Engine engine, Turning* turning, int fd, int64_t duration, bint* interrupted
) noexcept nogil:
    # Python code is asked when its file is readable, or had more than there was room for.
    cdef bint eager = engine.device is not None and engine.device.without_gil
    cdef int64_t began, now, waited
    cdef int outcome, filled
    interrupted[0] = False
    if eager or turning.more or duration <= 0:
        filled = look(engine, turning, eager)
        if filled or duration <= 0:
            return filled
    began = now = clock_ns()
    while (
        eager
        and now < began + min(turning.patience, duration)
        and not engine.sleeper.rung
        and not engine.holding
    ):
        filled = look(engine, turning, eager)
        now = clock_ns()
        if filled:
            learn_patience(turning, now - began)
            return filled
    if not turning_may_rest(engine, turning):
        return 0
    outcome = sleeper_sleep(&engine.sleeper, fd, duration)
    if outcome == -1:
        return -EBADF
    if outcome == SLEEP_INTERRUPTED:
        interrupted[0] = True
        return 0
    filled = look(engine, turning, eager)
    waited = clock_ns() - began
    if filled or waited > turning.patience:     # not if a call of somebody else has woken us
        learn_patience(turning, waited)
    return filled
