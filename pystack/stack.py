"""Stack: a TCP/IP stack in this process, with networks whose every address answers.

Called by: applications, services, the command line.
RFCs: none of its own.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from socket import (  # type: ignore[attr-defined]
    _GLOBAL_DEFAULT_TIMEOUT,
    AF_INET,
    AF_INET6,
    IPPROTO_IPV6,
    IPV6_V6ONLY,
    SO_REUSEADDR,
    SOCK_STREAM,
    SOL_SOCKET,
    getdefaulttimeout,
)

from pystack.addresses import MAPPED, SocketAddress, plain
from pystack.device.base import Device
from pystack.engine import caller, network, snapshot, thread
from pystack.engine.engine import Engine
from pystack.engine.virtual import VirtualDriver
from pystack.socket import Socket
from pystack.sockopt import NUMBERS
from pystack.teach import teach_ssl, when_imported

when_imported("ssl", teach_ssl)

# What few need is imported when it is first used, what only names types not at all: import pystack
# shall take no time that one would notice.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Protocol

    from typing_extensions import Buffer, Self

    from pystack.connection import Connection
    from pystack.detached import Carrier
    from pystack.doorman import AnyListener, FlowRequest
    from pystack.shards import Shards
    from pystack.tcpconfig import TcpConfig

    class PacketWriter(Protocol):
        """What a capture is given to."""

        def write(self, packet: bytes, time_ns: int, outbound: bool) -> object: ...


Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

POLICIES = {"accept": 0, "refuse": 1, "drop": 2, "mirror": 3}
SERVICES = {"echo": 1, "discard": 2, "chargen": 3}
PROTOCOLS = {"tcp": 6, "udp": 17}
ICMP = {4: 1, 6: 58}
SEED_SIZE = 16  # bytes
DEFAULT_MTU = 1500


class Stack:
    """A TCP/IP stack in this process.

    With a device it runs by itself, in a thread, until it is closed. Without one its user turns it:
    receive, poll, deadline and transmit.
    """

    def __init__(
        self,
        *networks: str | Network,
        device: Device | None = None,
        driver: str | VirtualDriver | None = None,
        address: str | Address | Iterable[str | Address] | None = None,
        mtu: int | None = None,
        seed: int | bytes | None = None,
        now: int | None = None,
        tcp: TcpConfig | None = None,
        start: bool = True,
    ) -> None:
        """networks: all their addresses are the stack's but those of the device's other side. Those
        of a loopback network, such as 127.0.0.0/8 and ::1/128, are reached within the stack only.

        device: carries its packets, and is closed with the stack.
        driver: "thread" (by default, with a device) or "caller" (without); virtual networks have
        their own.
        address: of sockets that connect or send without being bound; one for each family.
        mtu: of a stack without a device.
        seed: repeats a run, if the caller also tells the time; otherwise random.
        now: the time, in ns, if it is the caller's from the beginning.
        tcp: what Linux keeps in its TCP sysctls; by default as Linux.
        start: False: packets wait until start(), such as for listeners that are still to be made.
        """
        self.networks = parse_networks(networks)  # whose addresses it answers for
        sources = parse_addresses(address)
        self.driver = check_driver(driver, device, now)
        if device is None:
            mtu = DEFAULT_MTU if mtu is None else mtu
        elif mtu is not None:
            raise ValueError("mtu: the device has one; give it there")
        else:
            mtu = device.mtu
        self._tcp = tcp
        self._crank = driver if isinstance(driver, VirtualDriver) else None
        self.attachments: dict[Any, Any] = {}  # of event loops and runs of trio
        self.carrier: Carrier | None = None  # of detached sockets, once there are some
        self.shards: Shards | None = None  # of which it is one
        self.engine = Engine(
            device, check_mtu(mtu), *seed_words(seed), now, tcp.core() if tcp else None, self._crank
        )
        try:
            self._set_up(device, sources)
            if start:
                self.start()
        except BaseException:
            self.engine.close()
            raise

    def _set_up(self, device: Device | None, sources: list[Address]) -> None:
        for one in self.networks:
            network.add(self.engine, *prefix_of(one))
        if device is not None:
            self.engine.attach()
            device.configure([one for one in self.networks if not one.is_loopback])
            for local in device.local_addresses:
                network.exclude(self.engine, packed(local))
        for source in sources:
            if not network.set_source(self.engine, packed(source)):
                raise ValueError(f"address {source} is not one of the stack's own")
        if self._crank is not None:
            self._crank.drive(self.engine)

    def __repr__(self) -> str:
        networks = " ".join(map(str, self.networks))
        return f"<{type(self).__name__} {networks}{' closed' if self.closed else ''}>"

    # Its life.

    def start(self) -> None:
        """Let its thread read the device, if that was put off; starting again does nothing."""
        if self.driver == "thread" and self.engine.thread is None and not self.closed:
            thread.start(self.engine)

    @property
    def device(self) -> Device | None:
        """What carries its packets, if something does."""
        return self.engine.device

    @property
    def tcp(self) -> TcpConfig:
        """What it is configured with."""
        if self._tcp is None:
            from pystack.tcpconfig import TcpConfig

            self._tcp = TcpConfig()
        return self._tcp

    @property
    def closed(self) -> bool:
        """Whether it was closed, or its device is gone."""
        return self.engine.closed

    def attachment(self, place: Any, make: Callable[[], Any]) -> Any:
        """What ties it to an event loop, or a run of trio; made when first asked for."""
        known = self.attachments
        if place not in known:
            for other in [one for one in known if one.is_closed()]:
                known.pop(other).end()
            if self.closed:
                raise RuntimeError(f"pystack: {self!r} is closed")
            if known and self.driver == "caller":
                raise RuntimeError(f"pystack: {self!r} is at another event loop")
            known[place] = make()
        return known[place]

    def close(self) -> None:
        """Reset all connections, end all sockets, close the device. Closing again does nothing."""
        for attachment in self.attachments.values():
            attachment.close()
        self.attachments.clear()
        self.engine.close()
        if self.carrier is not None and self.engine.closed:
            self.carrier.end()
        if self._crank is not None:
            self._crank.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        problem: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        engine = getattr(self, "engine", None)
        if engine is not None and not engine.closed:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            engine.close()

    # Sockets.

    @property
    def initial_timeout(self) -> float | None:
        """Of new sockets. Those of a stack that its caller turns would wait for themselves."""
        return 0.0 if self.driver == "caller" else getdefaulttimeout()

    def socket(
        self,
        family: int = AF_INET,
        type: int = SOCK_STREAM,
        proto: int = 0,
        fileno: int | None = None,
        *,
        tcp: TcpConfig | None = None,
    ) -> Socket:
        """As socket.socket. fileno: of a socket of this stack. tcp: see Socket.configure."""
        sock = Socket(self, family, type, proto, fileno)
        if tcp is not None:
            try:
                sock.configure(tcp)
            except BaseException:
                sock.close()
                raise
        return sock

    def create_server(
        self,
        address: SocketAddress,
        *,
        family: int = AF_INET,
        backlog: int | None = None,
        reuse_port: bool = False,
        dualstack_ipv6: bool = False,
    ) -> Socket:
        """As socket.create_server."""
        if dualstack_ipv6 and family != AF_INET6:
            raise ValueError("dualstack_ipv6 requires AF_INET6 family")
        server = self.socket(family)
        try:
            server.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            if reuse_port:
                server.setsockopt(SOL_SOCKET, NUMBERS["SO_REUSEPORT"], 1)
            if family == AF_INET6:
                server.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, not dualstack_ipv6)
            try:
                server.bind(address)
            except OSError as problem:
                if problem.errno is None:
                    raise
                text = f"{problem.strerror} (while attempting to bind on address {address!r})"
                raise OSError(problem.errno, text) from None
            server.listen() if backlog is None else server.listen(backlog)
        except BaseException:
            server.close()
            raise
        return server

    def create_connection(
        self,
        address: SocketAddress,
        timeout: Any = _GLOBAL_DEFAULT_TIMEOUT,
        source_address: SocketAddress | None = None,
        *,
        all_errors: bool = False,
    ) -> Socket:
        """As socket.create_connection; an address has no name and is one only."""
        family = AF_INET6 if ":" in address[0] else AF_INET
        connection = self.socket(family)
        try:
            if timeout is not _GLOBAL_DEFAULT_TIMEOUT:
                connection.settimeout(timeout)
            if source_address is not None:
                connection.bind(source_address)
            connection.connect(address)
        except BaseException:
            connection.close()
            raise
        return connection

    def listen_any(
        self,
        on_tcp: Callable[[FlowRequest], object] | None = None,
        on_udp: Callable[[FlowRequest], object] | None = None,
        *,
        limit: int = 1024,
    ) -> AnyListener:
        """Decide about each new flow that no socket and no service waits for, at any address.

        Callbacks run in a thread of their own, and decide at once or later: request.accept(),
        request.refuse() or request.drop(). Without callbacks, take the requests from the listener.
        What the policy refuses, drops or mirrors is not asked about.
        limit: flows that wait for a decision; the oldest is dropped for a new one.
        """
        from pystack.doorman import listen_any

        return listen_any(self, on_tcp, on_udp, limit=limit)

    # What its addresses do.

    def set_policy(
        self,
        prefix: str | Network | Address,
        action: str,
        protocol: str | None = None,
        ports: int | tuple[int, int] | None = None,
    ) -> None:
        """Say what happens to packets for addresses in a prefix; the longest prefix decides.

        action: accept, refuse, drop, mirror. protocol: tcp, udp, icmp; None: all.
        ports: one, or the first and the last; None: all.
        """
        of = parse_network(prefix)
        if action not in POLICIES:
            raise ValueError(f"action {action!r}: not one of {', '.join(POLICIES)}")
        number = 0
        if protocol is not None:
            by_name = {**PROTOCOLS, "icmp": ICMP[of.version]}
            if protocol not in by_name:
                raise ValueError(f"protocol {protocol!r}: not one of {', '.join(by_name)}")
            number = by_name[protocol]
        first, last = (ports, ports) if isinstance(ports, int) else ports or (0, 0xFFFF)
        if not 0 <= first <= last <= 0xFFFF:
            raise ValueError(f"ports {ports!r}: not within 0 and 65535, or not in order")
        network.set_policy(self.engine, *prefix_of(of), POLICIES[action], number, first, last)

    def serve(self, service: str, protocol: str, port: int) -> None:
        """Let the stack itself answer a port at every address: echo, discard or chargen."""
        if service not in SERVICES:
            raise ValueError(f"service {service!r}: not one of {', '.join(SERVICES)}")
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol {protocol!r}: not one of {', '.join(PROTOCOLS)}")
        network.serve(self.engine, SERVICES[service], PROTOCOLS[protocol], port)

    def configure(self, tcp: TcpConfig) -> None:
        """Change what Linux keeps in its TCP sysctls, as sysctl does on a running system.

        Sizes of buffers, algorithms and options are those of sockets made from now on.
        """
        self.engine.configure_tcp(tcp.core())
        self._tcp = tcp

    def forget_metrics(self) -> None:
        """Forget what is remembered of destinations: round trips, windows, fast open cookies.

        As `ip tcp_metrics flush all` does on a running system.
        """
        self.engine.forget_metrics()

    # What it does.

    def counters(self) -> dict[str, int]:
        """How often everything happened, by name; also once the stack is closed."""
        return self.engine.counters()

    def connections(self, limit: int = 1000) -> list[Connection]:
        """Up to `limit` of its TCP connections, in no order."""
        from pystack.connection import Connection

        return [
            Connection((plain(one[0]), one[1]), (plain(one[2]), one[3]), *one[4:])
            for one in snapshot.connections(self.engine, limit)
        ]

    def capture(self, writer: PacketWriter | None) -> None:
        """Show every packet from now on to a writer, such as a PcapWriter; None: to nobody.

        As on a wire: single packets with checksums in full, in both directions. The writer is
        called with the stack locked, and must not call the stack. After its first exception, which
        is logged, it is called no more.
        """
        self.engine.set_capture(writer)

    def _live_packets(self) -> int:
        """Packets in its queues; for tests."""
        return self.engine.live_packets

    # Turned by its caller.

    def receive(self, packet: Buffer, now: int | None = None) -> None:
        """Take in a packet: bytes that begin with its IP header.

        now: the time, in ns; once it was given, here or to poll, time is the caller's alone.
        """
        self._check_now(now)
        caller.receive(self.engine, packet, now)

    def poll(self, now: int | None = None) -> None:
        """Do what is due, and take in what the device has, if there is one."""
        self._check_now(now)
        caller.poll(self.engine, now)
        self._carry()

    @property
    def deadline(self) -> int | None:
        """When poll wants to be called at the latest, in ns: of the caller's time, or else of
        time.monotonic_ns(). None: not before something else happens.
        """
        self._carry()
        return caller.deadline(self.engine)

    def transmit(self) -> list[bytes]:
        """Fetch the packets that a stack without a device wants to send."""
        self._carry()
        return caller.transmit(self.engine)

    def _carry(self) -> None:
        if self.carrier is not None and self.device is None:
            self.carrier.turn()

    def _check_now(self, now: int | None) -> None:
        if now is not None and self.driver == "thread":
            raise ValueError("now: the time of a stack with a thread is the clock's")


# What the constructor is given.


def parse_network(given: str | Network | Address) -> Network:
    """ValueError tells the network that an address with host bits is in."""
    try:
        return ip_network(str(given))
    except ValueError:
        nearest = ip_interface(str(given)).network  # ValueError if it is nothing at all
        raise ValueError(f"{given} has host bits set; the network is {nearest}") from None


def parse_networks(given: Iterable[str | Network]) -> tuple[Network, ...]:
    """At least one, and no two that overlap."""
    networks = tuple(map(parse_network, given))
    if not networks:
        raise ValueError("a stack needs a network, such as '10.3.0.0/24'")
    for i, one in enumerate(networks):
        for other in networks[:i]:
            if one.version == other.version and one.overlaps(other):
                raise ValueError(f"networks {other} and {one} overlap")
    return networks


def parse_addresses(given: str | Address | Iterable[str | Address] | None) -> list[Address]:
    if given is None:
        return []
    if isinstance(given, (str, IPv4Address, IPv6Address)):
        given = [given]
    return [ip_address(str(one)) for one in given]


def check_driver(driver: str | VirtualDriver | None, device: Device | None, now: int | None) -> str:
    if device is not None and not isinstance(device, Device):
        raise TypeError(f"device: a pystack.Device, not {type(device).__name__}")
    if isinstance(driver, VirtualDriver):
        return "virtual"
    if driver is None:
        driver = "caller" if device is None else "thread"
    if driver not in ("thread", "caller"):
        raise ValueError(f"driver {driver!r}: not one of thread, caller")
    if driver == "thread" and now is not None:
        raise ValueError("now: the time of a stack with a thread is the clock's")
    return driver


def check_mtu(mtu: int) -> int:
    if not 68 <= mtu <= 65535:
        raise ValueError(f"mtu {mtu} is not within 68 and 65535")
    return mtu


def seed_words(seed: int | bytes | None) -> tuple[int, int]:
    """128 bits: of the system's randomness, or always the same for the same seed."""
    if seed is None:
        words = os.urandom(SEED_SIZE)
    else:
        import hashlib  # it takes long to load, and is seldom needed

        data = str(seed).encode() if isinstance(seed, int) else bytes(seed)
        words = hashlib.blake2b(data, digest_size=SEED_SIZE).digest()
    return int.from_bytes(words[:8], "big"), int.from_bytes(words[8:], "big")


def packed(address: Address) -> bytes:
    """As the engine has it."""
    return MAPPED + address.packed if address.version == 4 else address.packed


def prefix_of(network: Network) -> tuple[bytes, int]:
    """As the engine has it."""
    length = network.prefixlen + (96 if network.version == 4 else 0)
    return packed(network.network_address), length
