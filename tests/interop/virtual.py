"""What the tests of a whole stack share: a stack on a TUN interface, data, and its transfer."""

from __future__ import annotations

import hashlib
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from interop.harness import ROOT

import pystack

if TYPE_CHECKING:
    from interop.harness import Namespace

NETS = ("10.3.0.0/24", "fd03::/64")
KERNEL = {4: "10.3.0.1", 6: "fd03::1"}  # the namespace's own side
HOST = {4: "10.3.0.5", 6: "fd03::5"}  # a virtual host
KIND = {4: socket.AF_INET, 6: socket.AF_INET6}
SECONDS = 30  # for anything to happen
MB = 1_000_000

both_families = pytest.mark.parametrize("family", [4, 6], ids=["v4", "v6"])


@contextmanager
def virtual_net(
    namespace: Namespace, *networks: str, mtu: int = 1500, **more: Any
) -> Iterator[pystack.Stack]:
    """A stack on an interface of the namespace; at its end no packet may be left in it.

    more: as for TunDevice.
    """
    networks = networks or (NETS if mtu >= 1280 else NETS[:1])
    with pystack.Stack(*networks, device=namespace.tun(*networks, mtu=mtu, **more)) as stack:
        yield stack
        wait_until(lambda: not stack._live_packets())


def wait_until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Look again until something is true; nobody tells when."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not after {seconds} s"
        time.sleep(0.002)


def pattern(length: int) -> bytes:
    """Random bytes, always the same, that repeat only after a prime number of them."""
    block = random.Random(9293).randbytes(min(length, 1_000_003))
    return (block * (length // len(block) + 1))[:length] if block else b""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def receive_all(connection: socket.socket) -> str:
    """Read until the end of the stream; the SHA-256 of everything."""
    seen = hashlib.sha256()
    buffer = memoryview(bytearray(1 << 18))
    while count := connection.recv_into(buffer):
        seen.update(buffer[:count])
    return seen.hexdigest()


def exchange(connection: socket.socket, data: bytes) -> str:
    """Send everything, then the end, while reading; the SHA-256 of what came until its end."""
    with Background(send_all, connection, data):
        return receive_all(connection)


def send_all(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


class Background(threading.Thread):
    """A function that runs in a thread until the end of the block, which raises what it raises."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        super().__init__(daemon=True)
        self._function = function
        self._arguments = arguments
        self._problem: BaseException | None = None
        self.result: Any = None

    def run(self) -> None:
        try:
            self.result = self._function(*self._arguments)
        except BaseException as problem:
            self._problem = problem

    def __enter__(self) -> Background:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        self.join(SECONDS)
        if kind is None:
            assert not self.is_alive(), f"{self._function.__name__} has not ended"
            if self._problem is not None:
                raise self._problem


def kernel_listener(namespace: Namespace, family: int) -> socket.socket:
    """A listener of the namespace's kernel, at a port of its choice."""
    listener = namespace.socket(KIND[family], socket.SOCK_STREAM)
    listener.settimeout(SECONDS)
    listener.bind((KERNEL[family], 0))
    listener.listen(128)
    return listener


def datagrams(namespace: Namespace, family: int, port: int) -> socket.socket:
    """A UDP socket of the namespace's kernel, connected to a port of the virtual host."""
    client = namespace.socket(KIND[family], socket.SOCK_DGRAM)
    client.settimeout(SECONDS)
    client.connect((HOST[family], port))
    return client


def python(text: str, *arguments: str) -> list[str]:
    """The command that runs some Python."""
    path = ":".join([str(ROOT), str(ROOT / "tests"), *sys.path])
    return ["env", f"PYTHONPATH={path}", sys.executable, "-c", text, *arguments]
