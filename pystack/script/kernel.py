"""The kernel of this machine as the target of scripts, in real time, over a TUN interface.

Called by: drill, in a process that is in a network namespace of its own.
RFCs: none.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import time
from dataclasses import replace
from typing import Any

from pystack.script import kernel_net
from pystack.script.commands import Environment
from pystack.script.errors import Unsupported
from pystack.script.kernel_calls import InlineCall, ThreadCall
from pystack.script.nodes import Event
from pystack.script.pending import Pending
from pystack.script.settings import Settings
from pystack.script.world import Steps, Target, World

CONGESTION = "net.ipv4.tcp_congestion_control"


class KernelTarget(Target):
    """Real sockets, real settings, real time."""

    emulated = False
    real_time = True

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.environment = Environment()
        self.fd = kernel_net.open_tun()
        self.began = time.time_ns()
        self.congestion = "cubic"  # Linux's default, whatever this machine's is
        self._wake, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        kernel_net.set_up(settings, settings.mtu)
        self.sniffer = kernel_net.open_sniffer()

    def configure(self, environment: Environment) -> None:
        before = self.environment
        self.environment = replace(
            environment, sysctls=dict(environment.sysctls), route=dict(environment.route)
        )
        if environment.drop_output:
            raise Unsupported("a queue of length 0")
        for name, value in environment.sysctls.items():
            if name == CONGESTION:
                self.congestion = value
            elif before.sysctls.get(name) != value:
                kernel_net.set_sysctl(name, value)
        if environment.mtu is not None and environment.mtu != before.mtu:
            kernel_net.set_mtu(environment.mtu)
        if environment.route != before.route:
            kernel_net.set_route(self.settings, environment.route)

    def start(self) -> None:
        self.packets()
        self.began = time.time_ns()

    def now(self) -> int:
        return time.time_ns() - self.began

    def advance(self, until: int, wake: int | None) -> bool:
        left = (until - self.now()) / 10**9
        fds = [self.sniffer.fileno(), self._wake]
        ready, _, _ = select.select(fds, [], [], max(left, 0))
        if self._wake in ready:
            os.read(self._wake, 64)
        return not ready and self.now() >= until

    def packets(self) -> list[tuple[int, bytes]]:
        kernel_net.drain(self.fd)
        return [(at - self.began, data) for at, data in kernel_net.sniff(self.sniffer)]

    def inject(self, packet: bytes) -> None:
        os.write(self.fd, packet)

    def socket(self, family: int, kind: int, protocol: int) -> socket.socket:
        sock = socket.socket(family, kind, protocol)
        if kind == socket.SOCK_STREAM:
            # By socket, not by sysctl: only the first namespace can make any algorithm the default.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, self.congestion.encode())
        return sock

    def pending(self, world: World, event: Event, steps: Steps, returns: int | None) -> Pending:
        if returns is None:
            return InlineCall(world, event, steps, returns)
        return ThreadCall(world, event, steps, returns, wake_fd=self._wake_writer)

    def ready(self, sock: Any) -> int:
        raise NotImplementedError("the kernel's own poll is used")

    def ioctl(self, sock: Any, request: int) -> int:
        value: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), request, bytes(4)))[0]
        return value

    def close(self) -> None:
        self.sniffer.close()
        for fd in (self.fd, self._wake, self._wake_writer):
            os.close(fd)
