"""Addresses, routes and MTU of a TUN interface, by rtnetlink. Linux only.

Called by: tun, when the stack starts. pyroute2, slow to import, is imported when first used.
RFCs: none.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pystack.device.addressing import Address, Interface, Network, Plan

T = TypeVar("T")

AF_INET, AF_INET6 = 2, 10  # Linux's
IFF_UP = 1
IFA_F_NODAD = 0x02
TABLE_LOCAL = 255
RTN_LOCAL = 2
PATIENCE = 1.0  # seconds for a worker of the kernel's
# Of the types of a route, those that say where packets go, or that they go nowhere.
ROUTE_TYPES = {1: "unicast", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
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
    for taken in outside_loop(occupied):
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
    outside_loop(lambda: set_up(name, mtu, plan))


def check_ready(name: str, mtu: int, plan: Plan) -> tuple[Address, ...]:
    """Return the addresses of an interface that somebody else made.

    OSError if it does not lead to the plan's networks: with the commands that make it so.
    """
    has = outside_loop(lambda: state_of(name))
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
    return outside_loop(lambda: state_of(name)).mtu


def set_sysctl(name: str, key: str, value: str) -> None:
    """Best effort: /proc/sys is read-only in some containers."""
    with suppress(OSError):
        Path("/proc/sys/net/ipv6/conf", name, key).write_text(value)


def outside_loop(work: Callable[[], T]) -> T:
    """Run something with pyroute2, which starts an event loop of its own, where none is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


@contextmanager
def rtnetlink() -> Iterator[Any]:
    """pyroute2's socket; its errors as OSError."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as netlink:
            yield netlink
    except NetlinkError as problem:
        reason = os.strerror(problem.code)
        raise OSError(problem.code, f"pystack: cannot set up the interface: {reason}") from problem


def set_up(name: str, mtu: int, plan: Plan) -> None:
    with rtnetlink() as netlink:
        (index,) = netlink.link_lookup(ifname=name)
        netlink.link("set", index=index, mtu=mtu)
        for interface in plan.addresses:
            flags = {"flags": IFA_F_NODAD} if interface.version == 6 else {}
            netlink.addr(
                "add",
                index=index,
                family=family_of(interface),
                address=str(interface.ip),
                prefixlen=interface.network.prefixlen,
                **flags,
            )
        netlink.link("set", index=index, state="up")
        for network in plan.routes:
            netlink.route("add", dst=str(network), oif=index, family=family_of(network))
        for interface in plan.addresses:
            await_address(netlink, interface)


def await_address(netlink: Any, interface: Interface) -> None:
    """A worker of the kernel makes an IPv6 address known, a moment after the interface is up.

    Until then packets to it are dropped.
    """
    deadline = time.monotonic() + PATIENCE
    asked = {"dst": str(interface.ip), "family": family_of(interface)}
    while netlink.route("get", **asked)[0]["type"] != RTN_LOCAL and time.monotonic() < deadline:
        time.sleep(0.0005)


def family_of(network: Interface | Network) -> int:
    return AF_INET if network.version == 4 else AF_INET6


def occupied() -> list[Occupied]:
    """Every address of this host and everything that it has a route for."""
    with rtnetlink() as netlink:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in netlink.get_links()}
        addresses = [
            Occupied(ip_network(interface.ip), names.get(index, "?"), "address")
            for index, interface in addresses_in(netlink)
        ]
        routes = [
            Occupied(network, names.get(index, "the kernel"), "route")
            for index, network in routes_in(netlink)
            if network.prefixlen > DEFAULT_ROUTE_PREFIX
        ]
    return addresses + routes


def state_of(name: str) -> State:
    """What an interface has; OSError ENODEV if there is none of this name."""
    with rtnetlink() as netlink:
        indexes = netlink.link_lookup(ifname=name)
        if not indexes:
            raise OSError(errno.ENODEV, f"pystack: there is no interface {name}")
        index = indexes[0]
        (link,) = netlink.get_links(index)
        return State(
            mtu=link.get_attr("IFLA_MTU"),
            is_up=bool(link["flags"] & IFF_UP),
            addresses=tuple(found for at, found in addresses_in(netlink) if at == index),
            routes=tuple(found for at, found in routes_in(netlink) if at == index),
        )


def addresses_in(netlink: Any) -> Iterator[tuple[int, Interface]]:
    """(interface index, address with prefix)"""
    for message in netlink.get_addr():
        if message["family"] in (AF_INET, AF_INET6):
            address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            yield message["index"], ip_interface(f"{address}/{message['prefixlen']}")


def routes_in(netlink: Any) -> Iterator[tuple[int | None, Network]]:
    """(interface index, destination) of the routes that people set, in whatever table."""
    for message in netlink.get_routes():
        if message["family"] not in (AF_INET, AF_INET6) or message["type"] not in ROUTE_TYPES:
            continue
        if message.get_attr("RTA_TABLE") == TABLE_LOCAL:
            continue
        default = "0.0.0.0" if message["family"] == AF_INET else "::"
        destination = message.get_attr("RTA_DST") or default
        yield message.get_attr("RTA_OIF"), ip_network(f"{destination}/{message['dst_len']}")
