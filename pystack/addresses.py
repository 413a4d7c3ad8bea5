"""Addresses as sockets write them, and as the engine has them: 16 bytes, IPv4 as ::ffff:a.b.c.d.

Called by: socket, stack, aio, trio.
RFCs: 4291 section 2.5.5.2, 3493 section 3.7, 8305 section 4.
"""

from __future__ import annotations

import socket
from functools import lru_cache
from operator import index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    Info = TypeVar("Info", bound=tuple[Any, ...])  # of getaddrinfo: the family comes first

MAPPED = bytes(10) + b"\xff\xff"
ANY = {socket.AF_INET: MAPPED + bytes(4), socket.AF_INET6: bytes(16)}
WIDTH = {socket.AF_INET: 2, socket.AF_INET6: 4}
FLOW_MAX = 0xFFFFF

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


@lru_cache(maxsize=1024)
def packed(family: int, host: str) -> bytes:
    """The address that a host of a socket address means; socket.gaierror if it is none.

    "" is the unspecified address, "<broadcast>" IPv4's limited broadcast, as in socket.
    """
    if host == "":
        return ANY[socket.AddressFamily(family)]
    if host == "<broadcast>" and family == socket.AF_INET:
        return MAPPED + b"\xff\xff\xff\xff"
    try:
        address = socket.inet_pton(family, host)
    except (OSError, ValueError):
        raise socket.gaierror(
            socket.EAI_NONAME,
            f"pystack: {host!r} is no IPv{4 if family == socket.AF_INET else 6} address; "
            "a stack knows no names",
        ) from None
    return MAPPED + address if family == socket.AF_INET else address


@lru_cache(maxsize=1024)
def unpacked(family: int, address: bytes) -> str:
    """The address as text, on a socket of this family."""
    if family == socket.AF_INET:
        return socket.inet_ntop(family, address[12:])
    return socket.inet_ntop(family, address)


def plain(address: bytes) -> str:
    """The address as text, IPv4 without the dress of IPv6."""
    return unpacked(socket.AF_INET if address[:12] == MAPPED else socket.AF_INET6, address)


def port_number(port: Any, call: str) -> int:
    if not isinstance(port, int):
        raise TypeError(f"{call}(): port must be an int, not {type(port).__name__}")
    if not 0 <= port <= 0xFFFF:
        raise OverflowError(f"{call}(): port must be 0-65535.")
    return port


def from_tuple(family: int, address: Any, call: str) -> tuple[bytes, int]:
    """(address, port) of a socket address; the exceptions are those of socket."""
    name = "AF_INET" if family == socket.AF_INET else "AF_INET6"
    if not isinstance(address, tuple):
        raise TypeError(f"{call}(): {name} address must be tuple, not {type(address).__name__}")
    if not 2 <= len(address) <= WIDTH[socket.AddressFamily(family)]:
        form = "a pair (host, port)" if family == socket.AF_INET else "a tuple (host, port[, ...])"
        raise TypeError(f"{call}(): {name} address must be {form}")
    host, port = address[:2]
    if isinstance(host, (bytes, bytearray)):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str):
        raise TypeError(f"{call}(): host must be str, not {type(host).__name__}")
    if any(map(index, address[2:])) and not 0 <= address[2] <= FLOW_MAX:
        raise OverflowError(f"{call}(): flowinfo must be 0-{FLOW_MAX}.")
    return packed(family, host), port_number(port, call)


def to_tuple(family: int, address: bytes, port: int) -> SocketAddress:
    """The socket address: (host, port), for IPv6 with flow label and scope."""
    if family == socket.AF_INET:
        return unpacked(family, address), port
    return unpacked(family, address), port, 0, 0


def interleaved(infos: list[Info], first: int) -> list[Info]:
    """The families by turns, after `first` of the first one (RFC 8305 section 4)."""
    families: dict[int, list[Info]] = {}
    for info in infos:
        families.setdefault(info[0], []).append(info)
    lists = list(families.values())
    ordered = lists[0][: first - 1]
    del lists[0][: first - 1]
    while any(lists):
        ordered += [one.pop(0) for one in lists if one]
    return ordered
