"""A TCP transfer from the kernel to itself, in real time, through a shaped link between two TUN
devices, each in a network namespace of its own.

Called by: golden.
RFCs: none. Needs root, or CAP_SYS_ADMIN and CAP_NET_ADMIN.

The link does what pystack's simulated ones do: a packet waits in the queue until the wire is free,
is put on it bit by bit, may be lost when its last bit has left, and then flies. There are no
offloads, so what the kernel writes are packets.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import select
import signal
import socket
import struct
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from pystack.link.units import chance, duration_ns, rate_bps, size_bytes

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG, PR_SET_TIMERSLACK = 1, 29
TUNSETIFF, IFF_TUN, IFF_NO_PI, IFF_UP = 0x400454CA, 0x0001, 0x1000, 1
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
SENDER, RECEIVER, MASK, PORT = "10.0.0.1", "10.0.0.2", "255.255.255.0", 5001
SECOND = 1_000_000_000
CHUNK = 1 << 16
LIMIT = 300 * SECOND  # then it has failed
DISTURBED = 0.05  # a share of late packets
ATTEMPTS = 10

libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class KernelTransfer:
    """One transfer, as described; `run` it."""

    bytes: str
    cc: str
    seed: int
    rate: str
    delay: str
    loss: str
    queue: int

    def run(self) -> tuple[float, float]:
        """(goodput in bit/s, as pystack.testing.Transfer reckons it, 0 if it failed; the share of
        packets for which the relay came too late because the machine was busy).

        If that share is too large the transfer is repeated, and the least disturbed one counts.
        """
        found: list[tuple[float, float]] = []
        while len(found) < ATTEMPTS and not any(late < DISTURBED for _, late in found):
            found.append(transfer(self))
        return min(found, key=lambda one: one[1])


class Way:
    """One direction of the link."""

    def __init__(self, cell: KernelTransfer, direction: int) -> None:
        self.random = random.Random(cell.seed * 2 + direction)
        self.rate, self.delay = rate_bps(cell.rate), duration_ns(cell.delay)
        self.loss, self.queue = chance(cell.loss), cell.queue
        self.free_at = 0
        self.departures: deque[int] = deque()
        self.flying: deque[tuple[int, bytes]] = deque()

    def send(self, packet: bytes, now: int) -> None:
        while self.departures and self.departures[0] <= now:
            self.departures.popleft()
        if len(self.departures) > self.queue:  # one is on the wire, the others wait
            return
        self.free_at = max(self.free_at, now) + int(len(packet) * 8 * SECOND / self.rate)
        self.departures.append(self.free_at)
        if self.random.random() >= self.loss:
            self.flying.append((self.free_at + self.delay, packet))


def checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def make_tun(address: str) -> int:
    """The file of a TUN device in a new namespace, which is this process's from now on."""
    checked(libc.unshare(CLONE_NEWNET), "unshare")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"golden", IFF_TUN | IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for request, value in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, MASK)):
            body = struct.pack("=HH4s", socket.AF_INET, 0, socket.inet_aton(value))
            fcntl.ioctl(control, request, struct.pack("16s24s", b"golden", body))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", b"golden", IFF_UP))
    return tun


def in_child(work: object, *arguments: object) -> int:
    """Its process id; it stays in the namespace that is this process's now."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        work(*arguments)  # type: ignore[operator]
        code = 0
    except OSError as problem:
        print(f"golden: {problem}", file=sys.stderr)
    finally:
        os._exit(code)


def tell(pipe: int) -> None:
    os.write(pipe, struct.pack("q", time.monotonic_ns()))


def receive(listener: socket.socket, size: int, pipe: int) -> None:
    connection, _ = listener.accept()
    received = 0
    while received < size:
        data = connection.recv(CHUNK)
        if not data:
            return
        received += len(data)
    tell(pipe)


def send(cell: KernelTransfer, pipe: int) -> None:
    sock = socket.socket()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, cell.cc.encode())
    tell(pipe)
    sock.connect((RECEIVER, PORT))
    sock.sendall(bytes(size_bytes(cell.bytes)))
    sock.shutdown(socket.SHUT_WR)
    sock.recv(1)


def listen(cell: KernelTransfer) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, cell.cc.encode())
    listener.bind((RECEIVER, PORT))
    listener.listen()
    return listener


def transfer(cell: KernelTransfer) -> tuple[float, float]:
    """(goodput in bit/s, share of packets that the relay delivered too late: by half a millisecond,
    or by a fortieth of the round trip).
    """
    size = size_bytes(cell.bytes)
    started, start_pipe = os.pipe()
    finished, finish_pipe = os.pipe()
    files = [started, start_pipe, finished, finish_pipe]
    children = []
    libc.prctl(PR_SET_TIMERSLACK, 1)
    try:
        far = make_tun(RECEIVER)
        files.append(far)
        with listen(cell) as listener:
            children.append(in_child(receive, listener, size, finish_pipe))
        near = make_tun(SENDER)
        files.append(near)
        children.append(in_child(send, cell, start_pipe))
        late = relay(cell, near, far, finished)
        begin = read_time(started)
        end = read_time(finished)
        goodput = size * 8 * SECOND / (end - begin) if begin and end else 0.0
        return goodput, late
    finally:
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        for file in files:
            os.close(file)


def read_time(pipe: int) -> int:
    """0: nothing was told."""
    if not select.select([pipe], [], [], 0)[0]:
        return 0
    return int(struct.unpack("q", os.read(pipe, 8))[0])


def relay(cell: KernelTransfer, near: int, far: int, finished: int) -> float:
    """Carry packets until the receiver has everything."""
    ways = ((near, Way(cell, 0), far), (far, Way(cell, 1), near))
    carried = late = 0
    tolerance = max(500_000, duration_ns(cell.delay) // 20)
    limit = time.monotonic_ns() + LIMIT
    while time.monotonic_ns() < limit:
        due = min((way.flying[0][0] for _, way, _ in ways if way.flying), default=limit)
        wait = max(due - time.monotonic_ns(), 0) / SECOND
        ready = select.select([near, far, finished], [], [], wait)[0]
        if finished in ready:
            break
        now = time.monotonic_ns()
        for source, way, target in ways:
            while way.flying and way.flying[0][0] <= now:
                when, packet = way.flying.popleft()
                carried += 1
                late += now - when > tolerance
                with suppress(OSError):
                    os.write(target, packet)
            if source in ready:
                drain(source, way)
    return late / max(carried, 1)


def drain(source: int, way: Way) -> None:
    while True:
        try:
            packet = os.read(source, 65536)
        except BlockingIOError:
            return
        if packet[0] >> 4 == 4:
            way.send(packet, time.monotonic_ns())
