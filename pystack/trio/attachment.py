"""Attachment: a stack at a run of trio: how it is turned there, and how tasks wait for its sockets.

Called by: the rest of pystack.trio.
RFCs: none.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import copy_context
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from pystack.engine.endpoint import Handle
from pystack.engine.loop import LoopDriver
from pystack.engine.thread import wake_fds
from pystack.engine.watch import Watch, Watcher
from pystack.trio.virtual import VirtualClock

if TYPE_CHECKING:
    from pystack.stack import Stack

SECONDS = 1e9


class Run:
    """What a stack knows a run of trio by."""

    def __init__(self) -> None:
        self.closed = False

    def is_closed(self) -> bool:
        return self.closed


current_run: Any = trio.lowlevel.RunVar("pystack")


class Attachment:
    """A stack as one run sees it: to be used by the thread of that run only."""

    def __init__(self, stack: Stack, run: Run) -> None:
        self.run = run
        self.watcher = self.watcher_of(stack)
        self.ended = False
        self.scopes: set[Any] = set()
        self.token = trio.lowlevel.current_trio_token()

    def watcher_of(self, stack: Stack) -> Watcher:
        return Watcher()

    def deliver(self) -> None:
        """Wake the tasks whose sockets are ready."""
        for watch in self.watcher.take():
            watch.deliver()

    async def ready(self, handle: Handle, events: int, closing: set[trio.Event]) -> None:
        """Wait for one of the events, or until whoever closes the socket says so."""
        event = trio.Event()
        watch = Watch(self.watcher, handle, lambda _: event.set(), copy_context())
        watch.arm(events)
        closing.add(event)
        try:
            await event.wait()
        finally:
            closing.discard(event)
            watch.forget()

    async def wait_for(self, fd: int) -> None:
        """A task of the run's own: when the descriptor is readable, there is something to do."""
        with trio.CancelScope() as scope:
            self.scopes.add(scope)
            try:
                while not self.ended:
                    await trio.lowlevel.wait_readable(fd)
                    self.turn()
            finally:
                if not self.ended:  # it is the run that ends
                    self.run.closed = True
                    self.end()

    def turn(self) -> None:
        self.deliver()

    def close(self) -> None:
        """The stack is about to be closed: leave the run, but tell its sockets first."""
        if self.ended:
            return
        try:
            here = trio.lowlevel.current_trio_token() is self.token
        except RuntimeError:
            here = False
        if here:
            self.token.run_sync_soon(self.deliver)
            self.end()
        else:
            with suppress(trio.RunFinishedError):
                self.token.run_sync_soon(self.end)
                self.token.run_sync_soon(self.deliver)

    def end(self) -> None:
        """Leave the run."""
        self.ended = True
        for scope in self.scopes:
            scope.cancel()


class Threaded(Attachment):
    """Of a stack that a thread turns: the run is woken once for all that has become ready."""

    def __init__(self, stack: Stack, run: Run) -> None:
        super().__init__(stack, run)
        self.fd, write_end = wake_fds()
        self.watcher.use_fds(self.fd, write_end)
        trio.lowlevel.spawn_system_task(self.wait_for, self.fd, name="pystack")


class Virtual(Attachment):
    """Of a host of a virtual network: time turns it, for which the run's clock waits."""

    def __init__(self, stack: Stack, run: Run) -> None:
        super().__init__(stack, run)
        trio.lowlevel.spawn_system_task(self.stay, name="pystack")

    def watcher_of(self, stack: Stack) -> Watcher:
        clock = trio.lowlevel.current_clock()
        if not isinstance(clock, VirtualClock) or stack not in clock.net.hosts.values():
            raise RuntimeError(
                f"pystack: {stack!r} lives in the time of its network: use net.run_trio(main), or "
                "trio.run(main, clock=net.trio_clock())"
            )
        return clock.watcher

    async def stay(self) -> None:
        """A task of the run's own, to see it end."""
        try:
            await trio.sleep_forever()
        finally:
            self.run.closed = True


class Driven(Attachment):
    """Of a stack that trio itself turns: no other thread, one wake-up for a batch."""

    def __init__(self, stack: Stack, run: Run) -> None:
        super().__init__(stack, run)
        self.driver = LoopDriver(stack.engine, self.watcher, True)
        self.timer = trio.CancelScope()
        for fd in (self.driver.wake_fd, self.driver.device_fd):
            if fd >= 0:
                trio.lowlevel.spawn_system_task(self.wait_for, fd, name="pystack")
        trio.lowlevel.spawn_system_task(self.keep_time, name="pystack")

    async def keep_time(self) -> None:
        """Turn the stack when its next deadline has come; turning it says when that is."""
        self.scopes.add(self.timer)
        while not self.ended:
            self.turn()
            with self.timer:
                await trio.sleep_forever()
            self.scopes.discard(self.timer)
            self.timer = trio.CancelScope()
            self.scopes.add(self.timer)

    def turn(self) -> None:
        """Let the stack do what is to be done, and note when to come back."""
        if self.ended:
            return
        delay = self.driver.turn()
        if delay is not None and delay < 0:
            self.end()
        else:
            seconds = inf if delay is None else delay / SECONDS
            self.timer.deadline = trio.current_time() + seconds
        self.deliver()

    def end(self) -> None:
        if not self.ended:
            super().end()
            self.driver.end()


KINDS: dict[str, type[Attachment]] = {"thread": Threaded, "caller": Driven, "virtual": Virtual}


def attach(stack: Stack) -> Attachment:
    """The stack's attachment to the run that there is; made when first asked for."""
    run = current_run.get(None)
    if run is None:
        run = Run()
        current_run.set(run)
    found: Attachment = stack.attachment(run, lambda: KINDS[stack.driver](stack, run))
    return found
