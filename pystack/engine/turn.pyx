# Turn: what a driver does each time: packets in, what is due, packets out; then how long to sleep.
# Called by: seat (of a thread), loop.
# RFCs: none.

from libc.stdint cimport int64_t, uint64_t
from pystack.core.stack cimport core_advance, core_deadline, core_enter
from pystack.engine.batch cimport batch_give_back, batch_input, batch_refill
from pystack.engine.clock cimport NEVER
from pystack.engine.engine cimport AWAKE, Engine

cdef enum:
    # While sockets are in use the driver never sleeps longer than a nap, so that a call whose timer
    # is further away than that (every RTO, most delayed ACKs) need not wake it: waking costs more
    # than the call itself. A stack that is idle sleeps until something happens. Nor does it with
    # bytes to give back, for which who drives needs the GIL: better when there are no packets.
    NAP_NS = 10_000_000
    BUSY_NS = 100_000_000       # after the last call sockets still count as in use


cdef int64_t sleep_until(Engine engine, Turning* turning, int64_t now) noexcept nogil:
    """When to look again though nobody wakes us."""
    cdef int64_t deadline = core_deadline(engine.core)
    if turning.calls != engine.calls:
        turning.calls = engine.calls
        turning.busy_until = now + BUSY_NS
    if now < turning.busy_until or turning.batch.ready == 0 or engine.repaid != NULL:
        return min(deadline, now + NAP_NS)
    return deadline


cdef int64_t turn(Engine engine, Turning* turning, int filled) noexcept nogil:
    """Do all that is to be done now, under the lock; return how long to sleep, negative: the end.

    filled: packets that were read, or why the device is gone.
    """
    cdef int64_t now, until
    cdef uint64_t roused
    if engine.lock() < 0:
        return -1
    roused = engine.roused.count
    if filled < 0:
        engine.fail(-filled)
    if engine.failure or engine.stopping:
        batch_give_back(&turning.batch, engine, &engine.core.context.slab)
        engine.unlock()
        return -1
    now = engine.now()
    core_enter(engine.core, now)
    batch_input(&turning.batch, engine, filled, now)
    core_advance(engine.core, now)
    engine.flush()
    batch_refill(&turning.batch, engine)
    until = sleep_until(engine, turning, now)
    engine.wakes_at = AWAKE if until <= now else until
    turning.roused = engine.roused.count != roused
    engine.driven = turning.stays
    engine.unlock()
    return NEVER if until == NEVER else max(until - now, <int64_t>0)


cdef bint turning_may_rest(Engine engine, const Turning* turning) noexcept nogil:
    cdef bint may
    if not turning.stays or engine.lock() < 0:
        return True
    may = not engine.holding
    engine.driven = not may
    engine.unlock()
    return may


cdef void turning_ends(Engine engine) noexcept nogil:
    engine.driven = False
    if engine.holding and not engine.failure:
        core_enter(engine.core, engine.now())
        engine.flush()
