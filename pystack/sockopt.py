"""Socket options and control messages: this system's numbers, and Linux's, which the engine uses.

Called by: socket.
RFCs: 3542 (control messages); ip(7), ipv6(7), udp(7).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterable, Sequence
from operator import index

from pystack.core.tcp.congestion.interface import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

# Of both families (RFC 3678 section 5).
MCAST = {
    "MCAST_JOIN_GROUP": 42,
    "MCAST_BLOCK_SOURCE": 43,
    "MCAST_UNBLOCK_SOURCE": 44,
    "MCAST_LEAVE_GROUP": 45,
    "MCAST_JOIN_SOURCE_GROUP": 46,
    "MCAST_LEAVE_SOURCE_GROUP": 47,
    "MCAST_MSFILTER": 48,
}
# Linux's numbers of all options that a stack's sockets have, by level.
LINUX = {
    ("SOL_SOCKET", 1): {
        "SO_REUSEADDR": 2,
        "SO_TYPE": 3,
        "SO_ERROR": 4,
        "SO_BROADCAST": 6,
        "SO_SNDBUF": 7,
        "SO_RCVBUF": 8,
        "SO_KEEPALIVE": 9,
        "SO_OOBINLINE": 10,
        "SO_NO_CHECK": 11,
        "SO_LINGER": 13,
        "SO_REUSEPORT": 15,
        "SO_RCVLOWAT": 18,
        "SO_SNDLOWAT": 19,
        "SO_RCVTIMEO": 20,
        "SO_SNDTIMEO": 21,
        "SO_TIMESTAMP": 29,
        "SO_ACCEPTCONN": 30,
        "SO_SNDBUFFORCE": 32,
        "SO_RCVBUFFORCE": 33,
        "SO_TIMESTAMPNS": 35,
        "SO_TIMESTAMPING": 37,
        "SO_PROTOCOL": 38,
        "SO_DOMAIN": 39,
        "SO_RXQ_OVFL": 40,
        "SO_PEEK_OFF": 42,
        "SO_MAX_PACING_RATE": 47,
        "SO_TIMESTAMP_NEW": 63,
        "SO_TIMESTAMPNS_NEW": 64,
        "SO_TIMESTAMPING_NEW": 65,
        "SO_RCVTIMEO_NEW": 66,
        "SO_SNDTIMEO_NEW": 67,
        "SO_BUF_LOCK": 72,
    },
    ("IPPROTO_TCP", 6): {
        "TCP_NODELAY": 1,
        "TCP_MAXSEG": 2,
        "TCP_CORK": 3,
        "TCP_KEEPIDLE": 4,
        "TCP_KEEPINTVL": 5,
        "TCP_KEEPCNT": 6,
        "TCP_SYNCNT": 7,
        "TCP_LINGER2": 8,
        "TCP_DEFER_ACCEPT": 9,
        "TCP_WINDOW_CLAMP": 10,
        "TCP_QUICKACK": 12,
        "TCP_INFO": 11,
        "TCP_CONGESTION": 13,
        "TCP_THIN_LINEAR_TIMEOUTS": 16,
        "TCP_THIN_DUPACK": 17,
        "TCP_USER_TIMEOUT": 18,
        "TCP_FASTOPEN": 23,
        "TCP_TIMESTAMP": 24,
        "TCP_NOTSENT_LOWAT": 25,
        "TCP_CC_INFO": 26,
        "TCP_SAVE_SYN": 27,
        "TCP_SAVED_SYN": 28,
        "TCP_FASTOPEN_CONNECT": 30,
        "TCP_FASTOPEN_KEY": 33,
        "TCP_FASTOPEN_NO_COOKIE": 34,
        "TCP_INQ": 36,
        "TCP_IS_MPTCP": 43,
        "TCP_RTO_MAX_MS": 44,
        "TCP_RTO_MIN_US": 45,
        "TCP_DELACK_MAX_US": 46,
    },
    ("IPPROTO_IP", 0): {
        "IP_TOS": 1,
        "IP_TTL": 2,
        "IP_PKTINFO": 8,
        "IP_MTU_DISCOVER": 10,
        "IP_RECVERR": 11,
        "IP_RECVTTL": 12,
        "IP_RECVTOS": 13,
        "IP_MTU": 14,
        "IP_FREEBIND": 15,
        "IP_TRANSPARENT": 19,
        "IP_RECVORIGDSTADDR": 20,
        "IP_MINTTL": 21,
        "IP_BIND_ADDRESS_NO_PORT": 24,
        "IP_RECVERR_RFC4884": 26,
        "IP_MULTICAST_IF": 32,
        "IP_MULTICAST_TTL": 33,
        "IP_MULTICAST_LOOP": 34,
        "IP_ADD_MEMBERSHIP": 35,
        "IP_DROP_MEMBERSHIP": 36,
        "IP_UNBLOCK_SOURCE": 37,
        "IP_BLOCK_SOURCE": 38,
        "IP_ADD_SOURCE_MEMBERSHIP": 39,
        "IP_DROP_SOURCE_MEMBERSHIP": 40,
        "IP_MSFILTER": 41,
        "IP_MULTICAST_ALL": 49,
        "IP_LOCAL_PORT_RANGE": 51,
        **MCAST,
    },
    ("IPPROTO_IPV6", 41): {
        "IPV6_FLOWINFO": 11,
        "IPV6_UNICAST_HOPS": 16,
        "IPV6_MULTICAST_IF": 17,
        "IPV6_MULTICAST_HOPS": 18,
        "IPV6_MULTICAST_LOOP": 19,
        "IPV6_JOIN_GROUP": 20,
        "IPV6_LEAVE_GROUP": 21,
        "IPV6_MTU_DISCOVER": 23,
        "IPV6_MTU": 24,
        "IPV6_RECVERR": 25,
        "IPV6_V6ONLY": 26,
        "IPV6_MULTICAST_ALL": 29,
        "IPV6_RECVERR_RFC4884": 31,
        "IPV6_FLOWINFO_SEND": 33,
        **MCAST,
        "IPV6_RECVPKTINFO": 49,
        "IPV6_PKTINFO": 50,
        "IPV6_RECVHOPLIMIT": 51,
        "IPV6_HOPLIMIT": 52,
        "IPV6_RECVTCLASS": 66,
        "IPV6_TCLASS": 67,
        "IPV6_AUTOFLOWLABEL": 70,
        "IPV6_MINHOPCOUNT": 73,
        "IPV6_RECVORIGDSTADDR": 74,
        "IPV6_TRANSPARENT": 75,
        "IPV6_FREEBIND": 78,
    },
    ("IPPROTO_UDP", 17): {
        "UDP_CORK": 1,
        "UDP_NO_CHECK6_TX": 101,
        "UDP_NO_CHECK6_RX": 102,
        "UDP_SEGMENT": 103,
        "UDP_GRO": 104,
    },
}


def local_number(name: str, linux: int) -> int:
    """This system's number, or Linux's if it has none or Python does not know it."""
    number: int = getattr(socket, name, linux)
    return number


# (level, option) of this system -> of Linux.
TO_LINUX = {
    (local_number(level, level_linux), local_number(name, linux)): (level_linux, linux)
    for (level, level_linux), options in LINUX.items()
    for name, linux in options.items()
}
# The constants by name, for those that Python's socket lacks.
NUMBERS = {
    name: local_number(name, linux) for options in LINUX.values() for name, linux in options.items()
}

IP, TCP, UDP, IPV6 = 0, 6, 17, 41
SO_LINGER = (1, 13)
SO_ERROR = (1, 4)
SO_MAX_PACING_RATE = (1, 47)
TCP_INFO, TCP_CONGESTION, TCP_FASTOPEN_KEY = (6, 11), (6, 13), (6, 33)
TCP_CC_INFO, TCP_SAVED_SYN, TCP_INQ = (6, 26), (6, 28), (6, 36)
ALGORITHM_NAME_MAX = 16
LINGER = struct.Struct("ii")  # l_onoff, l_linger
INT = struct.Struct("i")
UNSIGNED, LONG = struct.Struct("I"), struct.Struct("q")
TIMEVAL = struct.Struct("qq")  # tv_sec, tv_usec: of 64 bits
FOR_EVER = 9_000_000_000  # seconds

# Options that ask for control messages -> (level, type) of these; all by Linux's numbers.
IP_PKTINFO, IPV6_PKTINFO = (0, 8), (41, 50)
IP_TTL, IPV6_HOPLIMIT = (0, 2), (41, 52)
IP_TOS, IPV6_TCLASS = (0, 1), (41, 67)
UDP_SEGMENT, UDP_GRO = (17, 103), (17, 104)
SO_RXQ_OVFL = (1, 40)
IP_ORIGDSTADDR, IPV6_ORIGDSTADDR = (0, 20), (41, 74)
IPV6_FLOWINFO, IPV6_FLOWINFO_SEND = (41, 11), (41, 33)
TIMEOUTS = {(1, 20): (1, 20), (1, 21): (1, 21), (1, 66): (1, 20), (1, 67): (1, 21)}
SO_REUSEPORT, SO_ACCEPTCONN = (1, 15), (1, 30)
ORIGINAL = (IP_ORIGDSTADDR, IPV6_ORIGDSTADDR)
# Linux's ioctls -> which of Socket.queued's numbers; those that datagram sockets have, too.
SIOCATMARK = 0x8905
IOCTLS = {0x541B: 0, 0x5411: 1, 0x894B: 2, SIOCATMARK: -1}
IOCTLS_OF_ALL = (0x541B, 0x5411)
IP_LOCAL_PORT_RANGE = (0, 51)
ASKS_FOR = {
    (0, 8): IP_PKTINFO,
    (0, 12): IP_TTL,
    (0, 13): IP_TOS,
    (41, 49): IPV6_PKTINFO,
    (41, 51): IPV6_HOPLIMIT,
    (41, 66): IPV6_TCLASS,
    SO_RXQ_OVFL: SO_RXQ_OVFL,
    IP_ORIGDSTADDR: IP_ORIGDSTADDR,
    IPV6_ORIGDSTADDR: IPV6_ORIGDSTADDR,
    IPV6_FLOWINFO: IPV6_FLOWINFO,
}
IP_MINTTL = (0, 21)
ONE = {IP: 1, IPV6: INT.size}  # a byte will do for IP_TOS
ONE_BYTE = (IP_MINTTL, (0, 15), (0, 19))  # which need that at least
IPV6_AUTOFLOWLABEL = (41, 70)
RECVERR = {socket.AF_INET: (0, 11), socket.AF_INET6: (41, 25)}
FROM_LINUX = {linux: local for local, linux in TO_LINUX.items()}

# In which recvmsg tells.
MESSAGE_ORDER = (
    SO_RXQ_OVFL, UDP_GRO, IP_PKTINFO, IPV6_PKTINFO, IP_TTL, IPV6_HOPLIMIT, IP_TOS, IPV6_TCLASS,
    IPV6_FLOWINFO, IP_ORIGDSTADDR, IPV6_ORIGDSTADDR,
)  # fmt: skip

ControlMessage = tuple[int, int, bytes]
# What the engine tells of a datagram: own address, size of a train's pieces or 0, TTL, TOS, own
# port, datagrams lost before it, when it came, IPv6's traffic class with the flow label.
Arrival = tuple[bytes, int, int, int, int, int, int, int]


READY_END = 0x10  # of the engine's ready bits: the peer sends nothing more

# Linux's events of poll, by the engine's ready bits.
POLL = (
    (0x01, 0x001 | 0x040),  # read: POLLIN, POLLRDNORM
    (0x02, 0x004 | 0x100),  # write: POLLOUT, POLLWRNORM
    (0x04, 0x008),  # error: POLLERR
    (0x08, 0x010),  # both directions are over: POLLHUP
    (0x10, 0x2000),  # the peer sends nothing more: POLLRDHUP
    (0x40, 0x002),  # urgent text: POLLPRI
)


def algorithm_number(name: bytes) -> int:
    """Of TCP_CONGESTION; FileNotFoundError (ENOENT) for a name that nobody has."""
    if not name:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    try:
        return NAMES.index(name[:ALGORITHM_NAME_MAX].split(b"\0")[0].decode())
    except (ValueError, UnicodeDecodeError):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None


def algorithm_bytes(number: int) -> bytes:
    return NAMES[number].encode().ljust(ALGORITHM_NAME_MAX, b"\0")


def rate_of(value: bytes) -> int:
    """Of SO_MAX_PACING_RATE: 4 or 8 bytes, all ones for no limit, which is -1."""
    if len(value) >= LONG.size:
        return int(LONG.unpack_from(value)[0])
    if len(value) < UNSIGNED.size:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    rate = int(UNSIGNED.unpack_from(value)[0])
    return -1 if rate == 0xFFFFFFFF else rate


def rate_bytes(rate: int, room: int) -> bytes:
    """As Linux: 8 bytes if there is room for them, or else 4 with the greatest that they hold."""
    if room >= LONG.size:
        return LONG.pack(rate)
    return UNSIGNED.pack(min(rate if rate >= 0 else 0xFFFFFFFF, 0xFFFFFFFF))


def poll_events(ready: int) -> int:
    events = 0
    for bit, event in POLL:
        events |= event if ready & bit else 0
    return events


def sockaddr(family: int, address: bytes, port: int) -> bytes:
    start = struct.pack("=H", family) + port.to_bytes(2, "big")
    if family == socket.AF_INET:
        return start + address[12:] + bytes(8)
    return start + bytes(4) + address + bytes(4)


def timeout_of(value: bytes) -> int:
    """Of SO_RCVTIMEO, a struct timeval, in nanoseconds: 0 for none, -1 for no time at all."""
    if len(value) < TIMEVAL.size:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    seconds, part = TIMEVAL.unpack_from(value)
    if not 0 <= part < 1_000_000:
        raise OSError(errno.EDOM, os.strerror(errno.EDOM))
    if seconds < 0:
        return -1
    return 0 if seconds >= FOR_EVER else int(seconds * 10**9 + part * 1000)


def timeout_bytes(timeout: int) -> bytes:
    return TIMEVAL.pack(timeout // 10**9, timeout % 10**9 // 1000)


def control_messages(asked: Iterable[tuple[int, int]], arrival: Arrival) -> list[ControlMessage]:
    """What recvmsg tells with a datagram, of that which was asked for."""
    address, gso_size, ttl, tos, port, lost, _, flow_information = arrival
    is_v4 = address[:12] == bytes(10) + b"\xff\xff"
    values = {
        SO_RXQ_OVFL: UNSIGNED.pack(lost) if lost else None,
        IP_PKTINFO: INT.pack(0) + address[12:] * 2 if is_v4 else None,
        IPV6_PKTINFO: address + INT.pack(0),
        IP_TTL: INT.pack(ttl) if is_v4 else None,
        IPV6_HOPLIMIT: INT.pack(ttl),
        IP_TOS: bytes([tos]) if is_v4 else None,
        IPV6_TCLASS: INT.pack(tos),
        UDP_GRO: INT.pack(gso_size) if gso_size else None,
        IP_ORIGDSTADDR: sockaddr(socket.AF_INET, address, port) if is_v4 else None,
        IPV6_ORIGDSTADDR: None if is_v4 else sockaddr(socket.AF_INET6, address, port),
        IPV6_FLOWINFO: flow_information.to_bytes(4, "big") if flow_information else None,
    }
    wanted = {UDP_GRO, *asked}
    found = [(FROM_LINUX[kind], values[kind]) for kind in MESSAGE_ORDER if kind in wanted]
    return [(level, kind, value) for (level, kind), value in found if value is not None]


def stream_messages(asked: Iterable[tuple[int, int]], left: int) -> list[ControlMessage]:
    """What recvmsg tells with a stream's bytes; left: how many more there are to read."""
    return [(*FROM_LINUX[TCP_INQ], INT.pack(left))] if TCP_INQ in asked else []


def fitting(messages: list[ControlMessage], room: int) -> tuple[list[ControlMessage], int]:
    """The first messages that fit the room of recvmsg, and MSG_CTRUNC if not all do."""
    for count, message in enumerate(messages):
        room -= socket.CMSG_SPACE(len(message[2]))
        if room < 0:
            return messages[:count], socket.MSG_CTRUNC
    return messages, 0


def messages_of(given: Iterable[Any]) -> list[ControlMessage]:
    """What sendmsg is given; TypeError as from socket's."""
    messages = []
    for item in given:
        level, kind, data = item if isinstance(item, Sequence) and len(item) == 3 else refuse(item)
        messages.append((index(level), index(kind), bytes(memoryview(data))))
    return messages


def refuse(item: object) -> NoReturn:
    raise TypeError(f"sendmsg() argument 2 must be an iterable of 3-item tuples, not of {item!r}")


class SendOptions:
    """What sendmsg's control messages say about one datagram."""

    __slots__ = ("segment", "source", "tos", "ttl")

    def __init__(self) -> None:
        self.source: bytes | None = None  # address
        self.segment: int | None = None  # size of pieces
        self.ttl = 0  # 0: the socket's
        self.tos = -1  # -1: the socket's


def send_options(messages: Iterable[ControlMessage]) -> SendOptions:
    """ValueError for a message that is not known; OSError (EINVAL) for a value that cannot be."""
    said = SendOptions()
    for level, kind, value in messages:
        linux = TO_LINUX.get((level, kind))
        if linux == IP_PKTINFO and len(value) == 12:
            said.source = bytes(10) + b"\xff\xff" + value[4:8]
        elif linux == IPV6_PKTINFO and len(value) == 20:
            said.source = value[:16]
        elif linux == UDP_SEGMENT and len(value) == 2:
            said.segment = int.from_bytes(value, sys.byteorder)
        elif linux in (IP_TTL, IPV6_HOPLIMIT) and len(value) == INT.size:
            said.ttl = marking_of(linux, value, 1)
        elif linux in (IP_TOS, IPV6_TCLASS) and len(value) in (INT.size, ONE[linux[0]]):
            said.tos = marking_of(linux, value, 0)
        else:
            raise ValueError(f"control message ({level}, {kind})")
    return said


def marking_of(linux: tuple[int, int], value: bytes, least: int) -> int:
    """least to 255; of IPv6 also -1, for that of the socket."""
    number = int.from_bytes(value, sys.byteorder, signed=len(value) > 1)
    if linux[0] == IPV6 and number == -1:
        return 0 if least else -1
    if not least <= number <= 255:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return number
