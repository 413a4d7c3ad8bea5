"""A long mixed conversation of four hosts, two routers and a bad wire; prints a line per capture.

usage: mixed.py SEED DIRECTORY

TCP of both families with small and large writes, half-closes, resets and refusals; UDP with and
without somebody there, and with fragments; pings; a path with a smaller MTU; losses, duplicates,
reordering and bit errors; a partition; services that live in the core. tests/scenario/virtual/
test_determinism.py runs it in several processes.
"""

from __future__ import annotations

import hashlib
import random
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pystack.testing import Host, VirtualNetwork

ADDRESSES = {  # of c one of many
    "a": ("10.1.0.1", "fd01::1"),
    "b": ("10.2.0.1", "fd02::1"),
    "c": ("10.3.0.77", "fd03::77"),
    "d": ("10.4.0.1", "fd04::1"),
}
WEB, NOBODY, ECHO, TALK = 80, 81, 7, 5000


def address(host: Host, v6: bool) -> str:
    return ADDRESSES[host.name][v6]


def family(v6: bool) -> int:
    return socket.AF_INET6 if v6 else socket.AF_INET


def answer(connection: Any, rng: random.Random) -> None:
    """Read to the end, or not; say something; close in one of many ways."""
    with connection, suppress(OSError):
        connection.settimeout(60)
        ending = rng.randrange(4)
        while data := connection.recv(rng.choice((100, 4000, 100_000))):
            connection.sendall(data[: rng.choice((1, 1000))])
            if ending == 0:
                return  # with text unread: a reset
        if ending == 1:
            connection.sendall(bytes(20_000))


def serve(net: VirtualNetwork, host: Host, v6: bool, rng: random.Random) -> None:
    with host.create_server((address(host, v6), WEB), family=family(v6)) as listener:
        listener.settimeout(200)
        with suppress(TimeoutError):
            while True:
                connection, _ = listener.accept()
                net.spawn(answer, connection, random.Random(rng.random()))


def ask(net: VirtualNetwork, host: Host, other: Host, v6: bool, rng: random.Random) -> None:
    for _ in range(6):
        net.sleep(rng.random() * 5)
        port = rng.choice((WEB, WEB, WEB, NOBODY, ECHO))
        with suppress(OSError), host.create_connection((address(other, v6), port), 60) as client:
            for _ in range(rng.randrange(1, 6)):
                client.sendall(bytes(rng.choice((1, 10, 1000, 60_000))))
                net.sleep(rng.choice((0, 0, 0.001, 0.3)))
                if rng.random() < 0.5:
                    client.recv(1000)
            client.shutdown(socket.SHUT_WR)
            while client.recv(100_000):
                pass


def talk(net: VirtualNetwork, host: Host, other: Host, v6: bool, rng: random.Random) -> None:
    with host.socket(family(v6), socket.SOCK_DGRAM) as datagrams:
        datagrams.bind((address(host, v6), TALK))
        datagrams.settimeout(1)
        for _ in range(12):
            with suppress(OSError):
                size = rng.choice((0, 100, 1400, 4000))
                datagrams.sendto(bytes(size), (address(other, v6), rng.choice((ECHO, NOBODY))))
                datagrams.recvfrom(10_000)


def ping(net: VirtualNetwork, host: Host, other: Host, v6: bool, rng: random.Random) -> None:
    protocol = 58 if v6 else 1
    with host.socket(family(v6), socket.SOCK_DGRAM, protocol) as echo:
        echo.settimeout(1)
        for number in range(8):
            with suppress(OSError):
                head = bytes((128 if v6 else 8, 0, 0, 0, 0, 0, 0, number))
                echo.sendto(head + bytes(rng.choice((8, 1000, 3000))), (address(other, v6), 0))
                echo.recvfrom(10_000)


def converse(seed: int, directory: Path) -> list[Path]:
    rng = random.Random(seed)
    with VirtualNetwork(seed, limit="2h") as net:
        a = net.host(*ADDRESSES["a"], name="a")
        b = net.host(*ADDRESSES["b"], name="b")
        c = net.host("10.3.0.0/24", "fd03::/64", name="c")
        d = net.host(*ADDRESSES["d"], name="d")
        left = net.router("10.9.0.1", "fd09::1", name="left")
        right = net.router("10.9.0.2", "fd09::2", name="right")
        net.link(a, left, delay="3ms")
        net.link(b, left, delay="1ms", rate="20Mbit/s", queue=30)
        middle = net.link(
            left, right, delay="20ms", jitter="2ms", loss=0.01, duplicate=0.005, corrupt=0.002,
            reorder=0.01, mtu=1400,
        )  # fmt: skip
        net.link(c, right)
        net.link(d, right, loss=0.05)
        hosts = (a, b, d)
        c.serve("echo", "tcp", ECHO)
        c.serve("echo", "udp", ECHO)
        paths = net.pcap(directory)
        roles: tuple[Callable[..., None], ...] = (ask, ask, talk, ping)
        for host in hosts:
            for v6 in (False, True):
                net.spawn(serve, net, host, v6, random.Random(rng.random()))
        for host in hosts:
            others = [each for each in (a, b, c, d) if each is not host]
            for v6 in (False, True):
                for role in roles:
                    other = rng.choice(others)
                    net.spawn(role, net, host, other, v6, random.Random(rng.random()))
                with suppress(ValueError):
                    net.spawn(ask, net, host, host, v6, random.Random(rng.random()))
        net.at(8, middle.partition)
        net.at(11, middle.heal)
        net.run(until=400)
    return paths


def main() -> None:
    for path in converse(int(sys.argv[1]), Path(sys.argv[2])):
        data = path.read_bytes()
        print(path.name, len(data), hashlib.sha256(data).hexdigest())


if __name__ == "__main__":
    main()
