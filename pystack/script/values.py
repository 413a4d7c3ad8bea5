"""Expressions of system calls to numbers, strings and addresses.

Called by: the calls.
RFCs: none; the numbers are Linux's where this system has none.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct

from pystack import sockopt
from pystack.script.errors import Mismatch, Unsupported
from pystack.script.nodes import (
    Anything,
    Either,
    Expression,
    Function,
    Integer,
    List,
    String,
    Struct,
    Word,
)

# What the runner itself gives a meaning to: Linux's numbers on every system.
EVENTS = {
    "IN": 0x1, "PRI": 0x2, "OUT": 0x4, "ERR": 0x8, "HUP": 0x10, "NVAL": 0x20, "RDNORM": 0x40,
    "RDBAND": 0x80, "WRNORM": 0x100, "WRBAND": 0x200, "MSG": 0x400, "RDHUP": 0x2000,
}  # fmt: skip
OURS = {
    **{f"POLL{name}": number for name, number in EVENTS.items()},
    **{f"EPOLL{name}": number for name, number in EVENTS.items()},
    "EPOLLET": 1 << 31, "EPOLLONESHOT": 1 << 30, "EPOLLEXCLUSIVE": 1 << 28,
    "EPOLL_CTL_ADD": 1, "EPOLL_CTL_DEL": 2, "EPOLL_CTL_MOD": 3, "EPOLL_CLOEXEC": 0o2000000,
    "F_DUPFD": 0, "F_GETFD": 1, "F_SETFD": 2, "F_GETFL": 3, "F_SETFL": 4, "FD_CLOEXEC": 1,
    "O_RDONLY": 0, "O_WRONLY": 1, "O_RDWR": 2, "O_CREAT": 0o100, "O_TRUNC": 0o1000,
    "O_NONBLOCK": 0o4000, "O_CLOEXEC": 0o2000000,
    "SIOCINQ": 0x541B, "FIONREAD": 0x541B, "SIOCOUTQ": 0x5411, "SIOCOUTQNSD": 0x894B,
    "TIOCINQ": 0x541B, "TIOCOUTQ": 0x5411, "SIOCATMARK": 0x8905, "FIONBIO": 0x5421,
}  # fmt: skip
LINUX = {
    "SOL_IP": 0, "SOL_TCP": 6, "SOL_UDP": 17, "SOL_IPV6": 41, "SOL_ICMP": 1, "SOL_ICMPV6": 58,
    "IPPROTO_ICMPV6": 58, "IPPROTO_MPTCP": 262, "IPPROTO_SCTP": 132,
    "SO_TIMESTAMP": 29, "SO_TIMESTAMPNS": 35, "SO_TIMESTAMPING": 37, "SO_RXQ_OVFL": 40,
    "SO_PEEK_OFF": 42, "SO_NOFCS": 43, "SO_BUSY_POLL": 46, "SO_MAX_PACING_RATE": 47,
    "SO_INCOMING_CPU": 49, "SO_COOKIE": 57, "SO_ZEROCOPY": 60, "SO_TXTIME": 61, "SO_MEMINFO": 55,
    "SO_RCVTIMEO": 20, "SO_SNDTIMEO": 21, "SO_RCVLOWAT": 18, "SO_SNDLOWAT": 19, "SO_PRIORITY": 12,
    "SO_NO_CHECK": 11, "SO_MARK": 36, "SO_REUSEPORT": 15, "SO_SNDBUFFORCE": 32,
    "SO_RCVBUFFORCE": 33, "SO_PROTOCOL": 38, "SO_DOMAIN": 39, "SO_BINDTODEVICE": 25,
    "TCP_REPAIR": 19, "TCP_REPAIR_QUEUE": 20, "TCP_QUEUE_SEQ": 21, "TCP_REPAIR_OPTIONS": 22,
    "TCP_FASTOPEN": 23, "TCP_TIMESTAMP": 24, "TCP_NOTSENT_LOWAT": 25, "TCP_CC_INFO": 26,
    "TCP_SAVE_SYN": 27, "TCP_SAVED_SYN": 28, "TCP_FASTOPEN_CONNECT": 30, "TCP_FASTOPEN_KEY": 33,
    "TCP_FASTOPEN_NO_COOKIE": 34, "TCP_ZEROCOPY_RECEIVE": 35, "TCP_INQ": 36, "TCP_CM_INQ": 36,
    "TCP_TX_DELAY": 37, "TCP_MD5SIG": 14, "TCP_THIN_LINEAR_TIMEOUTS": 16, "TCP_THIN_DUPACK": 17,
    "TCP_ULP": 31, "TCP_RTO_MAX_MS": 44, "TCP_RTO_MIN_US": 45, "TCP_DELACK_MAX_US": 46,
    "TCP_USER_TIMEOUT": 18, "TCP_CONGESTION": 13, "TCP_INFO": 11,
    "MSG_OOB": 1, "MSG_PEEK": 2, "MSG_DONTROUTE": 4, "MSG_CTRUNC": 8, "MSG_TRUNC": 0x20,
    "MSG_DONTWAIT": 0x40, "MSG_EOR": 0x80, "MSG_WAITALL": 0x100, "MSG_NOSIGNAL": 0x4000,
    "MSG_MORE": 0x8000, "MSG_ZEROCOPY": 0x4000000, "MSG_FASTOPEN": 0x20000000,
    "MSG_ERRQUEUE": 0x2000, "MSG_CMSG_CLOEXEC": 0x40000000,
    "IP_RECVTOS": 13, "IP_RECVTTL": 12, "IP_RECVERR": 11, "IP_MTU_DISCOVER": 10, "IP_MTU": 14,
    "IP_PMTUDISC_DONT": 0, "IP_PMTUDISC_WANT": 1, "IP_PMTUDISC_DO": 2, "IP_PMTUDISC_PROBE": 3,
    "IP_BIND_ADDRESS_NO_PORT": 24, "IP_FREEBIND": 15, "IP_TRANSPARENT": 19,
    "IPV6_RECVERR": 25, "IPV6_MTU": 24, "IPV6_MTU_DISCOVER": 23, "IPV6_FLOWINFO_SEND": 33,
    "IPV6_FLOWLABEL_MGR": 32, "IPV6_AUTOFLOWLABEL": 70,
    "SCM_TIMESTAMP": 29, "SCM_TIMESTAMPNS": 35, "SCM_TIMESTAMPING": 37,
    "SOCK_NONBLOCK": 0o4000, "SOCK_CLOEXEC": 0o2000000,
    "SPLICE_F_MOVE": 1, "SPLICE_F_NONBLOCK": 2, "SPLICE_F_MORE": 4, "NULL": 0,
}  # fmt: skip
# FreeBSD's names for the same.
ALIASES = {"TCP_MAXUNACKTIME": "TCP_USER_TIMEOUT", "TCP_NOPUSH": "TCP_CORK"}
MODULES = (socket, errno)
CONSTANT = re.compile(r"[A-Z][A-Z0-9_]*")

TIMEVAL = struct.Struct("qq")


def constant(name: str) -> int:
    """The number of a name; Unsupported for one that nobody knows."""
    name = ALIASES.get(name, name)
    if name in OURS:
        return OURS[name]
    if CONSTANT.fullmatch(name):
        for module in MODULES:
            found = getattr(module, name, None)
            if isinstance(found, int):
                return int(found)
        if name in sockopt.NUMBERS:
            return sockopt.NUMBERS[name]
        if name in LINUX:
            return LINUX[name]
    raise Unsupported(f"the constant {name}")


def integer(expression: Expression) -> int:
    """A number, however it is written; one element of a list counts as that."""
    if isinstance(expression, Integer):
        return expression.value
    if isinstance(expression, Word):
        return constant(expression.name)
    if isinstance(expression, Either):
        value = 0
        for part in expression.parts:
            value |= integer(part)
        return value
    if isinstance(expression, List) and len(expression.items) == 1:
        return integer(expression.items[0])
    if isinstance(expression, Function) and expression.name in ("htons", "htonl", "ntohs", "ntohl"):
        return integer(expression.arguments[0])
    raise Mismatch(f"{describe(expression)} is no number")


def integer_or(expression: Expression, default: int) -> int:
    """A number, or for `...` the default."""
    return default if isinstance(expression, Anything) else integer(expression)


def describe(expression: Expression) -> str:
    """For messages."""
    return type(expression).__name__.lower()


def option_bytes(value: Expression, length: int | None) -> int | bytes:
    """What setsockopt is given: an int where that has four bytes, or a struct's bytes."""
    if isinstance(value, List) and len(value.items) == 1:
        value = value.items[0]
    if isinstance(value, String):
        data = value.text.encode("latin-1")
        return data if length is None else data[:length].ljust(length, b"\0")
    if isinstance(value, Struct):
        return struct_bytes(value)
    if isinstance(value, List):
        return b"".join(struct.pack("=I", integer(item) & 0xFFFFFFFF) for item in value.items)
    if isinstance(value, Anything):
        return bytes(length or 0)
    number = integer(value)
    if length is None or length == 4:
        return signed(number)
    if length < 0:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    data = (number & (1 << 64) - 1).to_bytes(8, "little")
    return data[:length].ljust(length, b"\0")


def signed(number: int) -> int:
    """As C's int."""
    number &= 0xFFFFFFFF
    return number - (1 << 32) if number >> 31 else number


def field_value(value: Struct, *names: str) -> int:
    """A number of a struct, by one of its names."""
    for name in names:
        found = value.get(name)
        if found is not None:
            return integer(found)
    raise Mismatch(f"a struct without {names[0]}")


def struct_bytes(value: Struct) -> bytes:
    """The structs that socket options have."""
    if value.get("onoff") is not None or value.get("l_onoff") is not None:
        on = field_value(value, "onoff", "l_onoff")
        return sockopt.LINGER.pack(on, field_value(value, "linger", "l_linger"))
    if value.get("tv_sec") is not None:
        return TIMEVAL.pack(field_value(value, "tv_sec"), field_value(value, "tv_usec"))
    raise Unsupported("a socket option with such a struct")


def check_buffer(buffer: Expression, size: int) -> None:
    """EFAULT for bytes at NULL."""
    if size and (buffer == Integer(0) or buffer == Word("NULL")):
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))


def lengths(expression: Expression) -> list[int]:
    """The sizes of `[{..., n}, ...]`."""
    if not isinstance(expression, List):
        raise Mismatch("an iovec is written [{..., n}, ...]")
    found = []
    for item in expression.items:
        if not isinstance(item, Struct) or len(item.items) != 2:
            raise Mismatch("an iovec is written [{..., n}, ...]")
        found.append(integer(item.items[1]))
        check_buffer(item.items[0], found[-1])
    return found
