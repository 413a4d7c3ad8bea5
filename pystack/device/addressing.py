"""Which addresses the kernel's side of a device gets, and which networks are routed to it.

Called by: tun, when the stack starts; the child of `pystack run`, through it.
RFCs: 3021 (/31), 6164 (/127).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
)

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Plan:
    """What to set on the interface."""

    addresses: tuple[Interface, ...]  # each brings the route to its network with it
    routes: tuple[Network, ...]  # networks that no address brings

    @property
    def local_addresses(self) -> tuple[Address, ...]:
        return tuple(interface.ip for interface in self.addresses)


def parse_host_addresses(given: Iterable[str | Address] | None) -> tuple[Address, ...]:
    """Addresses from text; ValueError says which is none."""
    return tuple(ip_address(one) for one in given or ())


def plan(networks: Sequence[Network], host_addresses: Sequence[Address] = ()) -> Plan:
    """Decide by the stack's networks, and by the host's addresses if any were asked for.

    A host address within a network is set with that network's prefix. A network without one gets
    its first address, unless it is a single address or a host address outside all networks serves
    its family: then it is routed only. ValueError: an address that a host cannot have.
    """
    addresses = [host_interface(address, networks) for address in host_addresses]
    outside = {host.version for host in addresses if host.network not in networks}
    routes = []
    for network in networks:
        if any(host.network == network for host in addresses):
            continue
        if network.version in outside or network.prefixlen == network.max_prefixlen:
            routes.append(network)
        else:
            addresses.append(ip_interface(f"{first_host(network)}/{network.prefixlen}"))
    return Plan(tuple(addresses), tuple(routes))


def first_host(network: Network) -> Address:
    """The address for the kernel's side: the first that may be a host's."""
    if network.prefixlen >= network.max_prefixlen - 1:  # RFC 3021, RFC 6164
        return network.network_address
    return network.network_address + 1


def host_interface(address: Address, networks: Sequence[Network]) -> Interface:
    """The address with the prefix of the network that it lies in, or else alone."""
    for network in networks:
        if address not in network:
            continue
        if network.prefixlen < network.max_prefixlen - 1 and not is_host(address, network):
            raise ValueError(f"{address} is no host address in {network}")
        return ip_interface(f"{address}/{network.prefixlen}")
    return ip_interface(address)


def is_host(address: Address, network: Network) -> bool:
    """Neither the network's own address (in IPv6: that of all routers) nor its broadcast."""
    if address == network.network_address:
        return False
    return network.version == 6 or address != network.broadcast_address
