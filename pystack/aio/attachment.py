"""Attachment: a stack at an event loop: how the loop turns it, and hears of its sockets.

Called by: the rest of pystack.aio.
RFCs: none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any
from weakref import ref

from pystack.engine.endpoint import Handle
from pystack.engine.loop import LoopCrank
from pystack.engine.stream import Stream
from pystack.engine.tcp import TcpHandle
from pystack.engine.thread import wake_fds
from pystack.engine.watch import Watch, Watcher

if TYPE_CHECKING:
    from pystack.stack import Stack

Loop = asyncio.AbstractEventLoop

SECONDS = 1e9
POLL_NS = 5_000_000  # of loops that cannot wait for an fd


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

    def stream(self, handle: TcpHandle, callback: Callable[[int], object]) -> Stream:
        """The same of a connection, which may hand over text by itself."""
        return Stream(self.watcher, handle, callback, copy_context())

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
        self.watcher.deliver(self.complain)

    def complain(self, problem: BaseException) -> None:
        """Tell the loop of an exception of a callback."""
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
        self.fds: list[int] = []
        with_fd = can_wait_for_fds(loop)
        longest = -1 if with_fd else POLL_NS
        self.driver = LoopCrank(
            stack.engine, self.watcher, with_fd, longest,
            loop.call_soon, self.come_back, self.end, self.complain,
        )  # fmt: skip
        for fd in (self.driver.wake_fd, self.driver.device_fd):
            if fd >= 0:
                loop.add_reader(fd, self.driver.step)
                self.fds.append(fd)
        self.driver.step()

    def come_back(self, delay: int) -> None:
        """Turn the stack in so many ns, not when that was asked for before."""
        self.stop_timer()
        self.timer = self.loop.call_at(self.loop.time() + delay / SECONDS, self.driver.timed)

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

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
