"""Attachment: a stack at an event loop: how the loop turns it, and hears of its sockets.

Called by: the rest of pystack.aio.
RFCs: none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from math import inf
from typing import TYPE_CHECKING, Any
from weakref import ref

from pystack.engine.endpoint import Handle
from pystack.engine.loop import LoopDriver
from pystack.engine.thread import wake_fds
from pystack.engine.watch import Watch, Watcher

if TYPE_CHECKING:
    from pystack.stack import Stack

Loop = asyncio.AbstractEventLoop

SECONDS = 1e9
TICK = 0.001  # as epoll: to wake a little early would mean to look in vain, and again at once
POLL = 0.005  # of loops that cannot wait for an fd


def set_done(future: asyncio.Future[None]) -> None:
    """What a future that somebody waits for is told, if nobody has given up."""
    if not future.done():
        future.set_result(None)


class Attachment:
    """A stack as one event loop sees it. To be used by the loop's thread only."""

    def __init__(self, stack: Stack, loop: Loop, watcher: Watcher) -> None:
        self._stack = ref(stack)  # which the loop is not to keep alive
        self.engine = stack.engine
        self.loop = loop
        self.watcher = watcher

    @property
    def stack(self) -> Stack:
        found = self._stack()
        if found is None:
            raise RuntimeError("pystack: the stack is gone")
        return found

    def watch(self, handle: Handle, callback: Callable[[int], object]) -> Watch:
        """A watch of a socket; its callback runs in the context that is current now."""
        return Watch(self.watcher, handle, callback, copy_context())

    async def ready(self, handle: Handle, events: int) -> None:
        """Wait for one of the events."""
        future: asyncio.Future[None] = self.loop.create_future()
        watch = self.watch(handle, lambda _: set_done(future))
        watch.arm(events)
        try:
            await future
        finally:
            watch.forget()

    def deliver(self) -> None:
        """Call back whom it concerns. An exception is the loop's, and of one callback only."""
        for watch in self.watcher.take():
            try:
                watch.deliver()
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as problem:
                self.loop.call_exception_handler(
                    {"message": "pystack: exception in a callback", "exception": problem}
                )

    def close(self) -> None:
        """The stack is about to be closed: leave the loop, but tell its sockets first."""
        with suppress(RuntimeError):  # the loop was closed before
            if self.in_loop():
                self.end()
                self.loop.call_soon(self.deliver)
            else:
                self.loop.call_soon_threadsafe(self.end)
                self.loop.call_soon_threadsafe(self.deliver)

    def in_loop(self) -> bool:
        """Whether this is the loop's thread, or it does not run."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return not self.loop.is_running()

    def end(self) -> None:
        """Leave the loop."""


class Threaded(Attachment):
    """Of a stack that a thread turns: the loop is woken once for all that has become ready."""

    def __init__(self, stack: Stack, loop: Loop) -> None:
        super().__init__(stack, loop, Watcher())
        self.fd, write_end = wake_fds()
        self.watcher.use_fds(self.fd, write_end)
        loop.add_reader(self.fd, self.deliver)

    def end(self) -> None:
        if not self.loop.is_closed():
            self.loop.remove_reader(self.fd)


class Driven(Attachment):
    """Of a stack that the loop itself turns: no other thread, one wake-up for a batch."""

    def __init__(self, stack: Stack, loop: Loop) -> None:
        super().__init__(stack, loop, Watcher())
        self.timer: asyncio.Handle | None = None
        self.due = inf  # when the timer fires, in the loop's time
        self.fds: list[int] = []
        with_fd = can_wait_for_fds(loop)
        self.longest = inf if with_fd else POLL
        self.driver = LoopDriver(stack.engine, self.watcher, with_fd)
        for fd in (self.driver.wake_fd, self.driver.device_fd):
            if fd >= 0:
                loop.add_reader(fd, self.turn)
                self.fds.append(fd)
        self.turn()

    def turn(self) -> None:
        """Let the stack do what is to be done, then tell whom it concerns, and when to come back.

        The driver's fds say when to turn before; so does a call that makes something due earlier.
        """
        delay = self.driver.turn()
        if delay is not None and delay < 0:
            self.end()
        elif delay == 0:
            self.turn_at(-inf)
        else:
            seconds = min(inf if delay is None else max(delay / SECONDS, TICK), self.longest)
            if seconds < inf:
                self.turn_at(self.loop.time() + seconds)
        self.deliver()

    def turn_at(self, when: float) -> None:
        """Turn then at the latest. A timer that is earlier stays: packets do not touch it."""
        if when >= self.due:
            return
        self.stop_timer()
        self.due = when
        if when == -inf:
            self.timer = self.loop.call_soon(self.timed)
        else:
            self.timer = self.loop.call_at(when, self.timed)

    def timed(self) -> None:
        self.timer, self.due = None, inf
        self.turn()

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer, self.due = None, inf

    def end(self) -> None:
        self.stop_timer()
        if not self.loop.is_closed():
            for fd in self.fds:
                self.loop.remove_reader(fd)
        self.fds.clear()
        self.driver.end()


def can_wait_for_fds(loop: Loop) -> bool:
    """Whether it has add_reader; Windows' ProactorEventLoop has not."""
    return type(loop).add_reader is not asyncio.AbstractEventLoop.add_reader


def attach(stack: Stack, loop: Loop | None = None) -> Attachment:
    """The stack's attachment to a loop, the running one by default; made when first asked for."""
    if loop is None:
        loop = asyncio.get_running_loop()
    found: Attachment = stack.attachment(loop, lambda: kind_of(stack, loop)(stack, loop))
    return found


def kind_of(stack: Stack, loop: Any) -> Callable[[Stack, Loop], Attachment]:
    """What attaches a stack to a loop; a loop in virtual time has its own way."""
    own = getattr(loop, "pystack_attachment", None)
    if own is not None:
        return own  # type: ignore[no-any-return]
    if stack.driver == "thread":
        return Threaded
    if stack.driver == "virtual":
        raise RuntimeError(
            "pystack: a host of a virtual network needs an event loop in its virtual time: "
            "VirtualNetwork.new_event_loop()"
        )
    return Driven
