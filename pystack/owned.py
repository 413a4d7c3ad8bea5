"""Owned: which addresses belong to which stack, however they are written.

Called by: patching, aio.install, trio.
RFCs: 4291 section 2.5.5.2 (IPv4-mapped addresses).
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING, Any

from pystack.stack import Address, Network, parse_network

if TYPE_CHECKING:
    from pystack.stack import Stack

VERSIONS: dict[int, int] = {AF_INET: 4, AF_INET6: 6}


def address_of(host: Any) -> Address | None:
    """The address that a host of a socket address is; None if it is a name, or nothing."""
    host = text_of(bytes(host) if isinstance(host, bytearray) else host)
    if not isinstance(host, str):
        return None
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def text_of(host: Any) -> Any:
    """A host's name as text, in whichever form it was given."""
    return host.decode("ascii", "replace") if isinstance(host, bytes) else host


def refused(host: Any) -> OSError:
    """Why a call of the kernel's is not made."""
    return OSError(
        errno.ENETUNREACH,
        f"pystack: {host} belongs to a stack, and this call would leave it to the kernel",
    )


class Owned:
    """A table of networks, the longest prefix first."""

    def __init__(self) -> None:
        self.rows: list[tuple[Network, Stack]] = []

    def add(self, *stacks: Stack, routes: Iterable[str | Network] = ()) -> None:
        """The stacks' own networks, but for what is the device's; and what the first leads to."""
        for stack in stacks:
            beyond = map(parse_network, routes if stack is stacks[0] else ())
            self.rows += [(network, stack) for network in (*stack.networks, *beyond)]
        self.rows.sort(key=lambda row: row[0].prefixlen, reverse=True)

    def remove(self, stack: Stack) -> None:
        self.rows = [row for row in self.rows if row[1] is not stack]

    @property
    def stacks(self) -> list[Stack]:
        return list(dict.fromkeys(stack for _, stack in self.rows))

    def everywhere(self, family: int) -> Stack | None:
        """The stack that all addresses of a family lead to, so that none is the kernel's."""
        version = VERSIONS.get(family)
        rows = [row for row in self.rows if row[0].version == version]
        stacks = {id(stack) for _, stack in rows}
        whole = len(stacks) == 1 and rows[-1][0].prefixlen == 0  # which is the last, if it is there
        return rows[-1][1] if whole else None

    def stack(self, host: Any) -> Stack | None:
        """Whose a host is, given by its address; None: the kernel's, or no address."""
        address = address_of(host)
        if address is None:
            return None
        for network, stack in self.rows:
            if address.version == network.version and address in network:
                return None if is_other_side(stack, address) else stack
        return None


def is_other_side(stack: Stack, address: IPv4Address | IPv6Address) -> bool:
    """An address in the stack's networks that the kernel has: its end of the device."""
    return stack.device is not None and address in stack.device.local_addresses
