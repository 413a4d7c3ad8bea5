"""VirtualNetwork: hosts, routers and links in virtual time; the same seed gives the same packets.

Called by: tests of applications, the command line, tools.
RFCs: none.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from pystack.device.pcap import BinaryFile, PcapWriter
from pystack.engine.virtual import VirtualDriver
from pystack.engine.world import Call, Task, World
from pystack.link.node import Interface, Node
from pystack.link.quality import DEFAULTS, Quality, apply, check_names
from pystack.link.units import Quantity, duration_ns
from pystack.link.way import Ether, Way
from pystack.stack import DEFAULT_MTU, Network, Stack, parse_network, prefix_of, seed_words
from pystack.testing.routes import Neighbour, routes_from

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from pystack.aio.virtual import VirtualLoop
    from pystack.trio.virtual import VirtualClock

SECOND = 1_000_000_000
DAY = 86_400

PathOrFile = str | os.PathLike[str] | BinaryFile
T = TypeVar("T")
H = TypeVar("H", bound="Host")


class Host(Stack):
    """A host of a virtual network: a Stack, whose sockets wait in virtual time."""

    def __init__(
        self,
        net: VirtualNetwork,
        name: str,
        networks: Iterable[str],
        mtu: int | None,
        **options: Any,
    ) -> None:
        """By VirtualNetwork.host and router only."""
        driver = VirtualDriver(net._world)
        self.net = net
        self.name = name
        self.mtu_is_given = mtu is not None
        self.node = Node(net._ether, driver, isinstance(self, Router))
        interface = Interface(self.node, name, DEFAULT_MTU if mtu is None else mtu)
        try:
            super().__init__(*networks, device=interface, driver=driver, **options)
        except BaseException:
            driver.end()
            raise
        self.mtu = interface.mtu
        self.links: list[Link] = []
        self.given_routes: list[tuple[Network, Link]] = []

    @property
    def address(self) -> str:
        """Its first address."""
        network = self.networks[0]
        return str(network[0] if network.num_addresses <= 2 else network[1])

    @property
    def addresses(self) -> list[str]:
        """One of each of its networks."""
        return [str(one[0] if one.num_addresses <= 2 else one[1]) for one in self.networks]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}{' closed' if self.closed else ''}>"

    def route(self, prefix: str, link: Link) -> None:
        """Send what is for a prefix by this link, whatever the shortest way is."""
        if link not in self.links:
            raise ValueError(f"{self.name} is not at {link}")
        self.given_routes.append((parse_network(prefix), link))
        self.net._route()

    def pcap(self, path_or_file: PathOrFile) -> PcapWriter:
        """Capture what it sends and receives, as on its own interface, until the network ends."""
        writer = self.net._writer(path_or_file, self.name)
        self.capture(NamedWriter(writer, self.name))
        return writer


class Router(Host):
    """A host that forwards packets (RFC 1812 section 5)."""

    @property
    def ingress_filter(self) -> bool:
        """Whether hosts at its links can send from addresses only that are theirs (RFC 2827)."""
        return self.node.filters

    @ingress_filter.setter
    def ingress_filter(self, on: bool) -> None:
        self.node.filters = on

    @property
    def forwarding(self) -> dict[str, int]:
        """What became of packets for others, by name."""
        node = self.node
        return {
            "forwarded": node.forwarded,
            "fragmented": node.fragmented,
            "expired": node.expired,
            "martians": node.martians,
            "no_route": node.no_route,
            "too_long": node.too_long,
            "bad_headers": node.bad_headers,
        }


class NamedWriter:
    """A capture's writer that says of each packet which interface saw it."""

    def __init__(self, writer: PcapWriter, name: str) -> None:
        self.writer = writer
        self.name = name

    def write(self, packet: bytes, time_ns: int, outbound: bool) -> None:
        self.writer.write(packet, time_ns, outbound, interface=self.name)


class Direction:
    """One direction of a link."""

    def __init__(self, way: Way, sender: Host, receiver: Host) -> None:
        self.way = way
        self.sender = sender
        self.receiver = receiver
        self.quality: Quality = DEFAULTS.copy()

    def __repr__(self) -> str:
        return f"<Direction {self.way.name}>"

    def set(self, **quality: Unpack[Quality]) -> None:
        """Change settings, those of VirtualNetwork.link, from now on."""
        check_names(dict(quality))
        changed = DEFAULTS | self.quality | quality
        apply(self.way, changed)
        self.quality = changed

    def inject(self, packet: bytes) -> None:
        """Put a packet on the wire as if its sender had: from somebody who misbehaves."""
        self.way.inject(packet)

    def partition(self) -> None:
        """Lose everything, also what is on its way."""
        self.way.partition()

    def heal(self) -> None:
        """End a partition."""
        self.way.heal()

    def hold(self) -> None:
        """Let nothing arrive; nothing is lost."""
        self.way.hold()

    def release(self) -> None:
        """Let everything that was held arrive now."""
        self.way.release()

    @property
    def counters(self) -> dict[str, int]:
        """What became of the packets that were put into it, by name."""
        way = self.way
        way.settle()
        return {
            "packets": way.packets,
            "delivered": way.delivered,
            "delivered_bytes": way.delivered_bytes,
            "lost": way.lost,
            "overflowed": way.overflowed,
            "partitioned": way.partitioned,
            "too_long": way.too_long,
            "corrupted": way.corrupted,
            "duplicated": way.duplicated,
            "reordered": way.reordered,
            "marked": way.marked,
            "longest_queue": way.longest_queue,
        }


class Link:
    """A wire between two hosts or routers; `there` is from the first to the second."""

    def __init__(self, net: VirtualNetwork, a: Host, b: Host) -> None:
        self.net = net
        self.ends = (a, b)
        number = len(net.links)
        self.name = f"{a.name}-{b.name}"
        if any(link.name == self.name for link in net.links):
            self.name += f"-{number}"
        self.there = self._direction(a, b, number)  # from the first to the second
        self.back = self._direction(b, a, number)  # from the second to the first

    def _direction(self, sender: Host, receiver: Host, number: int) -> Direction:
        side = 0 if sender is self.ends[0] else 1
        words = seed_words(f"{self.net.seed} link {number} {side}".encode())
        way = Way(self.net._world, self.net._ether, f"{sender.name}->{receiver.name}", *words)
        return Direction(way, sender, receiver)

    def __repr__(self) -> str:
        return f"<Link {self.name}>"

    def out_of(self, host: Host) -> Direction:
        """The direction out of one of its ends."""
        return self.there if host is self.ends[0] else self.back

    def other(self, host: Host) -> Host:
        """Who is at the other end."""
        return self.ends[1] if host is self.ends[0] else self.ends[0]

    def set(self, **quality: Unpack[Quality]) -> None:
        """Change settings of both directions, those of VirtualNetwork.link, from now on."""
        self.there.set(**quality)
        self.back.set(**quality)

    def partition(self) -> None:
        """Lose everything in both directions, also what is on its way."""
        self.there.partition()
        self.back.partition()

    def heal(self) -> None:
        """End a partition."""
        self.there.heal()
        self.back.heal()

    def hold(self) -> None:
        """Let nothing arrive at either end; nothing is lost."""
        self.there.hold()
        self.back.hold()

    def release(self) -> None:
        """Let everything that was held arrive now."""
        self.there.release()
        self.back.release()

    def pcap(self, path_or_file: PathOrFile, at: Host | None = None) -> PcapWriter:
        """Capture what is on the wire at one end, the first by default.

        A packet that is put on the wire there and meets a fate says so in its comment: "lost",
        "queue full", "partition", "corrupted", "duplicated", "held back".
        """
        host = self.ends[0] if at is None else at
        if host not in self.ends:
            raise ValueError(f"{host} is not at {self}")
        writer = self.net._writer(path_or_file, self.name)

        def see(outbound: bool, packet: bytes, time_ns: int, fate: str | None) -> None:
            writer.write(packet, time_ns, outbound, fate, self.name)

        self.out_of(host).way.on_depart = partial(see, True)
        self.out_of(self.other(host)).way.on_arrive = partial(see, False)
        return writer


class VirtualNetwork:
    """Hosts, routers and links in virtual time.

    Time passes only while everybody waits, and then at once. In the thread that made the network,
    and in functions that `spawn` begins, sockets of its hosts block as they do everywhere; exactly
    one of these functions runs at any time, so that a run depends on nothing but the seed.
    """

    def __init__(self, seed: int = 0, *, limit: Quantity = DAY, **link: Unpack[Quality]) -> None:
        """seed: of all that is random. limit: the time that raises TimeLimit when it is reached.

        The other arguments are defaults for links.
        """
        check_names(dict(link))
        self.seed = seed
        self.link_defaults: Quality = link
        self.hosts: dict[str, Host] = {}
        self.links: list[Link] = []
        self._world = World(duration_ns(limit))
        self._ether = Ether()
        self._writers: list[PcapWriter] = []
        self.on_host: Callable[[Host], object] | None = None  # called with each new host

    # What it is made of.

    def host(
        self, *addresses: str, name: str | None = None, mtu: int | None = None, **options: Any
    ) -> Host:
        """A host with these addresses, or with whole networks such as "10.3.0.0/24".

        mtu: by default what its links take, at most 1500. options: those of Stack.
        """
        return self._add(Host, addresses, name, mtu, options)

    def router(
        self,
        *addresses: str,
        name: str | None = None,
        mtu: int | None = None,
        ingress_filter: bool = True,
        **options: Any,
    ) -> Router:
        """A router, which needs an address of each family that it is to forward.

        ingress_filter: hosts at its links send from addresses only that are theirs (RFC 2827).
        """
        router = self._add(Router, addresses, name, mtu, options)
        router.ingress_filter = ingress_filter
        return router

    def _add(
        self,
        kind: type[H],
        addresses: tuple[str, ...],
        name: str | None,
        mtu: int | None,
        options: dict[str, Any],
    ) -> H:
        name = addresses[0] if name is None and addresses else name or ""
        if name in self.hosts:
            raise ValueError(f"the network has a host {name!r} already")
        options.setdefault("seed", f"{self.seed} host {len(self.hosts)}".encode())
        host = kind(self, name, addresses, mtu, **options)
        self.hosts[name] = host
        if self.on_host is not None:
            self.on_host(host)
        return host

    def link(
        self,
        a: Host,
        b: Host,
        *,
        there: Quality | None = None,
        back: Quality | None = None,
        **quality: Unpack[Quality],
    ) -> Link:
        """Connect two hosts or routers by a wire; there, back: settings of one direction only.

        delay, jitter: durations ("20ms", 0.02); jitter varies the delay, packets stay in order.
        rate ("10Mbit/s", 10e6); queue: packets (20) or bytes ("64KB") that wait for the wire.
        mark: packets in the queue from which on ECN marks those that may be marked.
        loss ("2%", 0.02, GilbertElliott(...)); burst: how many are lost in a row, on average.
        reorder: share of packets held back by reorder_by; duplicate, corrupt (one bit): shares.
        mtu; oversize: "report" (routers send errors) or "drop" (a black hole).
        filter: called with each packet; what it returns False for is lost.
        """
        if a is b or a.net is not self or b.net is not self:
            raise ValueError("a link is between two hosts of this network")
        link = Link(self, a, b)
        link.there.set(**(self.link_defaults | quality | (there or {})))
        link.back.set(**(self.link_defaults | quality | (back or {})))
        for host in (a, b):
            other = link.other(host)
            host.node.add_port(link.out_of(host).way, not isinstance(other, Router))
            link.out_of(other).way.connect(host.node, len(host.links))
            host.links.append(link)
            mtu = link.out_of(host).way.mtu
            if mtu and mtu < host.mtu and not host.mtu_is_given:
                host.mtu = mtu
                host.node.set_mtu(mtu)
        self.links.append(link)
        self._route()
        return link

    def _route(self) -> None:
        """Tell every node the shortest ways to all the others."""
        for host in self.hosts.values():
            found = routes_from(
                host,
                lambda one: [Neighbour(link.other(one), at) for at, link in enumerate(one.links)],
            )
            routes = [
                (*prefix_of(prefix), host.links.index(link)) for prefix, link in host.given_routes
            ]
            given = {route[:2] for route in routes}
            for other, port in found:
                for prefix in other.networks:
                    if prefix_of(prefix) not in given:
                        routes.append((*prefix_of(prefix), port))
            if not isinstance(host, Router) and len(host.links) == 1:
                routes.append((bytes(16), 0, 0))
            host.node.set_routes(routes)

    # Time.

    @property
    def now(self) -> float:
        """Virtual time in seconds."""
        return self._world.time_ns / SECOND

    @property
    def now_ns(self) -> int:
        """Virtual time, in ns."""
        return self._world.time_ns

    @property
    def events(self) -> int:
        """How many things have happened."""
        return self._world.events

    def spawn(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Task:
        """Begin a function, which runs when the running one waits; `.result()` waits for it.

        What it raises is raised by whoever waits for its result, or else in the thread that made
        the network, where that waits, at the latest at the end of its `with`.
        """
        name = getattr(function, "__qualname__", repr(function))
        return self._world.spawn(function, args, kwargs, name)

    def sleep(self, duration: Quantity) -> None:
        """Let time pass."""
        self._world.sleep_until(self.now_ns + duration_ns(duration))

    def run(self, until: Quantity | Callable[[], Any] | None = None) -> None:
        """Let time pass until a time ("2min", 3600), or until a function says so.

        Without `until`: until all spawned functions have returned, and if there are none, until
        nothing is left to happen.
        """
        if callable(until):
            self._world.wait_for(until)
        elif until is not None:
            self._world.sleep_until(duration_ns(until))
        elif self._world.tasks:
            while self._world.tasks:
                self._world.tasks[0].result()
        else:
            self.settle()

    def wait_for(self, predicate: Callable[[], T], timeout: Quantity | None = None) -> T:
        """Wait until a function returns something true, and return that.

        It is called after whatever happens. With a timeout it may also return something false.
        """
        until = None if timeout is None else self.now_ns + duration_ns(timeout)
        value: T = self._world.wait_for(predicate, until)
        return value

    def settle(self, timeout: Quantity | None = None) -> bool:
        """Run until nothing is left to happen, no packet, no timer; False: not in time."""
        until = None if timeout is None else self.now_ns + duration_ns(timeout)
        return self._world.settle(until)

    # asyncio.

    def new_event_loop(self, host: Host | None = None) -> VirtualLoop:
        """An event loop in virtual time, whose calls reach the hosts.

        host: where its programs live, but for those that `aio.on` puts elsewhere.
        """
        from pystack.aio.virtual import VirtualLoop

        return VirtualLoop(self, host)

    def run_async(self, main: Coroutine[Any, Any, T], host: Host | None = None) -> T:
        """As asyncio.run, in virtual time."""
        loop = self.new_event_loop(host)
        try:
            return loop.run_until_complete(main)
        finally:
            try:
                loop.run_until_complete(end_tasks(loop))
            finally:
                loop.close()

    # trio.

    def trio_clock(self) -> VirtualClock:
        """The network's time as trio.run(main, clock=...) takes it; of one run at a time."""
        from pystack.trio.virtual import VirtualClock

        return VirtualClock(self)

    def run_trio(self, main: Callable[..., Awaitable[T]], *args: Any) -> T:
        """As trio.run, in virtual time; Deadlock and TimeLimit are raised when tasks have ended."""
        from pystack.trio.virtual import run

        return run(self, main, *args)

    def at(self, when: Quantity, function: Callable[..., Any], *args: Any) -> Call:
        """Call a function, which must not wait, when that time has come."""
        return self._world.call_at(duration_ns(when), function, args)

    # Captures.

    def pcap(self, directory: str | os.PathLike[str]) -> list[Path]:
        """Capture at every host that there is by now, each in a file of its own name."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for host in self.hosts.values():
            path = folder / f"{file_name(host.name)}.pcapng"
            host.pcap(path)
            paths.append(path)
        return paths

    def _writer(self, path_or_file: PathOrFile, name: str) -> PcapWriter:
        writer = PcapWriter(path_or_file, f"{name}, seed {self.seed}")
        self._writers.append(writer)
        return writer

    # The end.

    def close(self) -> None:
        """End all functions, hosts and captures. Closing again does nothing."""
        self._world.close()
        for host in self.hosts.values():
            host.close()
        for link in self.links:  # what the hosts have sent last is still there
            link.there.way.close()
            link.back.way.close()
        for writer in self._writers:
            writer.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed, and its hosts with it."""
        return self._world.closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        problem: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        unraised = self._world.take_problem()
        self.close()
        if problem is None and unraised is not None:
            raise unraised

    def __repr__(self) -> str:
        return f"<VirtualNetwork seed={self.seed} now={self.now:g} hosts={len(self.hosts)}>"

    def report(self) -> str:
        """What there is now, for whoever looks for the reason of a failure."""
        lines = [f"seed {self.seed}, virtual time {self.now:.6f} s, {self.events} events"]
        for host in self.hosts.values():
            if host.closed:
                continue
            for one in host.connections():
                lines.append(
                    f"  {host.name}: {one.local} -> {one.remote} {one.state}"
                    f" recv-q {one.receive_queue} send-q {one.send_queue} cwnd {one.cwnd}"
                )
        for link in self.links:
            for direction in (link.there, link.back):
                told = ", ".join(f"{k} {v}" for k, v in direction.counters.items() if v)
                lines.append(f"  {direction.way.name}: {told or 'unused'}")
        return "\n".join(lines)


async def end_tasks(loop: VirtualLoop) -> None:
    """What asyncio.run does at the end."""
    import asyncio

    others = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in others:
        task.cancel()
    for problem in await asyncio.gather(*others, return_exceptions=True):
        if isinstance(problem, Exception):
            loop.call_exception_handler(
                {"message": "unhandled exception during the end", "exception": problem}
            )
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


def file_name(name: str) -> str:
    """A host's or test's name as that of a file, on every system."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
