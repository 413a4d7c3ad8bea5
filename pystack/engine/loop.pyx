# The loop driver: turns the crank in the thread of an event loop, which waits for its fds.
# Called by: pystack.aio, pystack.trio.
# RFCs: none.

from libc.stdint cimport int64_t
from libc.string cimport memset
from pystack.engine.batch cimport batch_end, batch_read, batch_room
from pystack.engine.busy_poll cimport learn_patience
from pystack.engine.clock cimport NEVER, clock_ns
from pystack.engine.engine cimport Engine
from pystack.engine.sleeper cimport Sleeper, sleeper_sleep, sleeper_use_fds, sleeper_wake
from pystack.engine.turn cimport Turning, turn
from pystack.engine.watch cimport Watcher

from pystack.engine.thread import wake_fds


cdef enum:
    TICK_NS = 1_000_000     # as epoll: to wake a little early would mean to look in vain, and again


cdef void ring_driver(void* sleeper) noexcept nogil:
    sleeper_wake(<Sleeper*>sleeper)


cdef class LoopDriver:
    """Turns a stack whenever its event loop is told to: by an fd, or because it is time."""

    cdef Engine engine
    cdef object closing             # of the engine: the device must not go while it is read
    cdef Watcher watcher
    cdef Turning turning
    cdef int filled                 # how many packets the last turn has read
    cdef readonly int wake_fd       # readable: turn; -1 where there is no such thing
    cdef readonly int device_fd     # the same; -1: the device has none

    def __init__(self, Engine engine, Watcher watcher, bint with_fd):
        """watcher: of the loop, which takes after each turn. with_fd: the loop can wait for fds."""
        self.engine = engine
        self.closing = engine.closing
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
        cdef int64_t delay = self.crank()
        return None if delay == NEVER else delay

    cdef int64_t crank(self) except? -1:
        cdef int64_t delay = -1
        cdef int room
        self.filled = 0
        self.watcher.turns += 1
        self.closing.acquire()
        try:
            if self.engine.core == NULL:
                return -1
            # The first time there is no room yet: what rings has to ring again.
            if self.engine.sleeper.rung and self.turning.batch.ready:
                sleeper_sleep(&self.engine.sleeper, -1, 0)
            with nogil:
                self.watcher.attend()
                room = batch_room(&self.turning.batch)
                self.filled = batch_read(&self.turning.batch, self.engine, room)
                delay = turn(self.engine, &self.turning, self.filled)
            if self.filled == room and room > 0 and self.device_fd < 0:
                delay = min(delay, 0)       # a device with an fd is readable again at once
        finally:
            self.closing.release()
        self.engine.give_back()
        return delay

    def end(self):
        """Turn no more; give back what is held of the stack."""
        batch_end(&self.turning.batch, self.engine)
        self.engine.log_gone()


cdef class LoopCrank(LoopDriver):
    """A driver that is itself what the loop calls: Python runs only where it is concerned.

    To be called by the loop's thread only.
    """

    cdef object call_soon, come_back, ended, complain
    cdef object soon            # handle of the call of `soon_called` that is due; None
    cdef bint again             # it is to turn in any case
    cdef int64_t due            # when the loop's timer calls, of clock_ns()
    cdef int64_t longest
    cdef bint eager             # the device may be asked though its fd is not readable
    cdef object looking         # handle of the call of `look` that is due; None
    cdef bint waits             # for packets: all callbacks have run since the last ones
    cdef int64_t waiting_since

    def __init__(
        self, Engine engine, Watcher watcher, bint with_fd, int64_t longest, call_soon, come_back,
        ended, complain,
    ):
        """longest: ns between two turns, at most; negative: no matter.

        call_soon: the loop's. come_back(ns): have `timed` called then, and not when that was asked
        for before. ended(): the stack is closed, or its device is gone. complain(exception): a
        callback has raised it.
        """
        LoopDriver.__init__(self, engine, watcher, with_fd)
        self.longest = NEVER if longest < 0 else longest
        self.eager = self.device_fd >= 0 and engine.device.without_gil
        self.due = NEVER
        self.call_soon = call_soon
        self.come_back = come_back
        self.ended = ended
        self.complain = complain
        watcher.settle = self.settle

    def step(self):
        """Let the stack do what is to be done, then tell whom it concerns, and when to come back.

        The driver's fds say when to turn before; so does a call that makes something due earlier.
        """
        cdef bint came
        cdef int64_t delay
        self.again = False
        delay = self.crank()
        if delay < 0:
            self.ended()
        else:
            self.plan(min(delay, self.longest))
        came = self.filled > 0 and self.eager
        if came:
            learn_patience(&self.turning, clock_ns() - self.waiting_since)
        self.watcher.deliver(self.complain)
        if came:
            self.waits = False
            self.waiting_since = clock_ns()
            self.look_soon()

    cdef int look_soon(self) except -1:
        """While packets come every few microseconds, the loop need not sleep between them."""
        if self.turning.patience and self.looking is None:
            self.looking = self.call_soon(self.look)
        return 0

    def look(self):
        """The callbacks that were due have run: from now on it waits."""
        self.looking = None
        if not self.waits:
            self.waits = True
            self.waiting_since = clock_ns()
        self.step()
        if self.filled == 0 and clock_ns() < self.waiting_since + self.turning.patience:
            self.look_soon()

    cdef int plan(self, int64_t delay) except -1:
        """Come back then at the latest. A timer that is earlier stays: packets do not touch it."""
        cdef int64_t until
        if delay == 0:
            self.again = True
            self.settle()
        elif delay != NEVER:
            delay = max(delay, <int64_t>TICK_NS)
            until = clock_ns() + delay
            if until < self.due:
                self.due = until
                self.come_back(delay)
        return 0

    def timed(self):
        """The loop's timer."""
        self.due = NEVER
        self.step()

    def settle(self):
        """Turn after the callbacks that are due now, if something then still waits to be sent."""
        if self.soon is None and self.looking is None:
            self.soon = self.call_soon(self.soon_called)

    def soon_called(self):
        self.soon = None
        if self.again or self.engine.holding:
            self.step()

    def end(self):
        """Turn no more; give back what is held of the stack."""
        for handle in (self.soon, self.looking):
            if handle is not None:
                handle.cancel()
        self.soon = self.looking = None
        self.watcher.settle = None
        LoopDriver.end(self)
