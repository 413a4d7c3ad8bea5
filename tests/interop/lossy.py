"""A device in Python that loses packets: those of a TUN interface, one system call for each."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from interop.virtual import KERNEL, NETS

import pystack

if TYPE_CHECKING:
    from interop.harness import Namespace

AT_ONCE = 64  # packets


class LossyDevice(pystack.Device):
    """Both ways it loses a packet with a fixed probability; the same ones for the same seed."""

    def __init__(self, namespace: Namespace, loss: float, seed: int, mtu: int = 1500) -> None:
        super().__init__(mtu)
        self._fd = namespace.open_tun(*NETS, mtu=mtu, offloads=False)
        self._loss = loss
        self._luck = {way: random.Random(f"{seed} {way}") for way in ("in", "out")}
        self.lost_on_purpose = 0

    def fileno(self) -> int:
        return self._fd

    def configure(self, networks: Sequence[Any]) -> None:
        self.local_addresses = tuple(ip_address(one) for one in KERNEL.values())

    def receive(self) -> list[bytes]:
        packets: list[bytes] = []
        try:
            while len(packets) < AT_ONCE:
                packets.append(os.read(self._fd, 65536))
        except BlockingIOError:
            pass
        return self._survivors("in", packets)

    def send(self, packets: list[bytes]) -> None:
        for packet in self._survivors("out", packets):
            os.write(self._fd, packet)

    def _survivors(self, way: str, packets: list[bytes]) -> list[bytes]:
        luck = self._luck[way]
        left = [packet for packet in packets if luck.random() >= self._loss]
        self.lost_on_purpose += len(packets) - len(left)
        return left

    def close_file(self) -> None:
        """Once no stack uses it any more."""
        os.close(self._fd)
