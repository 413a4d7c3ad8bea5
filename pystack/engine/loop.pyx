# The loop driver: turns the crank in the thread of an event loop, which waits for its fds.
# Called by: pystack.aio.
# RFCs: none.

from libc.stdint cimport int64_t
from libc.string cimport memset
from pystack.engine.batch cimport batch_end, batch_read, batch_room
from pystack.engine.clock cimport NEVER
from pystack.engine.engine cimport Engine
from pystack.engine.sleeper cimport Sleeper, sleeper_sleep, sleeper_use_fds, sleeper_wake
from pystack.engine.turn cimport Turning, turn
from pystack.engine.watch cimport Watcher

from pystack.engine.thread import wake_fds


cdef void ring_driver(void* sleeper) noexcept nogil:
    sleeper_wake(<Sleeper*>sleeper)


cdef class LoopDriver:
    """Turns a stack whenever its event loop is told to: by an fd, or because it is time."""

    cdef Engine engine
    cdef Watcher watcher
    cdef Turning turning
    cdef readonly int wake_fd       # readable: turn; -1 where there is no such thing
    cdef readonly int device_fd     # the same; -1: the device has none

    def __init__(self, Engine engine, Watcher watcher, bint with_fd):
        """watcher: of the loop, which takes after each turn. with_fd: the loop can wait for fds."""
        self.engine = engine
        self.watcher = watcher
        self.wake_fd = self.device_fd = -1
        memset(&self.turning, 0, sizeof(self.turning))
        if with_fd:
            read_end, write_end = wake_fds()
            sleeper_use_fds(&engine.sleeper, read_end, write_end)
            self.wake_fd = read_end
            if engine.device is not None:
                self.device_fd = engine.device.poll_fd
        watcher.ring_with(ring_driver, &engine.sleeper)

    def __dealloc__(self):
        if self.turning.batch.ready:
            batch_end(&self.turning.batch, self.engine)

    def turn(self):
        """Do what is to be done; ns until the next turn, None: when the fds say so.

        Negative: the stack is closed, or its device is gone.
        """
        cdef int64_t delay = -1
        cdef int room, filled
        cdef bint more
        with self.engine.closing:       # the device must not go while it is read
            if self.engine.core == NULL:
                return -1
            # The first time there is no room yet: what rings has to ring again.
            if self.engine.sleeper.rung and self.turning.batch.ready:
                sleeper_sleep(&self.engine.sleeper, -1, 0)
            with nogil:
                self.watcher.attend()
                room = batch_room(&self.turning.batch)
                filled = batch_read(&self.turning.batch, self.engine)
                # A device with an fd that has more is readable again at once.
                more = filled == room and room > 0 and self.device_fd < 0
                delay = turn(self.engine, &self.turning, filled, more)
        return None if delay == NEVER else delay

    def end(self):
        """Turn no more; give back what is held of the stack."""
        batch_end(&self.turning.batch, self.engine)
        self.engine.log_gone()
