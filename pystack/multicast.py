"""Multicast socket options that are C structs: which group, which source, which interface.

Called by: socket.
RFCs: 3493 section 5.2, 3678; ip(7), ipv6(7).
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from pystack.addresses import MAPPED

JOIN, LEAVE, JOIN_SOURCE, LEAVE_SOURCE, BLOCK, UNBLOCK = range(1, 7)
IP, IPV6 = 0, 41  # levels, by Linux's numbers
IP_MULTICAST_IF = (IP, 32)
# Options whose value is struct ip_mreq(n), ip_mreq_source, ipv6_mreq -> what they do.
MREQ = {(IP, 35): JOIN, (IP, 36): LEAVE}
MREQ_SOURCE = {
    (IP, 37): UNBLOCK,
    (IP, 38): BLOCK,
    (IP, 39): JOIN_SOURCE,
    (IP, 40): LEAVE_SOURCE,
}
MREQ6 = {(IPV6, 20): JOIN, (IPV6, 21): LEAVE}
# struct group_req, group_source_req, which both families have.
GROUP_REQ = {42: JOIN, 45: LEAVE}
GROUP_SOURCE_REQ = {43: BLOCK, 44: UNBLOCK, 46: JOIN_SOURCE, 47: LEAVE_SOURCE}
# struct ip_msfilter, and group_filter, which both families have.
FILTERS = {(IP, 41), (IP, 48), (IPV6, 48)}
OPTIONS = {IP_MULTICAST_IF, *MREQ, *MREQ_SOURCE, *MREQ6, *FILTERS} | {
    (level, number) for level in (IP, IPV6) for number in (*GROUP_REQ, *GROUP_SOURCE_REQ)
}
EXCLUDE, INCLUDE = 0, 1  # MCAST_EXCLUDE, MCAST_INCLUDE
SOURCES_MOST = {IP: 10, IPV6: 64}  # Linux's igmp_max_msf, mld_max_msf
STORAGE = 128  # bytes of struct sockaddr_storage
INDEX = struct.Struct("@I0Q")  # an interface, and what aligns a sockaddr_storage behind it
THE_INTERFACE = 1
ANY = MAPPED + bytes(4)


class Request:
    """What an option asks for; addresses as the engine has them."""

    __slots__ = ("call", "group", "interface", "source")

    def __init__(
        self, call: int, group: bytes, source: bytes = ANY, interface: bytes = ANY
    ) -> None:
        self.call = call
        self.group = group
        self.source = source
        self.interface = interface  # by an address of it


def request(option: tuple[int, int], value: bytes) -> Request:
    """Read the struct of an option by which a socket joins or leaves; OSError as in Linux."""
    if option in MREQ:
        return from_mreq(MREQ[option], value)
    if option in MREQ_SOURCE:
        return from_mreq_source(MREQ_SOURCE[option], value)
    if option in MREQ6:
        need(value, 20)
        check_index(value[16:20])
        return Request(MREQ6[option], value[:16])
    return from_group_req(*option, value)


def need(value: bytes, size: int) -> None:
    if len(value) < size:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def check_index(value: bytes) -> None:
    """0: any interface; a stack has one."""
    if struct.unpack("=I", value)[0] > THE_INTERFACE:
        raise OSError(errno.ENODEV, "pystack: a stack has one interface, of index 0 or 1")


def from_mreq(call: int, value: bytes) -> Request:
    need(value, 8)
    if len(value) >= 12:
        check_index(value[8:12])
    return Request(call, MAPPED + value[:4], interface=MAPPED + value[4:8])


def from_mreq_source(call: int, value: bytes) -> Request:
    """Group, interface, source, in this order on Linux."""
    need(value, 12)
    return Request(call, MAPPED + value[:4], MAPPED + value[8:12], MAPPED + value[4:8])


def from_group_req(level: int, number: int, value: bytes) -> Request:
    need(value, INDEX.size + STORAGE)
    check_index(value[:4])
    group = from_sockaddr(level, value[INDEX.size : INDEX.size + STORAGE])
    if number in GROUP_REQ:
        return Request(GROUP_REQ[number], group)
    need(value, INDEX.size + 2 * STORAGE)
    source = from_sockaddr(level, value[INDEX.size + STORAGE :])
    return Request(GROUP_SOURCE_REQ[number], group, source)


def from_sockaddr(level: int, value: bytes) -> bytes:
    """The address in a sockaddr_storage of the level's family."""
    family = struct.unpack_from("=H", value)[0]
    if level == IP and family == socket.AF_INET:
        return MAPPED + value[4:8]
    if level == IPV6 and family == socket.AF_INET6:
        return value[8:24]
    raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))


def interface_of(value: bytes) -> bytes:
    """IP_MULTICAST_IF: struct in_addr, ip_mreq or ip_mreqn."""
    need(value, 4)
    if len(value) >= 12:
        check_index(value[8:12])
    return MAPPED + (value[4:8] if len(value) >= 8 else value[:4])


class FilterRequest:
    """Which sources of a group to hear: these only, or all but these."""

    __slots__ = ("group", "include", "interface", "sources")

    def __init__(
        self, group: bytes, include: bool, sources: list[bytes], interface: bytes = ANY
    ) -> None:
        self.group = group
        self.include = include
        self.sources = sources
        self.interface = interface


def filter_request(option: tuple[int, int], value: bytes) -> FilterRequest:
    """IP_MSFILTER and MCAST_MSFILTER (RFC 3678 sections 4.1.3 and 5.1.3); OSError as in Linux."""
    level, number = option
    if number == 41:
        need(value, 16)
        mode, count = struct.unpack_from("=II", value, 8)
        few(level, count)
        need(value, 16 + 4 * count)
        sources = [MAPPED + value[at : at + 4] for at in range(16, 16 + 4 * count, 4)]
        group, interface = MAPPED + value[:4], MAPPED + value[4:8]
        return FilterRequest(group, included(mode), sources, interface)
    start = INDEX.size + STORAGE + 8
    need(value, start)
    mode, count = struct.unpack_from("=II", value, start - 8)
    few(level, count)
    need(value, start + STORAGE * count)
    check_index(value[:4])
    group = from_sockaddr(level, value[INDEX.size :])
    places = range(start, start + STORAGE * count, STORAGE)
    sources = [from_sockaddr(level, value[at : at + STORAGE]) for at in places]
    return FilterRequest(group, included(mode), sources)


def few(level: int, count: int) -> None:
    if count > SOURCES_MOST[level]:
        raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))


def included(mode: int) -> bool:
    if mode not in (EXCLUDE, INCLUDE):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return mode == INCLUDE
