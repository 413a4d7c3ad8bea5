"""What recvmsg with MSG_ERRQUEUE tells: ICMP errors about what a socket has sent.

Called by: socket; applications, to read the control messages of any socket, a kernel's too.
RFCs: 4884 (extensions), 4950 (MPLS label stacks); Linux's struct sock_extended_err, ip(7).
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pystack.addresses import MAPPED, SocketAddress, to_tuple, unpacked

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from pystack.engine.endpoint import Report

# struct sock_extended_err: errno, origin, type, code, pad, info, and of the extensions offset,
# flags; then the offender's address.
EXTENDED = struct.Struct("=I4BIHBx")
SOCKADDR = {socket.AF_INET: 16, socket.AF_INET6: 28}
LOCAL = 1  # SO_EE_ORIGIN_LOCAL
INVALID = 0x01  # SO_EE_RFC4884_FLAG_INVALID
ORIGINS = {0: "none", 1: "local", 2: "icmp", 3: "icmp6"}
KINDS = {(0, 11), (41, 25)}  # IP_RECVERR, IPV6_RECVERR by Linux's numbers
EXTENSION_VERSION = 2
MPLS_LABEL_STACK = (1, 1)  # class and type of the object (RFC 4950 section 3)


@dataclass(frozen=True)
class ExtensionObject:
    """An object of an ICMP extension (RFC 4884 section 7)."""

    class_number: int
    type: int
    data: bytes


@dataclass(frozen=True)
class MplsLabel:
    """An entry of an MPLS label stack (RFC 4950 section 3, RFC 3032 section 2.1)."""

    label: int
    traffic_class: int
    bottom: bool
    ttl: int


@dataclass(frozen=True)
class ExtendedError:
    """An error of the error queue."""

    errno: int
    origin: str  # "icmp", "icmp6", or "local": this host itself
    type: int  # of the ICMP message
    code: int
    info: int  # an MTU, a pointer
    offender: str | None  # who sent the ICMP message
    quoted: bytes  # of the payload of what was sent
    objects: tuple[ExtensionObject, ...] = ()

    @property
    def mpls(self) -> tuple[MplsLabel, ...]:
        """The label stack that the packet had when it met the error, topmost first."""
        return tuple(
            mpls_label(entry)
            for one in self.objects
            if (one.class_number, one.type) == MPLS_LABEL_STACK
            for (entry,) in struct.iter_unpack("!I", one.data[: len(one.data) // 4 * 4])
        )


def mpls_label(entry: int) -> MplsLabel:
    return MplsLabel(entry >> 12, entry >> 9 & 7, bool(entry >> 8 & 1), entry & 0xFF)


def parse_extensions(data: bytes) -> tuple[ExtensionObject, ...]:
    """The objects of an extension structure; those before the first fault (RFC 4884 section 7)."""
    if len(data) < 4 or data[0] >> 4 != EXTENSION_VERSION:
        return ()
    return tuple(objects_in(data[4:]))


def objects_in(data: bytes) -> Iterator[ExtensionObject]:
    while len(data) >= 4:
        length, class_number, kind = struct.unpack_from("!HBB", data)
        if not 4 <= length <= len(data):
            return
        yield ExtensionObject(class_number, kind, data[4:length])
        data = data[length:]


def extended_error(
    control: Iterable[tuple[int, int, Buffer]], data: bytes = b""
) -> ExtendedError | None:
    """Read what recvmsg(..., MSG_ERRQUEUE) returned: its control messages and its data.

    Objects of RFC 4884 are there if setsockopt had asked for them (IP_RECVERR_RFC4884) and `data`
    is long enough. None: there is no error among the messages.
    """
    for level, kind, raw in control:
        value = bytes(raw)
        if (level, kind) not in KINDS or len(value) < EXTENDED.size:
            continue
        number, origin, icmp_type, code, _, info, at, flags = EXTENDED.unpack_from(value)
        objects: tuple[ExtensionObject, ...] = ()
        if at and not flags & INVALID:
            objects = parse_extensions(data[at:])
        return ExtendedError(
            number, ORIGINS.get(origin, str(origin)), icmp_type, code, info,
            offender_of(value[EXTENDED.size :]), data[:at] if at else data, objects,
        )  # fmt: skip
    return None


def offender_of(sockaddr: bytes) -> str | None:
    """The address in a struct sockaddr; None: there is none, or only a part of it."""
    family = int.from_bytes(sockaddr[:2], sys.byteorder)
    if family == socket.AF_INET and len(sockaddr) >= 8:
        return unpacked(socket.AF_INET, MAPPED + sockaddr[4:8])
    if family == socket.AF_INET6 and len(sockaddr) >= 24:
        return unpacked(socket.AF_INET6, sockaddr[8:24])
    return None


# What a stack's own sockets tell.


def sockaddr(family: int, address: bytes) -> bytes:
    """A struct sockaddr_in or sockaddr_in6 without a port; zeros for the unspecified address."""
    size = SOCKADDR[socket.AddressFamily(family)]
    if address in (bytes(16), MAPPED + bytes(4)):
        return bytes(size)
    start = struct.pack("=H", family)
    if family == socket.AF_INET:
        return (start + bytes(2) + address[12:]).ljust(size, b"\0")
    return (start + bytes(6) + address).ljust(size, b"\0")


def control_message(family: int, report: Report) -> bytes:
    """struct sock_extended_err with the offender's address behind it."""
    _, _, _, _, offender, number, origin, icmp_type, code, info, at, invalid, _, _ = report
    flags = INVALID if invalid else 0
    fields = EXTENDED.pack(number, origin, icmp_type, code, 0, info, at, flags)
    return fields + sockaddr(family, offender)


def sender(family: int, report: Report) -> SocketAddress:
    """Whom the offending packet went to."""
    return to_tuple(family, report[2], report[3])
