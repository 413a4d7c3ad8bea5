"""rtnetlink: interfaces, addresses and routes of this network namespace's kernel. Linux only.

Called by: netlink; script, for the kernel's side of its packets.
RFCs: 3549; netlink(7), rtnetlink(7).
"""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

    from pystack.device.addressing import Address, Interface, Network

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_DUMP = 0x1, 0x4, 0x10, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
RTM_NEWLINK, RTM_GETLINK = 16, 18
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
IFLA_IFNAME, IFLA_MTU = 3, 4
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFA_F_NODAD = 0x02
IFF_UP = 1
RTA_DST, RTA_OIF, RTA_METRICS, RTA_TABLE = 1, 4, 8, 15
RT_TABLE_MAIN, RT_TABLE_LOCAL = 254, 255
RTPROT_STATIC = 4
RT_SCOPE_LINK = 253
RTN_UNICAST, RTN_LOCAL = 1, 2
# Of the types of a route, those that say where packets go, or that they go nowhere.
ROUTE_TYPES = {1: "unicast", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
RTAX_LOCK = 1
METRICS = {
    "mtu": 2, "window": 3, "rtt": 4, "rttvar": 5, "ssthresh": 6, "cwnd": 7, "advmss": 8,
    "reordering": 9, "hoplimit": 10, "initcwnd": 11, "features": 12, "rto_min": 13, "initrwnd": 14,
    "quickack": 15,
}  # fmt: skip
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

NLMSGHDR = struct.Struct("=IHHII")  # length, type, flags, number, port
RTATTR = struct.Struct("=HH")  # length, type
IFINFOMSG = struct.Struct("=BxHiII")  # family, type, index, flags, which of them to change
IFADDRMSG = struct.Struct("=BBBBI")  # family, length of the prefix, flags, scope, index
# Family, lengths of destination and source, TOS, table, protocol, scope, type, flags.
RTMSG = struct.Struct("=8BI")
LARGEST = 1 << 16


@dataclass(frozen=True)
class Link:
    """An interface."""

    index: int
    name: str
    mtu: int
    is_up: bool


class Rtnetlink:
    """A conversation with the kernel; close it, or use it in a with statement."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self.socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self.number = 0  # of the last request
        self.interrupted = False  # its answer: something changed meanwhile

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()

    # What there is.

    def links(self) -> list[Link]:
        """All interfaces."""
        found = []
        for body in self._dump(RTM_GETLINK, IFINFOMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
            _, _, index, flags, _ = IFINFOMSG.unpack_from(body)
            has = attributes(body[IFINFOMSG.size :])
            name = os.fsdecode(has[IFLA_IFNAME].rstrip(b"\0"))
            found.append(Link(index, name, number_in(has[IFLA_MTU]), bool(flags & IFF_UP)))
        return found

    def addresses(self) -> list[tuple[int, Interface]]:
        """(index of the interface, address with prefix)"""
        found = []
        for body in self._dump(RTM_GETADDR, IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
            family, length, _, _, index = IFADDRMSG.unpack_from(body)
            has = attributes(body[IFADDRMSG.size :])
            address = has.get(IFA_LOCAL) or has.get(IFA_ADDRESS)
            if address and family in FAMILIES.values():
                found.append((index, ip_interface((address, length))))
        return found

    def routes(self) -> list[tuple[int | None, Network]]:
        """(index of the interface, destination) of those that people set, in whatever table."""
        found = []
        for body in self._dump(RTM_GETROUTE, RTMSG.pack(socket.AF_UNSPEC, *[0] * 8)):
            family, length, _, _, table, _, _, kind, _ = RTMSG.unpack_from(body)
            has = attributes(body[RTMSG.size :])
            if RTA_TABLE in has:
                table = number_in(has[RTA_TABLE])
            if family not in FAMILIES.values() or kind not in ROUTE_TYPES:
                continue
            if table == RT_TABLE_LOCAL:
                continue
            destination = has.get(RTA_DST) or bytes(4 if family == socket.AF_INET else 16)
            index = number_in(has[RTA_OIF]) if RTA_OIF in has else None
            found.append((index, ip_network((destination, length))))
        return found

    def is_local(self, address: Address) -> bool:
        """Whether packets to an address are this host's own."""
        family, length = FAMILIES[address.version], address.max_prefixlen
        asked = RTMSG.pack(family, length, *[0] * 7) + attribute(RTA_DST, address.packed)
        (body,) = self._ask(RTM_GETROUTE, NLM_F_ACK, asked)
        return bool(RTMSG.unpack_from(body)[7] == RTN_LOCAL)

    # What is to be.

    def set_mtu(self, index: int, mtu: int) -> None:
        change = IFINFOMSG.pack(socket.AF_UNSPEC, 0, index, 0, 0)
        self._ask(RTM_NEWLINK, NLM_F_ACK, change + attribute(IFLA_MTU, packed(mtu)))

    def set_up(self, index: int) -> None:
        change = IFINFOMSG.pack(socket.AF_UNSPEC, 0, index, IFF_UP, IFF_UP)
        self._ask(RTM_NEWLINK, NLM_F_ACK, change)

    def add_address(self, index: int, interface: Interface) -> None:
        """Without duplicate address detection: nobody else is there."""
        flags = IFA_F_NODAD if interface.version == 6 else 0
        family, length = FAMILIES[interface.version], interface.network.prefixlen
        address = interface.packed
        self._ask(
            RTM_NEWADDR,
            NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
            IFADDRMSG.pack(family, length, flags, 0, index)
            + attribute(IFA_LOCAL, address)
            + attribute(IFA_ADDRESS, address),
        )

    def add_route(self, index: int, network: Network) -> None:
        self._route(NLM_F_CREATE | NLM_F_EXCL, index, network)

    def replace_route(self, index: int, network: Network, metrics: dict[str, int]) -> None:
        """metrics: as ip-route(8) names them; those of METRICS, with an MTU that is locked."""
        numbers = {METRICS[name]: value for name, value in metrics.items()}
        if "mtu" in metrics:
            numbers[RTAX_LOCK] = 1 << METRICS["mtu"]
        nested = b"".join(attribute(kind, packed(value)) for kind, value in numbers.items())
        self._route(NLM_F_CREATE | NLM_F_REPLACE, index, network, attribute(RTA_METRICS, nested))

    def _route(self, flags: int, index: int, network: Network, more: bytes = b"") -> None:
        family, length = FAMILIES[network.version], network.prefixlen
        self._ask(
            RTM_NEWROUTE,
            NLM_F_ACK | flags,
            RTMSG.pack(
                family, length, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_LINK, RTN_UNICAST, 0
            )
            + attribute(RTA_DST, network.network_address.packed)
            + attribute(RTA_OIF, packed(index))
            + more,
        )

    # Messages.

    def _dump(self, kind: int, body: bytes) -> list[bytes]:
        """All there are; anew if something changed meanwhile."""
        while True:
            found = self._ask(kind, NLM_F_DUMP, body)
            if not self.interrupted:
                return found

    def _ask(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        """The bodies of the answers to a request; OSError if it is refused."""
        self.number += 1
        self.interrupted = False
        size = NLMSGHDR.size + len(body)
        header = NLMSGHDR.pack(size, kind, NLM_F_REQUEST | flags, self.number, 0)
        self.socket.send(header + body)
        found: list[bytes] = []
        while True:
            for kind, flags, answer in self._receive():
                self.interrupted |= bool(flags & NLM_F_DUMP_INTR)
                if kind not in (NLMSG_ERROR, NLMSG_DONE):
                    found.append(answer)
                    continue
                (error,) = struct.unpack_from("=i", answer)
                if error:
                    reason = os.strerror(-error)
                    raise OSError(-error, f"pystack: cannot set up the interface: {reason}")
                return found

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        """(type, flags, body) of the messages of a datagram that answer the last request."""
        data = self.socket.recv(LARGEST)
        for size, kind, flags, number, _, at in headers(data):
            if number == self.number:
                yield kind, flags, data[at + NLMSGHDR.size : at + size]


def headers(data: bytes) -> Iterator[tuple[int, int, int, int, int, int]]:
    """Each message's header, and where it is."""
    at = 0
    while at + NLMSGHDR.size <= len(data):
        header = NLMSGHDR.unpack_from(data, at)
        yield (*header, at)
        at += aligned(max(header[0], NLMSGHDR.size))


def attributes(data: bytes) -> dict[int, bytes]:
    """By type."""
    found = {}
    at = 0
    while at + RTATTR.size <= len(data):
        size, kind = RTATTR.unpack_from(data, at)
        found[kind & 0x3FFF] = data[at + RTATTR.size : at + size]
        at += aligned(max(size, RTATTR.size))
    return found


def attribute(kind: int, value: bytes) -> bytes:
    size = RTATTR.size + len(value)
    return (RTATTR.pack(size, kind) + value).ljust(aligned(size), b"\0")


def aligned(size: int) -> int:
    return (size + 3) & ~3


def packed(number: int) -> bytes:
    return struct.pack("=I", number)


def number_in(value: bytes) -> int:
    return int(struct.unpack("=I", value)[0])
