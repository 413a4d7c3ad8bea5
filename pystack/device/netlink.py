"""Addresses, routes and MTU of a TUN interface. Linux only.

Called by: tun, when the stack starts.
RFCs: none.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from pystack.device.rtnetlink import Rtnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystack.device.addressing import Address, Interface, Network, Plan

PATIENCE = 1.0  # seconds for a worker of the kernel's
# A VPN may set its default route as two halves, /1 each.
DEFAULT_ROUTE_PREFIX = 1
# What the kernel would send by itself on a new interface: nobody would answer.
QUIET = {"router_solicitations": "0", "accept_ra": "0", "autoconf": "0"}


@dataclass(frozen=True)
class Occupied:
    """A part of the address space that is in use."""

    network: Network
    interface: str
    what: str  # "address" or "route"


@dataclass(frozen=True)
class State:
    """What an interface has."""

    mtu: int
    is_up: bool
    addresses: tuple[Interface, ...]
    routes: tuple[Network, ...]

    def leads_to(self, network: Network) -> bool:
        return any(
            network.version == route.version and network.subnet_of(route)  # type: ignore[arg-type]
            for route in self.routes
        )


def check_networks(networks: Sequence[Network]) -> None:
    """Raise FileExistsError if the host has an address in one of them, or a route to a part.

    Default routes do not count.
    """
    for taken in occupied():
        for network in networks:
            if network.version == taken.network.version and network.overlaps(taken.network):
                raise FileExistsError(
                    errno.EEXIST,
                    f"pystack: network {network} is in use on this machine: {taken.interface} has "
                    f"the {taken.what} {taken.network}. Choose another one, or remove that",
                )


def configure(name: str, mtu: int, plan: Plan) -> None:
    """Set MTU, addresses and routes of an interface of ours, and bring it up."""
    if any(network.version == 6 for network in (*plan.addresses, *plan.routes)):
        set_sysctl(name, "disable_ipv6", "0")  # some containers begin with 1
    for key, value in QUIET.items():
        set_sysctl(name, key, value)
    set_up(name, mtu, plan)


def check_ready(name: str, mtu: int, plan: Plan) -> tuple[Address, ...]:
    """Return the addresses of an interface that somebody else made.

    OSError if it does not lead to the plan's networks: with the commands that make it so.
    """
    has = state_of(name)
    missing = []
    if has.mtu != mtu:
        missing.append(f"ip link set dev {name} mtu {mtu}")
    for interface in plan.addresses:
        if not has.leads_to(interface.network):
            missing.append(f"ip address add {interface} dev {name}")
    if not has.is_up:
        missing.append(f"ip link set dev {name} up")
    for network in plan.routes:
        if not has.leads_to(network):
            missing.append(f"ip route add {network} dev {name}")
    if missing:
        raise OSError(
            errno.ENETDOWN,
            f"pystack: interface {name} was not made by pystack, which therefore leaves its "
            f"configuration alone, and it is not ready. Run: {' && '.join(missing)}",
        )
    return tuple(interface.ip for interface in has.addresses)


def mtu_of(name: str) -> int:
    return state_of(name).mtu


def set_sysctl(name: str, key: str, value: str) -> None:
    """Best effort: /proc/sys is read-only in some containers."""
    with suppress(OSError):
        Path("/proc/sys/net/ipv6/conf", name, key).write_text(value)


def set_up(name: str, mtu: int, plan: Plan) -> None:
    with Rtnetlink() as kernel:
        index = index_of(name)
        kernel.set_mtu(index, mtu)
        for interface in plan.addresses:
            kernel.add_address(index, interface)
        kernel.set_up(index)
        for network in plan.routes:
            kernel.add_route(index, network)
        for interface in plan.addresses:
            await_address(kernel, interface.ip)


def index_of(name: str) -> int:
    """OSError ENODEV if there is no interface of this name."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise OSError(errno.ENODEV, f"pystack: there is no interface {name}") from None


def await_address(kernel: Rtnetlink, address: Address) -> None:
    """A worker of the kernel makes an IPv6 address known, a moment after the interface is up.

    Until then packets to it are dropped.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(OSError):  # nowhere, as yet
            if kernel.is_local(address):
                return
        time.sleep(0.0005)


def occupied() -> list[Occupied]:
    """Every address of this host and everything that it has a route for."""
    with Rtnetlink() as kernel:
        names: dict[int | None, str] = {link.index: link.name for link in kernel.links()}
        addresses = [
            Occupied(ip_network(interface.ip), names.get(index, "?"), "address")
            for index, interface in kernel.addresses()
        ]
        routes = [
            Occupied(network, names.get(index, "the kernel"), "route")
            for index, network in kernel.routes()
            if network.prefixlen > DEFAULT_ROUTE_PREFIX
        ]
    return addresses + routes


def state_of(name: str) -> State:
    """What an interface has; OSError ENODEV if there is none of this name."""
    index = index_of(name)
    with Rtnetlink() as kernel:
        (link,) = [link for link in kernel.links() if link.index == index]
        return State(
            mtu=link.mtu,
            is_up=link.is_up,
            addresses=tuple(found for at, found in kernel.addresses() if at == index),
            routes=tuple(found for at, found in kernel.routes() if at == index),
        )
