"""The connection that a script is about, and the numbers that differ between script and wire.

Called by: the runner, calls (what happens to sockets), build and compare (translation).
RFCs: 9293 section 3.4.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pystack.script.nodes import Icmp, Packet, Tcp, Udp
from pystack.script.settings import Settings
from pystack.script.wire import (
    ACK,
    RST,
    SYN,
    TCP,
    UDP,
    Datagram,
    Live,
    Message,
    Segment,
)

FIRST_REMOTE_PORT = 40001
MASK = 0xFFFFFFFF


@dataclass
class Connection:
    """A connection or socket as a script sees it."""

    protocol: int = TCP
    # fresh, listening, child (of a listener, or of nobody), connecting, active
    state: str = "fresh"
    fd: int | None = None  # the script's name for its socket
    local_port: int | None = None
    remote_port: int | None = None
    local_isn: int = 0  # on the wire
    script_isn: int = 0  # of our own side, as the script has it
    remote_isn: int = 0  # one and the same
    isn_known: bool = False
    ts_live: dict[int, int] = field(default_factory=dict)  # outbound: script val -> live val
    ts_first: tuple[int, int] | None = None  # script, live
    labels: dict[int, int] = field(default_factory=dict)  # flow labels: script -> live

    # Translation.

    def seq_to_live(self, seq: int, syn: bool) -> int:
        """Of an inbound packet."""
        return seq if syn else (seq + self.remote_isn) & MASK

    def ack_to_live(self, ack: int, syn: bool) -> int:
        """Of an inbound packet: acknowledgments, SACK edges."""
        return (ack + self.local_isn - (self.script_isn if syn else 0)) & MASK

    def seq_to_script(self, seq: int, syn: bool) -> int:
        """Of an outbound packet."""
        return (seq - self.local_isn + (self.script_isn if syn else 0)) & MASK

    def ack_to_script(self, ack: int, syn: bool) -> int:
        """Of an outbound packet: acknowledgments, SACK edges."""
        return ack if syn else (ack - self.remote_isn) & MASK

    def learn_isn(self, script_seq: int, live_seq: int) -> None:
        """A SYN or SYN-ACK of our side was expected, and this is what came.

        One that the script numbers as before is a retransmission, whose number is to be checked.
        """
        if not self.isn_known or self.script_isn != script_seq:
            self.script_isn = script_seq
            self.local_isn = live_seq
            self.isn_known = True


class Tracker:
    """All connections of a script; `current` is the one that its packets are about."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.current: Connection | None = None
        self.all: list[Connection] = []
        self._next_port = FIRST_REMOTE_PORT

    def of_fd(self, fd: int) -> Connection | None:
        """The latest with this name."""
        return next((one for one in reversed(self.all) if one.fd == fd), None)

    def add(self, connection: Connection) -> Connection:
        self.all.append(connection)
        self.current = connection
        return connection

    # What calls do.

    def opened(self, fd: int, protocol: int) -> None:
        self.add(Connection(protocol, fd=fd))

    def connecting(self, fd: int) -> None:
        """connect, or what connects by sending."""
        connection = self.of_fd(fd)
        if connection is not None and connection.state == "fresh":
            connection.state = "connecting"
            connection.remote_port = self.settings.connect_port

    def disconnected(self, fd: int) -> None:
        """connect to AF_UNSPEC."""
        connection = self.of_fd(fd)
        if connection is not None:
            fresh = Connection(connection.protocol, fd=fd)
            self.all.remove(connection)
            self.add(fresh)

    def bound(self, fd: int, port: int) -> None:
        connection = self.of_fd(fd)
        if connection is not None:
            connection.local_port = port

    def listening(self, fd: int) -> None:
        connection = self.of_fd(fd)
        if connection is not None and connection.state == "fresh":
            connection.state = "listening"

    def accepted(self, fd: int, remote_port: int) -> None:
        """Attach a socket to the child that has this port."""
        for connection in reversed(self.all):
            if connection.state == "child" and connection.remote_port == remote_port:
                connection.fd = fd
                return

    # What packets do.

    def for_inbound(self, packet: Tcp) -> Connection:
        """The connection that an injected TCP packet is of."""
        if packet.ports is not None:
            return self._of_ports(packet, remote=packet.ports[0], local=packet.ports[1])
        current = self.current
        if current is None or current.protocol != TCP or current.state in ("listening", "fresh"):
            port = current.local_port if current and current.protocol == TCP else None
            port = port or self.settings.bind_port
            return self.add(self._child(packet, self.unused_port(), port))
        return current

    def _of_ports(self, packet: Tcp, remote: int, local: int) -> Connection:
        """A foreign packet's own connection."""
        for connection in reversed(self.all):
            if (connection.remote_port, connection.local_port) == (remote, local):
                return connection
        current = self.current
        child = self._child(packet, remote, local)
        if current is None or current.state in ("listening", "fresh"):
            return self.add(child)
        self.all.append(child)
        return child

    def _child(self, packet: Tcp, remote_port: int, local_port: int) -> Connection:
        return Connection(
            TCP,
            "child",
            local_port=local_port,
            remote_port=remote_port,
            remote_isn=packet.seq or 0,
        )

    def for_outbound(self, packet: Tcp) -> Connection | None:
        """The connection that an expected TCP packet is of."""
        if packet.ports is not None:
            for connection in reversed(self.all):
                if (connection.local_port, connection.remote_port) == packet.ports:
                    return connection
        return self.current

    def for_udp(self) -> Connection:
        """The connection that UDP packets and ICMP messages are of."""
        if self.current is None:
            self.add(Connection(UDP, "child", None, self.settings.bind_port, self.unused_port()))
        assert self.current is not None
        if self.current.remote_port is None:
            self.current.remote_port = self.settings.connect_port
        return self.current

    def unused_port(self) -> int:
        self._next_port += 1
        return self._next_port - 1


def observe_inbound(connection: Connection, packet: Tcp) -> None:
    """Learn from a packet that is about to be injected: a SYN-ACK, or a SYN that crosses ours."""
    if packet.flags & SYN and connection.state == "connecting" and packet.seq is not None:
        connection.remote_isn = packet.seq


def observe_outbound(connection: Connection, packet: Tcp, live_seq: int) -> None:
    """Learn from a packet that is expected and has come."""
    if connection.state == "connecting" and packet.flags & (SYN | ACK | RST) == ACK:
        connection.state = "active"  # the peer's ISN is final
    if not packet.flags & SYN or packet.seq is None:
        return
    if connection.state == "connecting" or (connection.state == "child" and packet.flags & ACK):
        connection.learn_isn(packet.seq, live_seq)


def is_of(
    settings: Settings, live: Live, packet: Packet | None, connection: Connection | None
) -> bool:
    """Whether an outbound packet is of a connection, or answers what an expectation is about.

    packet: what is expected, None: anything. The first SYN of a connecting socket tells its port.
    """
    if (live.ip.source, live.ip.destination) != (settings.local, settings.remote):
        return False
    body = live.body
    if isinstance(body, Message):
        return packet is None or isinstance(packet.body, Icmp)
    if not isinstance(body, (Segment, Datagram)):
        return True  # a fragment, for example
    ports = (body.source_port, body.destination_port)
    if packet is not None and isinstance(packet.body, (Tcp, Udp)) and packet.body.ports:
        return ports == packet.body.ports
    if connection is None or connection.protocol != live.ip.protocol:
        return False
    if connection.local_port is None and connection.state == "connecting":
        connection.local_port = body.source_port
    return ports == (connection.local_port, connection.remote_port)
