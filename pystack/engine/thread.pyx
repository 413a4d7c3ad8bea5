# The thread driver: moves packets between device and core, fires deadlines; without the GIL.
# Called by: pystack.stack, which starts it; it ends with the engine or the device.
# RFCs: none.

from libc.errno cimport EBADF
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset
from pystack.core.stack cimport core_advance, core_deadline, core_enter
from pystack.engine.batch cimport (
    Batch,
    batch_give_back,
    batch_input,
    batch_read,
    batch_refill,
)
from pystack.engine.clock cimport NEVER
from pystack.engine.engine cimport AWAKE, Engine
from pystack.engine.sleeper cimport sleeper_sleep, sleeper_use_fds

import os
import threading

cdef enum:
    # While sockets are in use the driver never sleeps longer than a nap, so that a call whose timer
    # is further away than that (every RTO, most delayed ACKs) need not wake it: waking costs more
    # than the call itself. A stack that is idle sleeps until something happens.
    NAP_NS = 10_000_000
    BUSY_NS = 100_000_000       # after the last call sockets still count as in use


ctypedef struct Driver:
    Batch batch
    uint64_t calls              # of the engine when we last looked
    int64_t busy_until


cdef int64_t sleep_until(Engine engine, Driver* driver, int64_t now) noexcept nogil:
    """When to look again though nobody wakes us."""
    cdef int64_t deadline = core_deadline(engine.core)
    if driver.calls != engine.calls:
        driver.calls = engine.calls
        driver.busy_until = now + BUSY_NS
    if now < driver.busy_until or driver.batch.ready == 0:
        return min(deadline, now + NAP_NS)
    return deadline


cdef int64_t turn(Engine engine, Driver* driver, int filled, bint more) noexcept nogil:
    """Do all that is to be done now, under the lock; return how long to sleep, negative: the end.

    filled: packets that were read, or why the device is gone; more: ask it again at once.
    """
    cdef int64_t now, until
    if engine.lock() < 0:
        return -1
    if filled < 0:
        engine.fail(-filled)
    if engine.failure or engine.stopping:
        batch_give_back(&driver.batch, engine, &engine.core.context.slab)
        engine.unlock()
        return -1
    now = engine.now()
    core_enter(engine.core, now)
    batch_input(&driver.batch, engine, filled, now)
    core_advance(engine.core, now)
    engine.flush()
    batch_refill(&driver.batch, engine)
    until = now if more else sleep_until(engine, driver, now)
    engine.wakes_at = AWAKE if until <= now else until
    engine.unlock()
    return NEVER if until == NEVER else max(until - now, <int64_t>0)


cdef void loop(Engine engine, Driver* driver, int fd) noexcept nogil:
    """Turn the crank until the end: read without the lock, do the rest with it, sleep."""
    cdef int64_t duration = 0
    cdef int filled = 0
    cdef int room
    while duration >= 0:
        room = driver.batch.ready
        if filled >= 0:
            filled = batch_read(&driver.batch, engine)
        duration = turn(engine, driver, filled, filled == room and room > 0)
        filled = 0
        if duration > 0 and sleeper_sleep(&engine.sleeper, fd, duration) < 0:
            filled = -EBADF


def run(Engine engine):
    """What the driver's thread does."""
    cdef Driver driver
    cdef int fd = -1
    memset(&driver, 0, sizeof(driver))
    if engine.device is not None:
        fd = engine.device.poll_fd
    with nogil:
        loop(engine, &driver, fd)
    engine.driver_ended()


def start(Engine engine):
    """Start the driver of an engine, to whose device, if it has one, it is attached."""
    cdef int read_end, write_end
    if engine.device is not None and engine.device.poll_fd >= 0:
        read_end, write_end = wake_fds()
        sleeper_use_fds(&engine.sleeper, read_end, write_end)
    name = "pystack" if engine.device is None else f"pystack {engine.device.name}"
    engine.thread = threading.Thread(target=run, args=(engine,), name=name, daemon=True)
    engine.thread.start()


def wake_fds():
    """The ends by which a driver is woken: an eventfd twice, or a pipe where there is none."""
    if hasattr(os, "eventfd"):
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return fd, fd
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    return read_end, write_end
