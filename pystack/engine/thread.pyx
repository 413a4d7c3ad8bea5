# The thread driver: turns the crank in a thread of its own, without the GIL.
# Called by: pystack.stack, which starts it; it ends with the engine or the device.
# RFCs: none.

from libc.errno cimport EBADF
from libc.stdint cimport int64_t
from libc.string cimport memset
from pystack.engine.batch cimport batch_read, batch_room
from pystack.engine.engine cimport Engine
from pystack.engine.sleeper cimport sleeper_sleep, sleeper_use_fds
from pystack.engine.turn cimport Turning, turn

import os
import threading


cdef void loop(Engine engine, Turning* driver, int fd) noexcept nogil:
    """Turn the crank until the end: read without the lock, do the rest with it, sleep."""
    cdef int64_t duration = 0
    cdef int filled = 0
    cdef int room
    while duration >= 0:
        room = batch_room(&driver.batch)
        if filled >= 0:
            filled = batch_read(&driver.batch, engine)
        duration = turn(engine, driver, filled, filled == room and room > 0)
        filled = 0
        if duration > 0 and sleeper_sleep(&engine.sleeper, fd, duration) < 0:
            filled = -EBADF


def run(Engine engine):
    """What the driver's thread does."""
    cdef Turning driver
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
