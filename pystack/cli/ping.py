"""`pystack ping`: echo requests from a virtual host, through the stack.

Called by: command.
RFCs: 792, 4443 section 4.
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

import click

from pystack.cli import signals
from pystack.cli.client import (
    Client,
    ClientOptions,
    client_for,
    client_options,
    resolve,
    why_unreachable,
)
from pystack.cli.options import Address

if TYPE_CHECKING:
    from pystack.socket import Socket

HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number
ECHO_REQUEST = {4: 8, 6: 128}
PROTOCOL = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
MAX_DATA = 65507


@dataclass
class Statistics:
    """What came back."""

    sent: int = 0
    received: int = 0
    duplicates: int = 0
    errors: int = 0
    times_ms: list[float] = field(default_factory=list)

    def text(self, host: str, seconds: float) -> str:
        """As ping(8) says it."""
        parts = [f"{self.sent} packets transmitted", f"{self.received} received"]
        if self.duplicates:
            parts.append(f"+{self.duplicates} duplicates")
        if self.errors:
            parts.append(f"+{self.errors} errors")
        lost = 100 * (self.sent - self.received) / self.sent if self.sent else 0
        parts += [f"{lost:.6g}% packet loss", f"time {1000 * seconds:.0f}ms"]
        lines = [f"--- {host} ping statistics ---", ", ".join(parts)]
        if self.times_ms:
            times = self.times_ms
            numbers = (min(times), fmean(times), max(times), pstdev(times))
            shown = "/".join(f"{number:.3f}" for number in numbers)
            lines.append(f"rtt min/avg/max/mdev = {shown} ms")
        return "\n".join(lines)


@click.command()
@click.argument("host")
@click.option("-c", "--count", type=click.IntRange(1), help="Stop after so many.")
@click.option(
    "-i",
    "--interval",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Seconds from one to the next.",
)
@click.option(
    "-s",
    "--size",
    type=click.IntRange(0, MAX_DATA),
    default=56,
    show_default=True,
    help="Bytes of data.",
)
@click.option(
    "-W",
    "--wait",
    type=click.FloatRange(0, min_open=True),
    default=2.0,
    show_default=True,
    help="Seconds to wait for the last reply.",
)
@client_options
def ping(
    host: str,
    count: int | None,
    interval: float,
    size: int,
    wait: float,
    options: ClientOptions,
) -> int:
    """Ping HOST from a virtual host, through the stack.

    HOST is an address of this machine, or one that it forwards to.

    \b
    pystack ping -c 3 10.3.0.1
    pystack ping -c 3 10.4.0.1 --net 10.4.0.0/24 --source 10.4.0.77
    """
    address = resolve(host, options)
    statistics = Statistics()
    with client_for(address, options) as client:
        click.echo(f"PING {host} ({address}) from {client.source}: {size} data bytes")
        pinger = Pinger(client, address, bytes(i & 0xFF for i in range(size)), statistics)
        started = time.monotonic()
        with suppress(signals.Stop), pinger.socket:
            pinger.run(count, interval, wait)
        click.echo()
        click.echo(statistics.text(host, time.monotonic() - started))
        if statistics.received:
            return 0
        if reason := why_unreachable(address):
            click.echo(f"pystack: {reason}", err=True)
        return 1


class Pinger:
    """Sends requests at their times and takes the replies in between."""

    def __init__(self, client: Client, host: Address, data: bytes, statistics: Statistics) -> None:
        self.host = host
        self.data = data
        self.statistics = statistics
        self.sent_at: dict[int, float] = {}  # by sequence number, until the reply
        self.socket: Socket = client.stack.socket(
            client.family, socket.SOCK_DGRAM, PROTOCOL[host.version]
        )
        with suppress(OSError):
            self.socket.setsockopt(*TTL_WANTED[host.version], 1)
        self.socket.bind((str(client.source), 0))

    def run(self, count: int | None, interval: float, wait: float) -> None:
        """Until `count` requests are answered or waited for; for ever if that is None."""
        sequence = 0
        next_at = time.monotonic()
        while count is None or sequence < count:
            sequence += 1
            self.send(sequence)
            next_at += interval
            last = sequence == count
            self.receive_until(time.monotonic() + wait if last else next_at, to_the_last=last)

    def send(self, sequence: int) -> None:
        head = HEADER.pack(ECHO_REQUEST[self.host.version], 0, 0, 0, sequence & 0xFFFF)
        self.sent_at[sequence & 0xFFFF] = time.monotonic()
        self.statistics.sent += 1
        try:
            self.socket.sendto(head + self.data, (str(self.host), 0))
        except OSError as problem:
            self.failed(problem)

    def receive_until(self, end: float, to_the_last: bool) -> None:
        """Take replies until a time; or earlier, when no request is left without one."""
        while (left := end - time.monotonic()) > 0 and not (to_the_last and not self.sent_at):
            self.socket.settimeout(left)
            try:
                with signals.interruptible():
                    packet, ancillary, _, source = self.socket.recvmsg(65535, 128)
            except TimeoutError:
                return
            except OSError as problem:
                self.failed(problem)
                continue
            self.received(packet, ancillary, source[0])

    def received(self, packet: bytes, ancillary: list[tuple[int, int, bytes]], source: str) -> None:
        now = time.monotonic()
        sequence = HEADER.unpack_from(packet)[4]
        sent_at = self.sent_at.pop(sequence, None)
        text = f"{len(packet)} bytes from {source}: icmp_seq={sequence}"
        for _, _, value in ancillary:
            text += f" ttl={struct.unpack_from('i', value)[0]}"
        if sent_at is None:
            self.statistics.duplicates += 1
            text += " (DUP!)"
        else:
            self.statistics.received += 1
            self.statistics.times_ms.append(1000 * (now - sent_at))
            text += f" time={1000 * (now - sent_at):.3g} ms"
        if packet[HEADER.size :] != self.data:
            text += " (wrong data)"
        click.echo(text)

    def failed(self, problem: OSError) -> None:
        """An ICMP error came back, or there is no way to the host."""
        self.statistics.errors += 1
        click.echo(f"From {self.host}: {problem.strerror}")


TTL_WANTED: dict[int, tuple[Any, Any]] = {
    4: (socket.IPPROTO_IP, 12),  # IP_RECVTTL of Linux
    6: (socket.IPPROTO_IPV6, 51),  # IPV6_RECVHOPLIMIT
}
