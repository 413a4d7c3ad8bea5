"""A network namespace's insides for one script: TUN, addresses, settings, and a view of packets.

Called by: kernel. The process must be in a namespace of its own.
RFCs: none; Documentation/networking/tuntap.rst, packet(7).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

from pystack.script.errors import Unsupported
from pystack.script.settings import Settings

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
ETH_P_ALL = 0x0003
PACKET_OUTGOING = 4
SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("qq")
NAME = "tun0"
LARGEST = 65536
# Settings of the profile that some kernels lack.
OPTIONAL = ("tcp_fack", "tcp_fastopen_key", "tcp_early_retrans", "tcp_frto")


def open_tun() -> int:
    """A new interface's file."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", NAME.encode(), IFF_TUN | IFF_NO_PI))
    except OSError:
        os.close(fd)
        raise
    return fd


def open_sniffer() -> socket.socket:
    """Sees every packet of the interface, with the time at which the kernel had it."""
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sniffer.bind((NAME, 0))
    sniffer.setblocking(False)
    sniffer.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    return sniffer


def sniff(sniffer: socket.socket) -> list[tuple[int, bytes]]:
    """What the kernel has sent: time in ns since 1970, packet."""
    found: list[tuple[int, bytes]] = []
    while True:
        try:
            data, controls, _, address = sniffer.recvmsg(LARGEST, 128)
        except BlockingIOError:
            return found
        if address[2] != PACKET_OUTGOING:
            continue
        for level, kind, value in controls:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                whole, part = TIMESPEC.unpack(value[:16])
                found.append((whole * 10**9 + part, data))


def drain(fd: int) -> None:
    """Take the packets out of the interface's queue; the sniffer has seen them."""
    with suppress(BlockingIOError):
        while True:
            os.read(fd, LARGEST)


def set_up(settings: Settings, mtu: int) -> None:
    """Addresses and routes: everything but our own address is beyond the interface."""
    from ipaddress import ip_interface, ip_network

    from pystack.device.addressing import Plan
    from pystack.device.netlink import configure

    local = settings.local
    everything = ("0.0.0.0/1", "128.0.0.0/1") if local.version == 4 else ("::/1", "8000::/1")
    plan = Plan(
        addresses=(ip_interface(f"{local}/{local.max_prefixlen}"),),
        routes=tuple(map(ip_network, everything)),
    )
    configure(NAME, mtu, plan)


def set_route(settings: Settings, attributes: dict[str, str]) -> None:
    """A route to the peer, with what `ip route` would give it."""
    from pystack.device.netlink import rtnetlink

    metrics: dict[str, int] = {}
    for name, value in attributes.items():
        if not value.isdecimal():
            raise Unsupported(f"the route attribute {name} {value}")
        metrics[name] = int(value)
    if "mtu" in metrics:
        metrics["lock"] = 1 << 2  # RTAX_MTU
    with rtnetlink() as netlink:
        (index,) = netlink.link_lookup(ifname=NAME)
        netlink.route(
            "replace",
            dst=f"{settings.remote}/{settings.remote.max_prefixlen}",
            oif=index,
            family=socket.AF_INET if settings.version == 4 else socket.AF_INET6,
            metrics=metrics,
        )


def set_mtu(mtu: int) -> None:
    from pystack.device.netlink import rtnetlink

    with rtnetlink() as netlink:
        (index,) = netlink.link_lookup(ifname=NAME)
        netlink.link("set", index=index, mtu=mtu)


def set_sysctl(name: str, value: str) -> None:
    """In this namespace; Unsupported where the kernel has no such setting for it."""
    path = Path("/proc/sys", name.replace(".", "/"))
    try:
        path.write_text(f"{int(value, 16)}" if value.startswith("0x") else value)
    except OSError as problem:
        if name.rpartition(".")[2] in OPTIONAL:
            return
        raise Unsupported(f"the setting {name}={value}: {problem.strerror}") from None
