# The seat: who reads the device of a stack that has a thread: that thread, or a call that waits.
# Called by: thread, endpoint (calls that wait).
# RFCs: none.

from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t, uint64_t
from pystack.core.stack cimport core_deadline
from pystack.engine.batch cimport batch_room
from pystack.engine.bed cimport Bed, bed_rouse
from pystack.engine.busy_poll cimport wait_for_packets
from pystack.engine.clock cimport NEVER, clock_ns
from pystack.engine.engine cimport AWAKE, Engine
from pystack.engine.errors cimport FORKED, RAISED, TIMED_OUT
from pystack.engine.owner cimport Owner, Waiter, owner_add_waiter, owner_remove_waiter
from pystack.engine.pythread cimport (
    NOWAIT_LOCK,
    PY_LOCK_ACQUIRED,
    PY_LOCK_INTR,
    WAIT_LOCK,
    PyLockStatus,
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_free_lock,
    PyThread_get_thread_ident,
    PyThread_type_lock,
    lock_wait,
)
from pystack.engine.sleeper cimport (
    SLEEP_INTERRUPTED,
    Sleeper,
    sleeper_sleep,
    sleeper_wake,
)
from pystack.engine.turn cimport Turning, turn, turning_ends

cdef enum:
    # How long nobody may sit there: as late as that packets and timers may be met while a program
    # that has just been woken does something else.
    VACANT_NS = 500_000
    # If packets waited meanwhile, calls do not come back soon enough: so long they may not sit.
    ALONE_NS = 100_000_000
    LONGEST_NAP_NS = 3_600_000_000_000
    # A call that turns the crank for others looks so often whether a signal has arrived.
    SITTING_NS = 100_000_000
    # After so many turns that have woken others, but not itself, it leaves the seat to them.
    OTHERS_FIRST = 4
    LEFT_TO_OTHERS = 2

cdef extern from "Python.h":
    int check_signals "PyErr_CheckSignals" ()   # -1: an exception is set, and stays so

# The context of a waiter that sits; that of one that sleeps is a Bed.
ctypedef struct Chair:
    Sleeper* sleeper
    const unsigned long* inside
    unsigned long thread


cdef inline bint is_ending(Engine engine) noexcept nogil:
    return engine.stopping or engine.failure != 0


# The thread.

cdef bint seat_offer(Engine engine, Turning* turning) noexcept nogil:
    """Leave the seat to calls, which one just woken may come back for; False: rather not."""
    cdef int64_t now
    if engine.lock() < 0:
        return False
    now = engine.now()
    if engine.turning == NULL or is_ending(engine) or now < turning.alone_until:
        engine.unlock()
        return False
    turning_ends(engine)
    engine.vacant = True
    engine.naps_until = min(now + VACANT_NS, core_deadline(engine.core))
    engine.wakes_at = engine.naps_until
    engine.unlock()
    return True


cdef bint seat_drive(Engine engine, Turning* turning, int fd) noexcept nogil:
    cdef int64_t duration = 0
    cdef bint interrupted
    cdef int room = batch_room(&turning.batch)
    cdef int filled = wait_for_packets(engine, turning, fd, 0, &interrupted)
    if filled > 0:
        turning.alone_until = clock_ns() + ALONE_NS
    while True:
        duration = turn(engine, turning, filled)
        if duration < 0:
            return False
        if turning.roused and duration > 0 and filled < room and seat_offer(engine, turning):
            return True
        room = batch_room(&turning.batch)
        filled = wait_for_packets(engine, turning, fd, duration, &interrupted)
        if filled == 0 and engine.repaid != NULL:
            with gil:
                engine.give_back()


cdef void seat_await(Engine engine, Turning* turning) noexcept nogil:
    cdef int64_t now = clock_ns()
    cdef int64_t nap = VACANT_NS
    cdef int64_t duration
    cdef uint64_t seen
    engine.lock()
    while True:
        seen = engine.sittings
        now = engine.now()
        engine.naps_until = now + nap
        if engine.vacant:
            engine.naps_until = min(engine.naps_until, core_deadline(engine.core))
            engine.wakes_at = engine.naps_until
        duration = max(engine.naps_until - now, <int64_t>0)
        engine.unlock()
        sleeper_sleep(&engine.nap, -1, duration)
        engine.lock()
        if engine.vacant and (
            engine.sittings == seen
            or is_ending(engine)
            or core_deadline(engine.core) <= engine.now()
        ):
            break
        # A call that sits there for long waits for something rare: that it goes wakes us.
        nap = VACANT_NS if engine.sittings != seen else min(2 * nap, <int64_t>LONGEST_NAP_NS)
    engine.vacant = False
    engine.wakes_at = AWAKE
    engine.unlock()


# Calls.

cdef void wake_sleeper(void* context) noexcept nogil:
    bed_rouse(<Bed*>context)


cdef void wake_sitter(void* context) noexcept nogil:
    """Who has done it itself is awake."""
    cdef Chair* chair = <Chair*>context
    if chair.inside[0] != chair.thread:
        sleeper_wake(chair.sleeper)


cdef int sleep(PyThread_type_lock lock, int64_t until) noexcept nogil:
    """Sleep until a waiter's lock is released: 0; TIMED_OUT; RAISED by the handler of a signal."""
    cdef PyLockStatus status
    cdef int64_t left = NEVER
    cdef int raised = 0
    while True:
        if until != NEVER:
            left = until - clock_ns()
        status = lock_wait(lock, left, True)
        if status == PY_LOCK_ACQUIRED:
            return 0
        if status == PY_LOCK_INTR:
            with gil:
                raised = check_signals()
            if raised:
                return RAISED
        elif left <= 0:
            return TIMED_OUT


cdef int wait_asleep(Engine engine, Owner* owner, Waiter* waiter, int64_t until) noexcept nogil:
    cdef Bed bed
    cdef int code
    bed.roused = &engine.roused
    bed.lock = PyThread_allocate_lock()
    if bed.lock == NULL:
        return -ENOMEM
    PyThread_acquire_lock(bed.lock, NOWAIT_LOCK)
    waiter.wake = wake_sleeper
    waiter.context = &bed
    owner_add_waiter(owner, waiter)
    engine.leave_to_driver(owner)
    code = sleep(bed.lock, until)
    if engine.lock() < 0:
        return FORKED       # in the handler of a signal; the waiter is the parent's
    owner_remove_waiter(owner, waiter)
    if code != 0 and waiter.woken:      # just too late: the lock is about to be released
        PyThread_acquire_lock(bed.lock, WAIT_LOCK)
    PyThread_free_lock(bed.lock)
    return code


cdef int sit(Engine engine, const Waiter* waiter, int64_t until) noexcept nogil:
    """Turn the crank until the waiter is woken: 0; TIMED_OUT; SLEEP_INTERRUPTED; LEFT_TO_OTHERS:
    packets seem to come for them.
    """
    cdef Turning* turning = <Turning*>engine.turning
    cdef int fd = engine.device.poll_fd
    cdef int64_t now = clock_ns()
    cdef int64_t enough = now + SITTING_NS
    cdef int64_t duration = 0
    cdef int others = 0
    cdef int filled
    cdef bint interrupted
    while True:
        filled = wait_for_packets(engine, turning, fd, duration, &interrupted)
        if interrupted:
            return SLEEP_INTERRUPTED
        duration = turn(engine, turning, filled)
        if waiter.woken or duration < 0:
            return 0
        others += turning.roused
        if others == OTHERS_FIRST:
            return LEFT_TO_OTHERS
        now = clock_ns()
        if now >= until:
            return TIMED_OUT
        if now >= enough:
            return SLEEP_INTERRUPTED
        duration = min(duration, until - now)


cdef void stand_up(Engine engine) noexcept nogil:
    """Leave the seat to the next call; the thread looks after it soon, or is told to."""
    turning_ends(engine)
    engine.vacant = True
    engine.sittings += 1
    engine.wakes_at = engine.naps_until
    if is_ending(engine) or engine.naps_until > engine.now() + VACANT_NS:
        sleeper_wake(&engine.nap)


cdef int wait_sitting(Engine engine, Owner* owner, Waiter* waiter, int64_t until) noexcept nogil:
    cdef Chair chair
    cdef int code
    cdef int raised = 0
    chair.sleeper = &engine.sleeper
    chair.inside = &engine.inside
    chair.thread = PyThread_get_thread_ident()
    waiter.wake = wake_sitter
    waiter.context = &chair
    engine.vacant = False
    engine.sittings += 1
    engine.wakes_at = AWAKE
    owner_add_waiter(owner, waiter)
    engine.leave(owner)
    code = sit(engine, waiter, until)
    if engine.lock() < 0:
        return FORKED
    stand_up(engine)
    owner_remove_waiter(owner, waiter)
    if waiter.woken:
        return 0
    if code == LEFT_TO_OTHERS:
        return wait_asleep(engine, owner, waiter, until)
    if code != SLEEP_INTERRUPTED:
        return code
    # The handler of a signal may do anything, also close the stack: neither lock nor seat.
    engine.unlock()
    with gil:
        engine.give_back()
        raised = check_signals()
    if engine.lock() < 0:
        return FORKED
    return RAISED if raised else 0


cdef int seat_wait(Engine engine, Owner* owner, int events, int64_t until) noexcept nogil:
    cdef Waiter waiter
    cdef int code
    waiter.events = events
    if engine.vacant and not is_ending(engine):
        code = wait_sitting(engine, owner, &waiter, until)
    else:
        code = wait_asleep(engine, owner, &waiter, until)
    return 0 if code == TIMED_OUT and waiter.woken else code
