"""The two hosts of a dialogue: the kernel of a namespace behind a TUN, and a Stack in told time.

Both are given the same packets at the same times, and the same calls of an application.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pystack
from pystack import TcpInfo
from pystack.tcpinfo import OPTIONS

if TYPE_CHECKING:
    from interop.harness import Namespace

NETWORKS = ("10.9.0.0/24", "fd09::/64")
HOST = {4: "10.9.0.254", 6: "fd09::fe"}
PEER = {4: "10.9.0.1", 6: "fd09::1"}
KIND = {4: socket.AF_INET, 6: socket.AF_INET6}
MS = 1_000_000
STATES = (
    "?", "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT",
    "CLOSED", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING", "SYN-RECEIVED",
)  # fmt: skip
LINGER_0 = struct.pack("ii", 1, 0)
EVENTS = {
    name: getattr(select, name)
    for name in ("POLLIN", "POLLPRI", "POLLOUT", "POLLERR", "POLLHUP", "POLLRDHUP")
}
QUEUES = {"SIOCINQ": 0x541B, "SIOCOUTQ": 0x5411, "SIOCOUTQNSD": 0x894B, "SIOCATMARK": 0x8905}
LINUX = {"abe": False, "hystart_classic": True, "cubic_reno_pace": False}
# Of TCP_INFO, without times and rates, and what depends on the size of buffers.
TOLD = (
    "ca_state", "retransmits", "probes", "backoff", "options", "fastopen_client_fail",
    "snd_wscale", "snd_mss", "unacked", "sacked", "lost", "retrans", "pmtu", "snd_ssthresh",
    "snd_cwnd", "advmss", "reordering", "total_retrans", "bytes_acked", "bytes_received",
    "segs_out", "segs_in", "notsent_bytes", "data_segs_in", "data_segs_out", "delivered",
    "delivered_ce", "bytes_sent", "bytes_retrans", "dsack_dups", "reord_seen", "rcv_ooopack",
    "snd_wnd", "total_rto",
)  # fmt: skip

# What Linux would do by the clock of the moment or by what it remembers of earlier dialogues.
SYSCTLS = {
    "net.ipv4.tcp_comp_sack_nr": "0",
    "net.ipv4.tcp_no_metrics_save": "1",
    "net.ipv4.tcp_autocorking": "0",
    "net.ipv4.tcp_early_retrans": "0",  # tail loss probes: after two of its ticks
    "net.ipv6.conf.pystack0.router_solicitations": "0",
}


class Application:
    """Calls of one application, each with what came of it in a word. It holds one connection.

    open_socket, poll, ioctl: how its sockets are made, and asked for their events and queues.
    """

    def __init__(
        self,
        open_socket: Callable[[int], Any],
        poll: Callable[[Any], int],
        ioctl: Callable[[Any, int], int],
    ) -> None:
        self.open_socket, self.poll, self.ioctl = open_socket, poll, ioctl
        self.listener: Any = None
        self.socket: Any = None
        self.where: tuple[tuple[str, int], tuple[str, int]] = (("", 0), ("", 0))
        self.family = 4
        self.sent = 1

    def start(self, family: int, host: tuple[str, int], peer: tuple[str, int]) -> None:
        self.listener = self.socket = None
        self.family, self.where, self.sent = family, (host, peer), 1

    def call(self, name: str, argument: int) -> str:
        if name not in ("listen", "connect", "accept") and self.socket is None:
            return "no socket"
        try:
            return str(getattr(self, f"do_{name}")(argument))
        except OSError as problem:
            return errno.errorcode.get(problem.errno or 0, str(problem))

    def bound(self) -> Any:
        made = self.open_socket(KIND[self.family])
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)  # pystack's always are
        made.bind(self.where[0])
        return made

    def do_listen(self, _: int) -> str:
        self.listener = self.bound()
        self.listener.listen(16)
        return "ok"

    def do_connect(self, _: int) -> str:
        self.socket = self.bound()
        code = self.socket.connect_ex(self.where[1])
        return errno.errorcode.get(code, "ok")

    def do_accept(self, _: int) -> str:
        if self.listener is None or self.socket is not None:
            return "no listener"
        self.socket, _ = self.listener.accept()
        self.socket.setblocking(False)
        return "ok"

    def do_send(self, size: int, flags: int = 0) -> str:
        taken = self.socket.send(bytes((self.sent + i) % 251 for i in range(size)), flags)
        self.sent += taken
        return f"{taken} bytes"

    def do_oob(self, size: int) -> str:
        return self.do_send(size, socket.MSG_OOB)

    def do_peek(self, size: int) -> str:
        return self.do_recv(size, socket.MSG_PEEK)

    def do_recv(self, size: int, flags: int = 0) -> str:
        data = self.socket.recv(size, flags)
        return f"{len(data)} bytes {data[:1].hex()}..{data[-1:].hex()}" if data else "end"

    def do_shutdown(self, how: int) -> str:
        self.socket.shutdown(how)
        return "ok"

    def do_close(self, _: int) -> str:
        closing, self.socket = self.socket, None
        closing.close()
        return "ok"

    def do_abort(self, _: int) -> str:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        return self.do_close(0)

    def do_nodelay(self, value: int) -> str:
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, value)
        return "ok"

    def do_cork(self, value: int) -> str:
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, value)
        return "ok"

    def do_reno(self, _: int) -> str:
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        return "ok"

    def do_error(self, _: int) -> str:
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return errno.errorcode.get(code, "none")

    def told(self) -> dict[str, object]:
        """What its sockets tell of themselves: poll, the queues, TCP_INFO."""
        told: dict[str, object] = {}
        for name, each in (("connection", self.socket), ("listener", self.listener)):
            if each is not None:
                ready = self.poll(each)
                events = [event for event, bit in EVENTS.items() if ready & bit]
                told[f"poll of the {name}"] = "|".join(events)
        if self.socket is None:
            return told
        told |= {name: self.ioctl(self.socket, number) for name, number in QUEUES.items()}
        info = TcpInfo.from_bytes(self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 512))
        told |= {name: getattr(info, name) for name in TOLD}
        # Linux says so of every peer that marks its packets, pystack where ECN was agreed on.
        told["options"] = info.options & ~OPTIONS["TCPI_OPT_ECN_SEEN"]
        return told

    def end(self) -> None:
        for each in (self.socket, self.listener):
            if each is not None:
                with suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
                each.close()
        self.socket = self.listener = None


def kernel_poll(asked: socket.socket) -> int:
    watching = select.poll()
    watching.register(asked, sum(EVENTS.values()))
    return sum(events for _, events in watching.poll(0))


def kernel_ioctl(asked: socket.socket, request: int) -> int:
    return int.from_bytes(fcntl.ioctl(asked, request, bytes(4)), sys.byteorder)


class Kernel:
    """The kernel of a namespace, in real time."""

    name = "kernel"

    def __init__(self, namespace: Namespace, settings: dict[str, str] | None = None) -> None:
        self.namespace = namespace
        self.fd = namespace.open_tun(*NETWORKS, offloads=False, host_addresses=[*HOST.values()])
        os.set_blocking(self.fd, False)
        values = [f"{name}={value}" for name, value in {**SYSCTLS, **(settings or {})}.items()]
        namespace.run(["sysctl", "-q", "-w", *values])
        for network in NETWORKS:  # a namespace may not choose its default; a route may
            ip = ["ip", "-6"] if ":" in network else ["ip"]
            found = namespace.run([*ip, "route", "show", network]).stdout.split()
            namespace.run([*ip, "route", "replace", *found, "congctl", "cubic"])
        self.application = Application(
            lambda kind: namespace.socket(kind, socket.SOCK_STREAM), kernel_poll, kernel_ioctl
        )

    def start(self, family: int, host: tuple[str, int], peer: tuple[str, int]) -> None:
        self.application.start(family, host, peer)
        self.take()

    def open_datagram_socket(self, kind: int) -> socket.socket:
        return self.namespace.socket(kind, socket.SOCK_DGRAM)

    def inject(self, packet: bytes, now: int) -> None:
        os.write(self.fd, packet)

    def take(self) -> list[bytes]:
        """What it has sent; a packet that is written is answered before write returns."""
        out = []
        with suppress(BlockingIOError):
            while True:
                out.append(os.read(self.fd, 65536))
        return out

    def wait(self, until: int) -> list[bytes]:
        """Real time; the ends of what has been waited for are the other host's measure."""
        out = self.take()
        while (left := until - time.monotonic_ns()) > 0:
            select.select([self.fd], [], [], left / 1e9)
            out += self.take()
        return out

    @property
    def state(self) -> str:
        held = self.application.socket
        if held is None:
            return ""
        return STATES[held.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]]

    def end(self) -> None:
        self.application.end()
        self.take()

    def close(self) -> None:
        os.close(self.fd)


class Virtual:
    """A Stack that is told the time."""

    name = "pystack"

    def __init__(self, config: pystack.TcpConfig | None = None) -> None:
        self.config = config or pystack.TcpConfig(early_retrans=0, **LINUX)
        self.stack: Any = None
        self.application = Application(
            lambda kind: self.stack.socket(kind),
            lambda asked: asked.poll(),
            lambda asked, request: asked.ioctl(request),
        )
        self.number = 0

    def start(self, family: int, host: tuple[str, int], peer: tuple[str, int]) -> None:
        self.number += 1
        self.stack = pystack.Stack(
            f"{HOST[4]}/32", f"{HOST[6]}/128", seed=self.number, now=time.monotonic_ns(),
            tcp=self.config,
        )  # fmt: skip
        self.application.start(family, host, peer)

    def open_datagram_socket(self, kind: int) -> Any:
        return self.stack.socket(kind, socket.SOCK_DGRAM)

    def inject(self, packet: bytes, now: int) -> None:
        self.stack.receive(packet, now)

    def take(self) -> list[bytes]:
        return self.stack.transmit()

    def wait(self, until: int) -> list[bytes]:
        """With a stop at each of its deadlines."""
        out = self.take()
        while (deadline := self.stack.deadline) is not None and deadline <= until:
            self.stack.poll(deadline)
            out += self.take()
        self.stack.poll(until)
        return out + self.take()

    @property
    def state(self) -> str:
        held = self.application.socket
        if held is None:
            return ""
        for each in self.stack.connections():
            if each.held and each.remote == self.application.where[1]:
                return "CLOSED" if each.state == "TIME-WAIT" else each.state
        return "CLOSED"

    @property
    def hidden(self) -> str:
        """The state of the connection, whoever holds it."""
        for each in self.stack.connections():
            if each.remote == self.application.where[1]:
                return each.state
        return ""

    def end(self) -> None:
        self.application.end()
        self.stack.close()

    def close(self) -> None:
        pass
