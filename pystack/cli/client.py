"""A stack with one virtual host that speaks to others; its TUN device is there for that long.

Called by: ping, nc.
RFCs: none.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pystack.cli.failure import USAGE, Failure
from pystack.cli.options import (
    DEFAULT_NETWORKS,
    DEVICE_NAME,
    Address,
    Network,
    SubnetOptions,
    address,
    address_in,
    distinct,
    network,
)
from pystack.cli.subnet import check_system, running_subnet

if TYPE_CHECKING:
    from pystack.stack import Stack

F = TypeVar("F", bound=Callable[..., Any])

FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}


@dataclass(frozen=True)
class ClientOptions:
    """Which virtual host speaks."""

    networks: tuple[Network, ...]
    source: Address | None
    device: str


@dataclass(frozen=True)
class Client:
    """A virtual host that is ready to speak."""

    stack: Stack
    source: Address

    @property
    def family(self) -> int:
        return socket.AF_INET if self.source.version == 4 else socket.AF_INET6


def client_options(command: F) -> F:
    """The options of a command that speaks from a virtual host; it takes them as `options`."""

    @wraps(command)
    def gathered(net: tuple[Network, ...], source: Address | None, tun: str, **others: Any) -> Any:
        return command(options=ClientOptions(distinct(net), source, tun), **others)

    by_default = " or ".join(map(str, DEFAULT_NETWORKS.values()))
    for option in (
        click.option(
            "--tun", metavar="NAME", default=DEVICE_NAME, help="Name of the TUN interface."
        ),
        click.option(
            "--source",
            metavar="ADDRESS",
            type=address,
            help="The virtual address, one of NET.",
        ),
        click.option(
            "--net",
            metavar="NET",
            type=network,
            multiple=True,
            help=f"The network of the virtual host, {by_default} by default. The first address is "
            "the kernel's.",
        ),
    ):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]


def resolve(host: str, options: ClientOptions) -> Address:
    """The address of a host, of a family that the virtual host has."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    versions = {one.version for one in options.networks}
    if options.source is not None:
        versions = {options.source.version}
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError as problem:
        raise Failure(f"{host}: {problem.strerror}") from None
    for *_, name in found:
        candidate = ip_address(str(name[0]).partition("%")[0])
        if not versions or candidate.version in versions:
            return candidate
    raise Failure(f"{host} has no address of the family of --net", USAGE)


@contextmanager
def client_for(host: Address, options: ClientOptions) -> Iterator[Client]:
    """A virtual host that speaks to `host`, from the network of its family."""
    check_system()
    networks = options.networks or (DEFAULT_NETWORKS[host.version],)
    same_family = [one for one in networks if one.version == host.version]
    if not same_family:
        raise Failure(f"no --net of the family of {host}", USAGE)
    if options.source is not None and not any(options.source in one for one in same_family):
        raise Failure(
            f"{options.source} is not in {same_family[0]}. Say --net with the network it is in",
            USAGE,
        )
    with running_subnet(SubnetOptions(networks, device=options.device)) as subnet:
        taken = (*subnet.host_addresses, host)
        yield Client(subnet.stack, options.source or address_in(same_family, other_than=taken))


def why_unreachable(host: Address) -> str | None:
    """What on this machine keeps packets from a virtual host to `host`, if something does."""
    if is_local(host):
        return None
    name = FORWARDING[host.version]
    try:
        forwards = Path("/proc/sys", *name.split(".")).read_text().strip() != "0"
    except OSError:
        return None
    if forwards:
        return None
    return f"{host} is not on this machine, which forwards no packets: sysctl {name}=1"


def is_local(host: Address) -> bool:
    """Whether it is an address of this machine's kernel."""
    family = socket.AF_INET if host.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(host), 0))
    except OSError:
        return False
    return True
