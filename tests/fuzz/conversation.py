"""Two stacks whose applications do anything, over a wire that does anything; then all must end.

Everything follows from the seed. What is claimed: no assertion, no sanitizer report, no timer in
the past, no storm; whatever a host sends is well formed; in the end no connection, packet or timer
is left.
"""

from __future__ import annotations

import random
import struct
from collections import deque
from collections.abc import Callable

from fuzz.spoiling import ICMPV6, TCP, UDP, Packet, Spoiler
from native.core import CallError, Host, Tcp
from scenario.tcp_wire import checksum

MS, SECOND = 1_000_000, 1_000_000_000
DAY = 86400 * SECOND
SERVICES = {7: 1, 9: 2, 19: 3}  # port: echo, discard, chargen
LISTENING = 80
SUBNETS = (("10.3.0.0/24", "fd03::/64"), ("10.4.0.0/24", "fd04::/64"))
PREFIXES = ((b"\x0a\x03\x00", b"\xfd\x03"), (b"\x0a\x04\x00", b"\xfd\x04"))
ADDRESSES = (("10.3.0.5", "fd03::5", "10.3.0.6"), ("10.4.0.5", "fd04::5", "10.4.0.6"))
OPTIONS = {1: (2, 7, 8, 9, 10, 13, 30), 6: (1, 2, 3, 4, 5, 6, 7, 12, 18)}  # by level
MIRROR, DROP, REFUSE = 3, 2, 1
# Rounds without time passing; and rounds until all that is left has timed out, or has gone byte by
# byte to a host whose window scale was spoilt on the way.
STORM, END = 2000, 300_000


def config_of(rng: random.Random) -> dict[str, object]:
    """Mostly small limits: they are reached sooner."""
    return {
        "mtu": rng.choice((1280, 1500, 1500, 9000, 65535)),
        "max_train": rng.choice((0, 1500, 65535, 65535)),
        "max_syn_backlog": rng.choice((0, 1, 1024)),
        "max_sent": rng.choice((1, 4, 4096)),
        "max_time_wait": rng.choice((1, 65536)),
        "max_out_of_order": rng.choice((1, 3, 1024)),
        "receive_buffer": rng.choice((4096, 65536, 1 << 20)),
        "send_buffer": rng.choice((4096, 65536, 1 << 20)),
        "window_scale": rng.choice((0, 7, 14)),
        "timestamps": rng.random() < 0.7,
        "sack": rng.random() < 0.8,
        "window_scaling": rng.random() < 0.8,
        "syn_cookies": rng.random() < 0.8,
        "ecn": rng.choice((0, 1, 1, 2)),
        "max_orphans": rng.choice((1, 65536)),
        "rto_min": rng.choice((MS, 200 * MS, 200 * MS)),
        "early_retrans": rng.choice((0, 3)),
        "recovery": rng.choice((0, 1, 1, 3, 5)),
    }


class Conversation:
    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.hosts = []
        for number, networks in enumerate(SUBNETS):
            host = Host(*networks, seed=(seed, number), **config_of(rng))
            for port, service in SERVICES.items():
                host.serve(service, TCP, port)
                host.serve(service, UDP, port)
            if rng.random() < 0.2:
                host.policy(f"10.{3 + number}.0.6/32", rng.choice((MIRROR, DROP, REFUSE)))
            self.hosts.append(host)
        self.sockets: list[Tcp] = []
        self.spoil = Spoiler(rng, rng.choice((0.0, 0.02, 0.1, 0.3, 0.8)))
        self.wire: deque[tuple[Host, bytes, int]] = deque()
        self.packets = 0
        self.at_rest = 0

    def run(self, count: Callable[[dict[str, int]], object] = dict) -> None:
        """count: is given each host's counters at the end."""
        for each in range(self.rng.randint(10, 150)):
            if each < 4 or self.rng.random() < 0.3:
                self.application()
            self.carry(self.rng.choice((0, 1, 2, 10, 100)))
            if self.rng.random() < 0.4:
                self.pass_time()
        self.end()
        for host in self.hosts:
            count(host.counters)
            host.free()

    # The wire

    def take(self, host: Host) -> None:
        """Judge what a host sends and put it on the wire."""
        packets = host.take()
        host.take_ready()
        deadline = host.deadline
        if deadline is not None and deadline <= host.now:
            # More may wait to be sent than one entry is allowed to loop; it must come to an end.
            self.at_rest += 1
            assert self.at_rest < STORM, "a host is never at rest"
        else:
            self.at_rest = 0
        for packet in packets:
            well_formed(packet, host)
            for piece, size in self.spoil(packet):
                self.wire.append((self.receiver(piece, host), piece, size))

    def receiver(self, packet: bytes, sender: Host) -> Host:
        """By the destination; if that is nobody's, the host that did not send it."""
        it = Packet(packet)
        for host, prefixes in zip(self.hosts, PREFIXES, strict=True):
            if it.addresses()[len(it.addresses()) // 2 :].startswith(prefixes[it.v6]):
                return host
        return self.hosts[sender is self.hosts[0]]

    def carry(self, most: int) -> None:
        for host in self.hosts:
            self.take(host)
        for _ in range(min(most, len(self.wire))):
            if self.rng.random() < self.spoil.rate / 4:
                self.wire.rotate(self.rng.randint(-3, 3))
            host, packet, size = self.wire.popleft()
            self.packets += 1
            if packet:
                host.input(packet, size)
            if self.rng.random() < 0.5:
                self.take(host)

    def pass_time(self) -> None:
        now = self.hosts[0].now
        deadlines = [host.deadline for host in self.hosts if host.deadline is not None]
        first = max(min(deadlines, default=now), now) - now
        jump = self.rng.choice((first, first, first, first, 1, MS, 50 * MS, SECOND, 100 * SECOND))
        if self.rng.random() < 0.01:
            jump = self.rng.choice((25 * DAY, 50 * DAY))
        for host in self.hosts:
            host.advance(jump)

    # The applications

    def application(self) -> None:
        try:
            if len(self.sockets) < 3 or self.rng.random() < 0.15:
                self.open()
            else:
                self.use(self.rng.choice(self.sockets))
        except CallError:
            pass

    def open(self) -> None:
        number = self.rng.randrange(2)
        v6 = self.rng.random() < 0.4
        socket = self.hosts[number].tcp(v6)
        self.sockets.append(socket)
        if self.rng.random() < 0.3:
            socket.bind("::" if v6 else "0.0.0.0", LISTENING)
            socket.listen(self.rng.choice((0, 1, 16)))
        else:
            self.connect(socket, number, v6)

    def connect(self, socket: Tcp, number: int, v6: bool) -> None:
        """To the other host or to itself; now and then both at once (simultaneous open)."""
        target = 1 - number if self.rng.random() < 0.85 else number
        address = ADDRESSES[target][1 if v6 else self.rng.choice((0, 0, 2))]
        if self.rng.random() < 0.1:
            socket.bind(ADDRESSES[number][v6], 5000 + number)
            socket.connect(address, 5000 + target)
        else:
            socket.connect(address, self.rng.choice((LISTENING, LISTENING, 7, 9, 19, 81)))

    def use(self, socket: Tcp) -> None:
        what = self.rng.random()
        if what < 0.35:
            size = self.rng.choice((1, 100, 1460, 5000, 100_000))
            socket.send(bytes(size), self.rng.random() < 0.1, self.rng.random() < 0.05)
        elif what < 0.60:
            socket.receive(self.rng.choice((0, 1, 1000, 1 << 20)), self.rng.random() < 0.1)
        elif what < 0.70:
            self.accept(socket)
        elif what < 0.78:
            socket.shutdown(self.rng.randrange(-1, 4))
        elif what < 0.88:
            value = self.rng.choice((-1, 0, 1, 2, 100, 1000, 65535, 1 << 20, 1 << 31, -(1 << 62)))
            level = self.rng.choice((1, 6))
            socket.set_option(level, self.rng.choice(OPTIONS[level]), value)
            socket.get_option(level, self.rng.choice(OPTIONS[level]))
        elif what < 0.92:
            socket.poll()
            socket.listen(self.rng.randrange(4))
        else:
            self.sockets.remove(socket)
            (socket.close if self.rng.random() < 0.7 else socket.abort)()

    def accept(self, socket: Tcp) -> None:
        child = socket.accept()
        if child is not None:
            self.sockets.append(child)

    # The end

    def end(self) -> None:
        """Everybody closes, the wire is good from now on, and time passes."""
        self.spoil.rate = 0.0
        self.rng.shuffle(self.sockets)
        for socket in self.sockets:
            (socket.close if self.rng.random() < 0.8 else socket.abort)()
        self.sockets.clear()
        if self.rng.random() < 0.7:
            self.wind_down()
        for host in self.hosts:  # what is left: services that wait for somebody who gave up
            host.abort_all()
        self.wind_down()
        for host in self.hosts:
            assert host.live_packets == 0, "packets are left"
            assert host.connections == 0, "connections are left"

    def wind_down(self) -> None:
        """Until nothing is on the wire and no timer runs."""
        for _ in range(END):
            self.carry(100)
            for host in self.hosts:
                self.take(host)
            deadlines = [host.deadline for host in self.hosts if host.deadline is not None]
            if not self.wire and not deadlines:
                return
            if not self.wire:
                jump = max(min(deadlines) - self.hosts[0].now, 0)
                for host in self.hosts:
                    host.advance(jump)
        raise AssertionError("timers that never end")


def well_formed(packet: bytes, host: Host) -> None:
    """Lengths and checksums of a packet that a host sends; a mirror repeats what it gets."""
    if "ip_mirrored" in host.counters:
        return
    it = Packet(packet)
    length = 40 + it.get(4, "!H") if it.v6 else it.get(2, "!H")
    assert length == len(packet), "a wrong length"
    assert it.v6 or checksum(packet[: it.header]) == 0, "a wrong IP checksum"
    found = it.transport()
    if found is None or (not it.v6 and it[6] & 0x20) or (it.v6 and it[6] == 44):
        return  # a fragment
    protocol, at = found
    pseudo = b""
    if protocol in (TCP, UDP, ICMPV6):
        pseudo = it.addresses() + struct.pack("!II", len(packet) - at, protocol)
    assert checksum(pseudo + packet[at:]) == 0, "a wrong checksum"
