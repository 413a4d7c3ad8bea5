# The thread driver: turns the crank in a thread of its own, without the GIL.
# Called by: pystack.stack, which starts it; it ends with the engine or the device.
# RFCs: none.

from libc.string cimport memset
from pystack.engine.engine cimport Engine
from pystack.engine.seat cimport seat_await, seat_drive
from pystack.engine.sleeper cimport sleeper_use_fds
from pystack.engine.turn cimport Turning

import os
import threading


def run(Engine engine):
    """What the driver's thread does."""
    cdef Turning driver
    cdef int fd = -1
    memset(&driver, 0, sizeof(driver))
    # With one CPU, it may be awake and yet not run before a call's thread has used up its time.
    driver.stays = cpus() > 1
    if engine.device is not None:
        fd = engine.device.poll_fd
        if engine.device.without_gil:
            engine.turning = &driver
    with nogil:
        while seat_drive(engine, &driver, fd):
            seat_await(engine, &driver)
    engine.turning = NULL
    engine.driver_ended()


def cpus():
    """How many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
