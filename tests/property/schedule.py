"""A random schedule of two applications over a random link, all of it from one seed."""

from __future__ import annotations

import random
import socket
import struct
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pystack
from pystack.core.tcp.congestion.interface import NAMES
from pystack.tcpconfig import TcpConfig
from pystack.testing import VirtualNetwork

PORT = 80
NO_COOKIES = 0x207  # data in SYNs, both ways of opening, from the first connection on


class GaveUpError(OSError):
    """An application that ends its connection by a reset."""


@dataclass
class Side:
    """What one application did and saw."""

    data: bytes
    received: bytearray = field(default_factory=bytearray)
    ended: bool = False  # it has seen the end of the stream
    wrote: bool = False  # all of its data, without an error
    error: OSError | None = None


def random_link(rng: random.Random) -> dict[str, Any]:
    """From clean to awful, each effect on or off."""
    link: dict[str, Any] = {"delay": rng.choice([0.0001, 0.001, 0.02, 0.1, 0.4])}
    for name, values in {
        "jitter": [0.001, 0.02],
        "rate": [2e5, 2e6, 1e8],
        "queue": [3, 20, 200],
        "loss": [0.01, 0.05, 0.2],
        "reorder": [0.02, 0.2],
        "reorder_by": [0.002, 0.05],
        "duplicate": [0.02, 0.2],
        "corrupt": [0.01, 0.05],
        "mark": [2, 20],
        "mtu": [576, 1280, 1400],
    }.items():
        if rng.random() < 0.35:
            link[name] = rng.choice(values)
    if "loss" in link and rng.random() < 0.5:
        link["burst"] = rng.choice([2, 4])
    return link


def random_config(rng: random.Random, **changes: Any) -> TcpConfig:
    changes["congestion_control"] = rng.choice(NAMES)
    if rng.random() < 0.3:
        changes["receive_buffer"] = (4096, *[rng.choice([8192, 65536])] * 2)
    if rng.random() < 0.3:
        changes["send_buffer"] = (4096, *[rng.choice([8192, 65536])] * 2)
    for name, values in {
        "ecn": [0, 1],
        "timestamps": [0],
        "sack": [False],
        "window_scaling": [False],
        "mtu_probing": [1, 2],
        "notsent_lowat": [1, 20_000],
        "recovery": [0],
    }.items():
        if rng.random() < 0.2:
            changes[name] = rng.choice(values)
    return TcpConfig(**changes)


def check(seed: int) -> None:
    """Run a schedule; AssertionError if a promise is broken."""
    rng = random.Random(seed)
    with VirtualNetwork(seed, limit="2d") as net:
        eager = rng.random() < 0.2
        both = {"fastopen": NO_COOKIES} if eager else {}
        a = net.host("10.0.0.1", name="a", tcp=random_config(rng, **both))
        b = net.host("10.0.0.2", name="b", tcp=random_config(rng, **both))
        ends = [a, b]
        if rng.random() < 0.3:
            router = net.router("10.9.0.1", name="r")
            first, second = random_link(rng), random_link(rng)
            if "corrupt" in first:
                # One link inverts one bit of a packet, which no checksum misses; a second one may
                # invert another so that the sum is right again (RFC 1071), as in seed 2978.
                second.pop("corrupt", None)
            net.link(a, router, **first)
            net.link(router, b, **second)
        else:
            net.link(a, b, **random_link(rng))
        disturb(net, rng)
        sides = [Side(rng.randbytes(rng.choice([0, 1, 5000, 60_000, 200_000]))) for _ in ends]
        choices = [random.Random(rng.random()) for _ in range(4)]

        def serve() -> None:
            with b.create_server(("10.0.0.2", PORT)) as listener:
                listener.settimeout(4000)
                if eager:
                    listener.setsockopt(socket.IPPROTO_TCP, pystack.TCP_FASTOPEN, 1)
                try:
                    connection, _ = listener.accept()
                except TimeoutError as problem:
                    sides[1].error = problem
                    return
            talk(connection, sides[1], choices[2], choices[3])

        def call() -> None:
            connection = a.socket()
            if eager:
                connection.setsockopt(socket.IPPROTO_TCP, pystack.TCP_FASTOPEN_CONNECT, 1)
            try:
                connection.connect(("10.0.0.2", PORT))
            except OSError as problem:
                connection.close()
                sides[0].error = problem
                return
            talk(connection, sides[0], choices[0], choices[1])

        def talk(
            connection: socket.socket, side: Side, writing: random.Random, reading: random.Random
        ) -> None:
            connection.settimeout(20_000)
            with connection:
                writer = net.spawn(write, net, connection, side, writing)
                read(net, connection, side, reading)
                writer.result()

        net.spawn(serve)
        net.sleep(0)
        net.spawn(call)
        net.run()
        judge(sides)
        assert net.settle("12h"), f"something goes on for ever\n{net.report()}"
        for host in ends:
            assert host.connections() == [], net.report()
            assert host._live_packets() == 0
            assert host.deadline is None
        assert net._ether.live_packets == 0


def disturb(net: VirtualNetwork, rng: random.Random) -> None:
    """Partitions and holds that end, and settings that change."""
    for _ in range(rng.choice([0, 0, 1, 2])):
        link = rng.choice(net.links)
        begins = rng.uniform(0, 5)
        ends = begins + rng.choice([0.01, 0.5, 20])
        what, undo = rng.choice([(link.partition, link.heal), (link.hold, link.release)])
        net.at(begins, what)
        net.at(ends, undo)
        net.at(ends, partial(link.set, delay=rng.choice([0.001, 0.1])))


def write(net: VirtualNetwork, connection: socket.socket, side: Side, rng: random.Random) -> None:
    sent = 0
    try:
        while sent < len(side.data):
            piece = side.data[sent : sent + rng.choice([1, 100, 1448, 20_000, 100_000])]
            sent += connection.send(piece)
            if rng.random() < 0.1:
                net.sleep(rng.choice([0.001, 0.05, 1]))
            if rng.random() < 0.05:
                change(connection, rng)
        connection.shutdown(socket.SHUT_WR)
        side.wrote = True
    except OSError as problem:
        side.error = side.error or problem


def change(connection: socket.socket, rng: random.Random) -> None:
    """Options that move memory or time; or a reset."""
    level, option, value = rng.choice([
        (socket.SOL_SOCKET, socket.SO_SNDBUF, rng.choice([4096, 30_000, 1 << 20])),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, rng.choice([4096, 30_000, 1 << 20])),
        (socket.SOL_SOCKET, pystack.SO_MAX_PACING_RATE, rng.choice([10_000, 1_000_000])),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, socket.TCP_MAXSEG, rng.choice([100, 536])),
        (socket.SOL_SOCKET, socket.SO_LINGER, None),
    ])  # fmt: skip
    if value is not None:
        connection.setsockopt(level, option, value)
    elif rng.random() < 0.2:
        connection.setsockopt(level, option, struct.pack("ii", 1, 0))
        connection.close()
        raise GaveUpError


def read(net: VirtualNetwork, connection: socket.socket, side: Side, rng: random.Random) -> None:
    try:
        while data := connection.recv(rng.choice([100, 1448, 65536])):
            side.received += data
            if rng.random() < 0.02:
                net.sleep(rng.choice([0.001, 0.05, 3]))
        side.ended = True
    except OSError as problem:
        side.error = side.error or problem


def judge(sides: list[Side]) -> None:
    """What arrived is what was sent, from its beginning; whole where the end was seen.

    An error is told once: who reads after it, though it was a write that heard of it, sees an end
    (as on Linux).
    """
    for side, other in (sides, reversed(sides)):
        assert other.data.startswith(bytes(side.received)), "other bytes than were sent"
        if side.ended and side.error is None:
            assert bytes(side.received) == other.data, "the end came too early"
        if side.error is None:
            assert side.ended
            assert side.wrote
