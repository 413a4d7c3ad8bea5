"""Shoot volleys of packets at both hosts, each with two UDP sockets, until they say different
things.
"""

from __future__ import annotations

import errno
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from differential.hosts import HOST, KIND, PEER, Kernel, Virtual
from differential.packets import CLIENT, PEER_PORT, SERVER, Shot, Volley
from scenario import ip_wire

# Nothing is held back because there was much of it.
SETTINGS = {
    "net.ipv4.icmp_ratelimit": "0",
    "net.ipv4.icmp_msgs_per_sec": "1000000",
    "net.ipv4.icmp_msgs_burst": "1000000",
    "net.ipv6.icmp.ratelimit": "0",
}
ICMP, IGMP, ICMPV6 = 1, 2, 58
NOISE = {131, 143, *range(133, 138)}  # of groups, and of neighbours
SHOWN = 60  # bytes of an answer


@dataclass(frozen=True)
class Hit:
    """A packet, and what each host answered and its sockets heard, in lines."""

    shot: Shot
    kernel: tuple[str, ...]
    virtual: tuple[str, ...]

    @property
    def differs(self) -> bool:
        return self.kernel != self.virtual


class Sockets:
    """One that is bound, and one that is connected and has sent something."""

    def __init__(self, host: Kernel | Virtual, family: int) -> None:
        self.named: dict[str, Any] = {}
        for name, port in (("server", SERVER), ("client", CLIENT)):
            made = host.open_datagram_socket(KIND[family])
            made.setblocking(False)
            made.bind((HOST[family], port))
            self.named[name] = made
        self.named["client"].connect((PEER[family], PEER_PORT))
        self.named["client"].send(b"x")

    def heard(self) -> list[str]:
        lines = []
        for name, each in self.named.items():
            with suppress(BlockingIOError):
                while True:
                    lines.append(f"{name}: {hear(each)}")
        return lines

    def close(self) -> None:
        for each in self.named.values():
            each.close()


def hear(one: Any) -> str:
    try:
        data, source = one.recvfrom(1 << 16)
    except BlockingIOError:
        raise
    except OSError as problem:
        return errno.errorcode.get(problem.errno or 0, str(problem))
    return f"{len(data)} bytes {data[:8].hex()} from {source[0]} {source[1]}"


def exchange(kernel: Kernel, virtual: Virtual, volley: Volley) -> list[Hit]:
    """All hits up to the first that differs, or to the end."""
    hosts = (kernel, virtual)
    for host in hosts:
        host.start(volley.family, ("", 0), ("", 0))
    sockets = [Sockets(host, volley.family) for host in hosts]
    hits: list[Hit] = []
    try:
        for host in hosts:
            host.take()
        for shot in volley.shots:
            said = []
            for host, own in zip(hosts, sockets, strict=True):
                with suppress(OSError):  # a TUN device does not take just anything
                    host.inject(shot.packet, time.monotonic_ns())
                answers = [line for line in map(read, host.take()) if line]
                said.append((*answers, *own.heard()))
            hits.append(Hit(shot, *said))
            if hits[-1].differs:
                break
    finally:
        for own in sockets:
            own.close()
        for host in hosts:
            host.end()
    return hits


def read(packet: bytes) -> str:
    """An answer in a line, without what each host chooses; empty: it is no answer."""
    ip = ip_wire.read(packet)
    if ip.protocol in (IGMP, ip_wire.HOP_BY_HOP) or (ip.protocol == ICMPV6 and ip.data[0] in NOISE):
        return ""
    words = f", fragment {ip.offset}{'+' if ip.more else ''}" if ip.more or ip.offset else ""
    header = packet[0] * 4 & 60
    if packet[0] >> 4 == 4 and header > 20:
        words += f", options {packet[20:header].hex()}"
    return (
        f"< {ip.source} > {ip.destination}, protocol {ip.protocol}, TOS {ip.tos:#x}, TTL {ip.ttl}"
        f"{words}, {len(ip.data)} bytes {shown(ip.protocol, ip.data)}"
    )


def shown(protocol: int, body: bytes) -> str:
    """Without checksums, whose data may be what each host chooses."""
    at = 2 if protocol in (ICMP, ICMPV6) else 6
    return (body[:at] + b"--" + body[at + 2 :])[:SHOWN].hex()


def show(volley: Volley, hits: list[Hit]) -> str:
    lines = [f"seed {volley.seed}, IPv{volley.family}"]
    for hit in hits:
        lines.append(f"> {hit.shot.words}")
        for name, said in (("kernel", hit.kernel), ("pystack", hit.virtual)):
            mark = "!" if hit.differs else " "
            lines += [f"{mark} {name:8}{line}" for line in said]
    return "\n".join(lines)
