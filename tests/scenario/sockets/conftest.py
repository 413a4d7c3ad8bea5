"""Two stacks joined by a wire in memory; beside them the kernel's loopback, for the same claims."""

from __future__ import annotations

import errno
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import pytest

from pystack import PipeDevice, Stack

NETWORKS = (("10.1.0.0/24", "fd01::/64"), ("10.2.0.0/24", "fd02::/64"))
PATIENCE = 20  # seconds until a call that should end counts as hanging


@dataclass
class Pair:
    """A stack that serves and one that calls."""

    near: Stack  # 10.1.0.0/24, fd01::/64
    far: Stack  # 10.2.0.0/24, fd02::/64


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = PipeDevice.pair()
    with Stack(*NETWORKS[0], device=near) as one, Stack(*NETWORKS[1], device=far) as other:
        yield Pair(one, other)


class Talk:
    """A connection between two stacks that their caller turns."""

    def __init__(self, near: Stack, far: Stack, client: socket.socket) -> None:
        self.near, self.far = near, far
        self.client = client
        with far.create_server(("10.2.0.5", 80)) as listener:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            assert client.connect_ex(("10.2.0.5", 80)) == errno.EINPROGRESS
            self.exchange(3)
            self.server, _ = listener.accept()

    def exchange(self, times: int = 1) -> None:
        for _ in range(times):
            self.near.poll()
            self.far.poll()

    def heard(self) -> bytes:
        """What has come to the server, from what the near stack has sent by itself."""
        self.far.poll()
        try:
            return self.server.recv(100)
        except BlockingIOError:
            return b""


@pytest.fixture
def talk() -> Iterator[Talk]:
    near, far = PipeDevice.pair()
    with (
        Stack("10.1.0.0/24", device=near, driver="caller") as one,
        Stack("10.2.0.0/24", device=far, driver="caller") as other,
        one.socket() as client,
    ):
        talk = Talk(one, other, client)
        with talk.server:
            yield talk


class World:
    """Where sockets live: a host that serves, and one that calls."""

    def __init__(self, name: str, family: int, pair: Pair | None) -> None:
        self.name = name
        self.family = family
        self.pair = pair
        v6 = family == socket.AF_INET6
        self.host = self.client_host = "::1" if v6 else "127.0.0.1"
        if pair is not None:
            self.host = "fd01::5" if v6 else "10.1.0.5"
            self.client_host = "fd02::9" if v6 else "10.2.0.9"
        self.any = "::" if v6 else "0.0.0.0"
        # An address that nobody here has.
        self.foreign = "2001:db8::1" if v6 else "203.0.113.1"
        self.ending = ExitStack()

    def fresh(self, kind: int = socket.SOCK_STREAM, *, near: bool = False) -> socket.socket:
        """A new socket of the calling host, or of the serving one."""
        made: socket.socket
        if self.pair is None:
            made = socket.socket(self.family, kind)
        else:
            made = (self.pair.near if near else self.pair.far).socket(self.family, kind)
        made.settimeout(PATIENCE)
        return self.ending.enter_context(made)

    def bound(self, kind: int = socket.SOCK_STREAM, host: str | None = None) -> socket.socket:
        made = self.fresh(kind, near=True)
        made.bind((self.host if host is None else host, 0))
        return made

    def full(self) -> tuple[socket.socket, socket.socket, int]:
        """Both ends of a connection whose caller has sent all that it can, and how much."""
        client, server = self.connected()
        client.setblocking(False)
        sent = 0
        # Full is what stays so: the other end's buffer fills a little later.
        while select.select([], [client], [], 0.1)[1]:
            with suppress(BlockingIOError):
                while True:
                    sent += client.send(bytes(1 << 16))
        client.settimeout(PATIENCE)
        return client, server, sent

    def listener(self, backlog: int = 16) -> socket.socket:
        made = self.bound()
        made.listen(backlog)
        return made

    def connected(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a connection: the caller's, the server's."""
        with self.listener() as listener:
            client = self.fresh()
            client.connect(listener.getsockname())
            server, _ = listener.accept()
        server.settimeout(PATIENCE)
        return client, self.ending.enter_context(server)


@pytest.fixture(params=["kernel", "pystack"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """IPv4."""
    yield from world_of(request, socket.AF_INET)


@pytest.fixture(params=["kernel", "pystack"])
def world6(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "kernel":
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError:
            pytest.skip("the kernel has no IPv6 loopback")
    yield from world_of(request, socket.AF_INET6)


def world_of(request: pytest.FixtureRequest, family: int) -> Iterator[World]:
    pair = request.getfixturevalue("pair") if request.param == "pystack" else None
    made = World(request.param, family, pair)
    with made.ending:
        yield made


@pytest.fixture
def stack_world(pair: Pair) -> Iterator[World]:
    """pystack only, for what the kernel does not do."""
    made = World("pystack", socket.AF_INET, pair)
    with made.ending:
        yield made


class Call:
    """A call in a thread, such as one that blocks."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.function = function
        self.arguments = arguments
        self.outcome: object = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self.function(*self.arguments)  # type: ignore[operator]
        except BaseException as problem:
            self.outcome = problem

    def result(self) -> object:
        """What it returned; raises what it raised."""
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), f"{self.function} hangs"
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest.fixture
def in_thread() -> type[Call]:
    return Call
