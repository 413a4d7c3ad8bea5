"""VirtualLoop: an event loop in the virtual time of a network, with the network's hosts installed.

Called by: testing, whose VirtualNetwork makes it.
RFCs: none.

For its network the loop is one more function that waits: where asyncio would sleep in its
selector, the others run, and time jumps. So programs and packets share one order, which follows
from the seed.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from pystack.aio.attachment import Attachment, Loop
from pystack.aio.install import ATTRIBUTE, Answer, Installation
from pystack.engine.watch import Watcher
from pystack.engine.world import World
from pystack.owned import Owned, address_of
from pystack.stack import Stack

SECOND = 1_000_000_000

current: ContextVar[Stack | None] = ContextVar("current", default=None)


class Network(Protocol):
    """What the loop knows of a VirtualNetwork."""

    _world: World

    @property
    def hosts(self) -> Mapping[str, Any]: ...


@contextmanager
def on(host: Stack) -> Iterator[None]:
    """Let what runs in the block, and tasks that it makes, live on a host of the network."""
    token = current.set(host)
    try:
        yield
    finally:
        current.reset(token)


class VirtualSelector(selectors.DefaultSelector):
    """Waits in virtual time; for threads outside of the network in real time, while that stands."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        loop = self.loop
        if loop.outside and timeout != 0:
            return super().select(None)
        loop.world.wait(loop.next_ns(timeout))
        loop.deliver()
        if loop.called or len(self.get_map()) > 1:
            loop.called = False
            return super().select(0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs in a function of the network, or in the thread that made the network."""

    def __init__(self, net: Network, host: Stack | None = None) -> None:
        """host: where programs live that do not say another one (see `on`)."""
        self.called = False  # by another thread
        self.outside = 0  # calls that are in other threads now
        selector = VirtualSelector()
        selector.loop = self
        self.net = net
        self.world = net._world
        self.host = host
        self.watcher = Watcher()
        super().__init__(selector)
        self._clock_resolution = 1 / SECOND
        setattr(self, ATTRIBUTE, VirtualInstallation(self))

    def time(self) -> float:
        return self.world.time_ns / SECOND

    def next_ns(self, timeout: float | None) -> int | None:
        """When to come back at the latest: the timer's own time, without what floats lose."""
        if timeout is None:
            return None
        scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined]
        if timeout > 0 and scheduled:
            when: float = scheduled[0].when()
            return round(when * SECOND)
        return self.world.time_ns

    def run_forever(self) -> None:
        self.watcher.call_task(self.world.running)
        super().run_forever()

    def deliver(self) -> None:
        """Call back whose sockets have become ready."""
        self.watcher.deliver(self.complain)

    def complain(self, problem: BaseException) -> None:
        """Tell of an exception of a callback."""
        self.call_exception_handler(
            {"message": "pystack: exception in a callback", "exception": problem}
        )

    def pystack_attachment(self, stack: Stack, loop: Loop) -> Attachment:
        """How a host is attached: it is turned by the network."""
        if stack not in self.net.hosts.values():
            raise RuntimeError(f"pystack: {stack!r} is not a host of this loop's network")
        return Attachment(stack, loop, self.watcher)

    # Other threads, in whose time nothing happens here.

    def _write_to_self(self) -> None:
        self.called = True
        super()._write_to_self()  # type: ignore[misc]

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future = super().run_in_executor(executor, func, *args)
        self.outside += 1
        future.add_done_callback(self._came_back)
        return future

    def _came_back(self, _: object) -> None:
        self.outside -= 1

    async def shutdown_default_executor(self, *arguments: Any) -> None:
        self.outside += 1
        try:
            await super().shutdown_default_executor(*arguments)
        finally:
            self.outside -= 1


class Hosts(Owned):
    """Every address of every host of a network, as they are now."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net = net

    def stack(self, host: Any) -> Stack | None:
        address = address_of(host)
        if address is None:
            return None
        for one in self.net.hosts.values():
            for network in one.networks:
                if address.version == network.version and address in network:
                    found: Stack = one
                    return found
        return None


class VirtualInstallation(Installation):
    """Connections go out from the current host; names are those of hosts."""

    loop: VirtualLoop

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(loop)
        self.owned = Hosts(loop.net)

    def here(self) -> Stack:
        """The host that programs live on now."""
        host = current.get() or self.loop.host
        if host is None:
            raise RuntimeError(
                "pystack: on which host is this? `with aio.on(host):`, or give the loop one"
            )
        return host

    def source(self, local: Answer | None) -> Stack | None:
        return self.owner(local) or self.here()

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, flags: int = 0, **options: Any
    ) -> Any:
        """Numbers, and names of hosts; nobody outside is asked."""
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        known = self.names.get(name)
        addresses = [known] if known is not None else [name]
        if known is None and name in self.loop.net.hosts and address_of(name) is None:
            addresses = self.loop.net.hosts[name].addresses
        found: list[Any] = []
        for address in addresses:
            if address is not None and family == socket.AF_INET and ":" in address:
                continue
            found += socket.getaddrinfo(
                address, port, family=family, flags=flags | socket.AI_NUMERICHOST, **options
            )
        return found
