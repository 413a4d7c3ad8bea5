"""What the commands' options mean: networks, services, the device; each said once.

Called by: serve, run, ping, nc.
RFCs: none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from pystack.cli.failure import USAGE, Failure
from pystack.services import SERVICES, default_services

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_NETWORKS: dict[int, Network] = {4: IPv4Network("10.3.0.0/24"), 6: IPv6Network("fd03::/64")}
FIRST_USABLE = int(IPv4Address("1.0.0.0"))
DEVICE_NAME = "pystack%d"  # the kernel puts a free number
MTU_RANGE = click.IntRange(68, 65535)
PORT_RANGE = click.IntRange(1, 65535)
WORKERS_RANGE = click.IntRange(1, 250)  # Linux: 256 queues, and 253 files that `run` passes at once


@dataclass(frozen=True)
class ServiceAt:
    """A service at a port of every address."""

    protocol: str
    port: int
    name: str

    def __str__(self) -> str:
        return f"{self.protocol}/{self.port}={self.name}"


@dataclass(frozen=True)
class SubnetOptions:
    """What `serve` and `run` were asked for."""

    networks: tuple[Network, ...]
    host_addresses: tuple[Address, ...] = ()
    device: str = DEVICE_NAME
    mtu: int | None = None
    mirror: bool = False
    services: tuple[ServiceAt, ...] = ()
    pcap: Path | None = None
    workers: int = 1


def network(text: str) -> Network:
    """10.3.0.0/24 or fd03::/64."""
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        raise bad(f"{text} is no network", "Write one such as 10.3.0.0/24 or fd03::/64") from None
    if ip_address(text.partition("/")[0]) != found.network_address:
        raise bad(f"{text} has host bits set", f"Write {found}")
    if reason := unusable(found):
        raise bad(f"{found} {reason}", "Choose one such as 10.3.0.0/24 or fd03::/64")
    return found


def address(text: str) -> Address:
    """10.3.0.1 or fd03::1."""
    try:
        return ip_address(text)
    except ValueError:
        raise bad(f"{text} is no address", "Write one such as 10.3.0.1 or fd03::1") from None


def service(text: str) -> ServiceAt:
    """tcp/8080=http."""
    where, _, name = text.partition("=")
    protocol, _, port = where.partition("/")
    if protocol not in ("tcp", "udp") or not name or not is_port(port):
        raise bad(f"{text} is no service", "Write PROTO/PORT=NAME, such as tcp/8080=http")
    if name not in SERVICES:
        raise bad(f"there is no service {name}", f"Known are {', '.join(SERVICES)}")
    if protocol not in SERVICES[name].protocols:
        spoken = " and ".join(SERVICES[name].protocols)
        raise bad(f"{name} does not work over {protocol}", f"Write {spoken}/{port}={name}")
    return ServiceAt(protocol, int(port), name)


def bad(what: str, remedy: str) -> Failure:
    return Failure(f"{what}. {remedy}", USAGE)


def is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text) <= 65535


def unusable(found: Network) -> str | None:
    """Why a kernel would not route a network to a device, if it would not."""
    first = found.network_address
    if first.is_loopback:
        return "is a loopback network"
    if first.is_multicast:
        return "is a multicast network"
    if first.is_link_local and found.version == 6:
        return "is link-local"
    if found.prefixlen == 0 or (found.version == 4 and int(first) < FIRST_USABLE):
        return "begins with addresses that no host can have"
    return None


def distinct(networks: Iterable[Network]) -> tuple[Network, ...]:
    """The networks; a failure if two of them overlap."""
    checked: list[Network] = []
    for one in networks:
        for other in checked:
            if one.version == other.version and one.overlaps(other):
                raise bad(f"networks {other} and {one} overlap", "Leave one of them out")
        checked.append(one)
    return tuple(checked)


def services_wanted(given: Iterable[ServiceAt], by_default: bool) -> tuple[ServiceAt, ...]:
    """The default services and those asked for, which go before the defaults."""
    wanted: dict[tuple[str, int], ServiceAt] = {}
    for one in given:
        at = (one.protocol, one.port)
        if at in wanted:
            raise bad(f"{wanted[at]} and {one} want the same port", "Leave one of them out")
        wanted[at] = one
    if by_default:
        for protocol, port, name in default_services():
            wanted.setdefault((protocol, port), ServiceAt(protocol, port, name))
    return tuple(wanted.values())


def address_in(networks: Iterable[Network], other_than: Iterable[Address] = ()) -> Address:
    """An address to show or to speak from: the fifth, or the next that nobody else has.

    A failure if the networks hold none.
    """
    taken = set(other_than)
    for one in networks:
        for offset in (5, 2, 3, 1, 0):
            if offset >= one.num_addresses:
                continue
            if one[offset] not in taken and is_host(one[offset], one):
                return one[offset]
    raise bad("the networks have no address left for a virtual host", "Choose a larger --net")


def is_host(found: Address, within: Network) -> bool:
    """Neither the network's own address nor its broadcast (RFC 3021: a /31 has neither)."""
    if within.prefixlen >= within.max_prefixlen - 1:
        return True
    return found not in (within.network_address, within.broadcast_address)


def ask_for_network() -> NoReturn:
    raise bad("no network to answer for", "Say which, such as --net 10.3.0.0/24")


def subnet_options(command: F) -> F:
    """The options of a command that makes a subnet; the command takes them as `subnet`."""

    @wraps(command)
    def gathered(
        net: tuple[Network, ...],
        host_address: tuple[Address, ...],
        tun: str,
        mtu: int | None,
        mirror: bool,
        service: tuple[ServiceAt, ...],
        no_services: bool,
        pcap: Path | None,
        workers: int,
        **others: Any,
    ) -> Any:
        subnet = SubnetOptions(
            networks=distinct(net) or ask_for_network(),
            host_addresses=host_address,
            device=tun,
            mtu=mtu,
            mirror=mirror,
            services=services_wanted(service, by_default=not no_services and not mirror),
            pcap=pcap,
            workers=workers,
        )
        return command(subnet=subnet, **others)

    names = ", ".join(SERVICES)
    for option in reversed(
        [
            click.option(
                "--net",
                metavar="NET",
                type=network,
                multiple=True,
                help="A network that answers; once for each.",
            ),
            click.option(
                "--host-address",
                metavar="ADDRESS",
                type=address,
                multiple=True,
                help="The kernel's own address; by default the first of each network.",
            ),
            click.option(
                "--tun", metavar="NAME", default=DEVICE_NAME, help="Name of the TUN interface."
            ),
            click.option(
                "--mtu", type=MTU_RANGE, help="Of the interface; 1500 if it is a new one."
            ),
            click.option(
                "--mirror",
                is_flag=True,
                help="Send every packet back with its addresses swapped, so that this host's own "
                "services are at every address.",
            ),
            click.option(
                "--service",
                metavar="PROTO/PORT=NAME",
                type=service,
                multiple=True,
                help=f"A service at a port of every address. Known are {names}.",
            ),
            click.option(
                "--no-services",
                is_flag=True,
                help="Only those of --service. By default also "
                f"{', '.join(f'{name} ({SERVICES[name].port})' for name in SERVICES)}; "
                "none with --mirror.",
            ),
            click.option(
                "--pcap",
                metavar="FILE",
                type=click.Path(dir_okay=False, path_type=Path),
                help="Record all packets for Wireshark (pcapng).",
            ),
            click.option(
                "--workers",
                metavar="N",
                type=WORKERS_RANGE,
                default=1,
                help="Stacks that share the work, each with a thread of its own; 1 by default.",
            ),
        ]
    ):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]
