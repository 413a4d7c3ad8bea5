"""What the tests of TunDevice do at its end of the interface, in place of a stack."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dpkt
import pytest
from native.device import Driver, PacketInfo

from pystack.device.tun import TunDevice

Answer = PacketInfo | bytes | None


class Peer:
    """Gives every packet that comes to a function, in a thread, and sends what that returns."""

    def __init__(self, device: TunDevice, answer: Callable[[PacketInfo], Answer]) -> None:
        self.seen: list[PacketInfo] = []
        self._device = device
        self._driver = Driver(device)
        self._answer = answer
        self._end, self._ended = socket.socketpair()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._driver.poll_fd, self._ended], [], [])
            if self._ended in ready:
                return
            packets = self._driver.read()
            self.seen += packets
            answers = [self._answer(packet) for packet in packets]
            self._driver.write([answer for answer in answers if answer is not None])

    def close(self) -> None:
        self._end.send(b"x")
        self._thread.join()
        self._end.close()
        self._ended.close()
        self._driver.detach()
        self._device.close()
        assert self._driver.live == 0


@contextmanager
def answering(device: TunDevice, answer: Callable[[PacketInfo], Answer]) -> Iterator[Peer]:
    peer = Peer(device, answer)
    try:
        yield peer
    finally:
        peer.close()


def expect(driver: Driver, wanted: Callable[[bytes], bool], seconds: float = 5) -> PacketInfo:
    """The next packet that satisfies a condition."""
    while select.select([driver.poll_fd], [], [], seconds)[0]:
        for packet in driver.read(1):
            if wanted(packet.data):
                return packet
    pytest.fail("the kernel sent nothing of the kind")


def is_v4(data: bytes) -> bool:
    return data[0] >> 4 == 4


def protocol(data: bytes) -> int:
    return data[9] if is_v4(data) else data[6]


def mirror(packet: PacketInfo) -> PacketInfo | None:
    """Swap the addresses and leave the rest: TCP and UDP of either family."""
    data = packet.data
    if protocol(data) not in (6, 17):
        return None
    at, size = (12, 4) if is_v4(data) else (8, 16)
    source, destination = data[at : at + size], data[at + size : at + 2 * size]
    packet.data = data[:at] + destination + source + data[at + 2 * size :]
    return packet


def answer_ping(packet: PacketInfo) -> bytes | None:
    data = packet.data
    if is_v4(data) and protocol(data) == 1 and data[20] == 8:
        ip = dpkt.ip.IP(data)
        ip.src, ip.dst, ip.sum = ip.dst, ip.src, 0
        ip.icmp.type, ip.icmp.sum = dpkt.icmp.ICMP_ECHOREPLY, 0
        return bytes(ip)
    if not is_v4(data) and protocol(data) == 58 and data[40] == 128:
        ip6 = dpkt.ip6.IP6(data)
        ip6.src, ip6.dst = ip6.dst, ip6.src
        ip6.icmp6.type, ip6.icmp6.sum = dpkt.icmp6.ICMP6_ECHO_REPLY, 0
        return bytes(ip6)
    return None
