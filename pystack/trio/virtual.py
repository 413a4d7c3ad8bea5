"""VirtualClock: trio in the virtual time of a network.

Called by: testing, whose VirtualNetwork makes it; attachment.
RFCs: none.

For its network a run of trio is one more function that waits: where trio would sleep until its next
deadline, the others run, and time jumps. So programs and packets share one order, which follows
from the seed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from math import ceil, inf
from typing import Any, Protocol, TypeVar

import trio
import trio.testing
from trio._core import _run as run_loop  # its chance, and who waits for idleness: no public name

from pystack.engine.watch import Watcher
from pystack.engine.world import World

SECOND = 1_000_000_000

T = TypeVar("T")


class Network(Protocol):
    """What the clock knows of a VirtualNetwork."""

    seed: int
    _world: World

    @property
    def hosts(self) -> Mapping[str, Any]: ...


def in_ns(deadline: float) -> int | None:
    """The first nanosecond at which a deadline is over; None: there is none."""
    if deadline == inf:
        return None
    when = ceil(deadline * SECOND)
    while when / SECOND < deadline:  # what floats have lost
        when += 1
    return when


class VirtualClock(trio.abc.Clock):
    """Of a run in a function of the network, or in the thread that made the network."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.world = net._world
        self.watcher = Watcher()
        self.scope: trio.CancelScope | None = None  # is cancelled if time cannot go on
        self.problem: BaseException | None = None  # why it cannot

    def start_clock(self) -> None:
        """Be who waits; and let trio's dice, which decide who runs first, fall as the seed says."""
        self.watcher.call_task(self.world.running)
        run_loop._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
        run_loop._r.seed(self.net.seed)

    def current_time(self) -> float:
        return self.world.time_ns / SECOND

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Called where trio would sleep: let others run, and time pass, until there is work.

        Threads that work for tasks, and whoever waits for all tasks to be blocked, have real time.
        """
        runner = run_loop.GLOBAL_RUN_CONTEXT.runner
        if runner.waiting_for_idle or trio.testing.active_thread_count():
            return 0 if deadline <= self.current_time() else inf
        if runner.entry_queue.size():  # of run_sync_soon
            return 0
        try:
            self.world.wait(in_ns(deadline))
        except BaseException as problem:
            if self.scope is None or self.problem is not None:
                raise
            self.problem = problem
            self.scope.cancel()
        for watch in self.watcher.take():
            watch.deliver()
        return 0


def run(net: Network, main: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """As trio.run, in the time of a network; what ends that time is raised here."""
    clock = VirtualClock(net)

    async def begin() -> T:
        with trio.CancelScope() as clock.scope:
            return await main(*arguments)
        assert clock.problem is not None
        raise clock.problem

    result: T = trio.run(begin, clock=clock)
    return result
