"""What this machine allows, found by trying, and what to do about what it does not.

Called by: cli (`pystack doctor`). Whatever is tried is gone again afterwards.
RFCs: none.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystack.device.tun import TunDevice

CAP_NET_ADMIN = 12
DEVICE = "/dev/net/tun"


@dataclass(frozen=True)
class Fact:
    """One thing that the machine allows, or does not."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""  # what to do, if not ok


def probe() -> list[Fact]:
    """Find out everything, in the order in which one thing needs another. Takes about a second."""
    if sys.platform != "linux":
        return [python(), no_linux()]
    return [
        python(),
        kernel(),
        configuration(),
        device_file(),
        capability(),
        namespaces(),
        *tun(),
        ipv6(),
    ]


def python() -> Fact:
    here = platform.python_version()
    return Fact("Python", True, f"{here}, pystack-net {installed('pystack-net') or '(a checkout)'}")


def no_linux() -> Fact:
    return Fact(
        "TUN device",
        False,
        f"pystack has none for {sys.platform}",
        "use it as a library, with PipeDevice or a Device of your own; TUN needs Linux",
    )


def kernel() -> Fact:
    return Fact("Linux", True, f"{platform.release()} on {platform.machine()}")


def configuration() -> Fact:
    """Whether addresses and routes can be set."""
    found = installed("pyroute2")
    if found is None:
        return Fact("pyroute2", False, "not installed", "pip install pyroute2")
    return Fact("pyroute2", True, found)


def installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def device_file() -> Fact:
    """Whether we may open /dev/net/tun; to open it makes no interface yet."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        return Fact(
            DEVICE, False, "permission denied", f"run as root, or: sudo chmod 0666 {DEVICE}"
        )
    except OSError as problem:
        return Fact(
            DEVICE,
            False,
            problem.strerror or str(problem),
            f"sudo modprobe tun; into a container, pass it with --device {DEVICE}",
        )
    return Fact(DEVICE, True, "can be opened")


def capability() -> Fact:
    """Whether `pystack serve` may make an interface here and now."""
    if has_capability(CAP_NET_ADMIN):
        return Fact("CAP_NET_ADMIN", True, "yes: `pystack serve` can make interfaces")
    return Fact(
        "CAP_NET_ADMIN",
        False,
        "no: `pystack serve` cannot make interfaces",
        "run as root, or use `pystack run` or `pystack serve --rootless`, which need none, or have "
        f"root make you one: sudo ip tuntap add dev pystack0 mode tun user {os.getuid()}",
    )


def has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def namespaces() -> Fact:
    """Whether `pystack run` can make a network of its own."""
    try:
        os.close(made_in_namespace(socket.socket))
    except OSError as problem:
        return Fact("namespaces", False, *reason(problem))
    return Fact("namespaces", True, "yes: `pystack run` can make a network of its own")


def tun() -> list[Fact]:
    """Whether a TUN interface can be made, and which offloads it has."""
    try:
        features = features_of_tun()
    except OSError as problem:
        return [Fact("TUN interface", False, *reason(problem))]
    return [Fact("TUN interface", True, "can be made"), offloads(features)]


def features_of_tun() -> int:
    """Make an interface in a namespace or, where there are none, here: no address, and down."""
    from pystack.device.namespace import NamespaceError
    from pystack.device.tun import TunDevice

    try:
        fd = made_in_namespace(TunDevice)
    except NamespaceError:
        with TunDevice() as device:
            return device.features
    with TunDevice(fd=fd) as device:
        return device.features


def made_in_namespace(make: Callable[[], TunDevice | socket.socket]) -> int:
    """The file of something made in a namespace."""
    from pystack.device.namespace import spawn_in_namespace

    with spawn_in_namespace([], lambda: [make()]) as child:
        return child.fds[0]


def offloads(features: int) -> Fact:
    from pystack.device.tun import OFFLOADS

    given = [name for name, bit in OFFLOADS.items() if features & bit]
    missing = [name for name in OFFLOADS if name not in given]
    detail = ", ".join(given) or "none"
    if not missing:
        return Fact("offloads", True, detail)
    return Fact(
        "offloads",
        False,
        f"{detail}; not {', '.join(missing)}, which pystack does itself, slower",
        "Linux 6.2 or later has them all",
    )


def ipv6() -> Fact:
    if Path("/proc/net/if_inet6").exists():
        return Fact("IPv6", True, "yes")
    return Fact(
        "IPv6", False, "the kernel has none", "boot without ipv6.disable=1, or use IPv4 networks"
    )


def reason(problem: OSError) -> tuple[str, str]:
    """(detail, remedy): our own errors say first what happened, and then what to do."""
    text = (problem.strerror or str(problem)).removeprefix("pystack: ")
    detail, _, remedy = text.partition(". ")
    return detail, remedy
