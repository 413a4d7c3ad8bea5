"""The options of a socket, by the numbers and in the forms of the system that Python is on.

Called by: socket; shown, for sockets that share a connection.
RFCs: 3493, 3678; socket(7), ip(7), ipv6(7), tcp(7) and udp(7) of Linux.
"""

from __future__ import annotations

import errno
import os
import socket
from copy import copy

from pystack import multicast, sockopt
from pystack.engine.datagram import DatagramHandle
from pystack.engine.tcp import TcpHandle
from pystack.timestamps import OPTIONS as STAMPS
from pystack.timestamps import Timestamps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Buffer

CLOSED, LISTEN = 7, 10  # of TCP_INFO


def fault(code: int, text: str | None = None) -> OSError:
    return OSError(code, text or os.strerror(code))


class SocketOptions:
    """Those of one connection; the engine keeps most of them."""

    __slots__ = ("asked", "family", "handle", "stamps")

    def __init__(self, handle: TcpHandle | DatagramHandle, family: int) -> None:
        self.handle = handle
        self.family = family
        self.asked: set[tuple[int, int]] = set()  # kinds of control messages
        self.stamps: Timestamps | None = None

    def inherit(self, listener: SocketOptions) -> None:
        """Be asked for what the listener was."""
        self.asked |= listener.asked
        self.stamps = copy(listener.stamps)

    def set(self, level: int, option: int, value: int | Buffer | None) -> None:
        """By this system's numbers; OSError as from setsockopt."""
        linux = to_linux(level, option)
        if not self._has_level(linux[0]):
            raise fault(errno.ENOPROTOOPT)
        if value is None:
            raise fault(errno.EINVAL)
        if linux in multicast.OPTIONS:
            self._set_multicast(linux, value)
            return
        if linux == sockopt.TCP_FASTOPEN_KEY:
            self._stream().set_fast_open_keys(b"" if isinstance(value, int) else bytes(value))
            return
        if linux in STAMPS:
            raw = sockopt.INT.pack(value) if isinstance(value, int) else bytes(value)
            if self.stamps is None:
                self.stamps = Timestamps()
            self.stamps.set(linux[1], raw, has_begun=self._has_begun())
            return
        if linux in sockopt.TIMEOUTS:
            raw = b"" if isinstance(value, int) else bytes(value)
            self.handle.setsockopt(*sockopt.TIMEOUTS[linux], sockopt.timeout_of(raw))
            return
        if not isinstance(value, int):
            value = from_bytes(linux, bytes(value))
        elif linux == sockopt.SO_LINGER:
            raise fault(errno.EINVAL)
        elif linux in (sockopt.SO_MAX_PACING_RATE, sockopt.TCP_CONGESTION):
            value = from_bytes(linux, sockopt.INT.pack(value))
        if linux == sockopt.IP_TOS:
            value &= 0xFF  # as Linux, which takes one byte of it
        if linux == sockopt.TCP_INQ and isinstance(self.handle, TcpHandle):
            if value not in (0, 1):
                raise fault(errno.EINVAL)
            (self.asked.add if value else self.asked.discard)(linux)
            return
        if linux == sockopt.IPV6_FLOWINFO_SEND:
            (self.asked.add if value else self.asked.discard)(linux)
            return
        if linux in sockopt.ASKS_FOR and not isinstance(self.handle, TcpHandle):
            change = self.asked.add if value else self.asked.discard
            change(sockopt.ASKS_FOR[linux])
            return
        self.handle.setsockopt(*linux, value)

    def _set_multicast(self, linux: tuple[int, int], value: int | Buffer) -> None:
        """An option that is a C struct with a group or an interface in it."""
        handle = self.handle
        if isinstance(handle, TcpHandle):
            raise fault(errno.EPROTO if linux in multicast.MREQ else errno.ENOPROTOOPT)
        if linux[0] == multicast.IPV6 and self.family == socket.AF_INET:
            raise fault(errno.ENOPROTOOPT)
        raw = sockopt.INT.pack(value) if isinstance(value, int) else bytes(value)
        if linux == multicast.IP_MULTICAST_IF:
            handle.set_multicast_source(multicast.interface_of(raw))
            return
        if linux in multicast.FILTERS:
            wanted = multicast.filter_request(linux, raw)
            handle.filter(wanted.group, wanted.include, wanted.sources, wanted.interface)
            return
        asked = multicast.request(linux, raw)
        handle.member(asked.call, asked.group, asked.source, asked.interface)

    def get(self, level: int, option: int, buflen: int) -> Any:
        """By this system's numbers: an int, or with buflen up to so many bytes."""
        linux = to_linux(level, option)
        if not self._has_level(linux[0]):
            v4 = self.family == socket.AF_INET
            raise fault(errno.EOPNOTSUPP if v4 else errno.ENOPROTOOPT)  # as Linux
        if linux == sockopt.TCP_INFO:
            return self._stream().info()[:buflen]
        if linux == sockopt.TCP_FASTOPEN_KEY:
            return self._stream().fast_open_keys()[:buflen]
        if linux in multicast.FILTERS and not isinstance(self.handle, TcpHandle):
            raise fault(errno.EINVAL)  # of which group cannot be said from Python
        if linux == sockopt.TCP_CC_INFO and isinstance(self.handle, TcpHandle):
            return self.handle.congestion_info()[:buflen]
        if linux == sockopt.TCP_SAVED_SYN and isinstance(self.handle, TcpHandle):
            return self.handle.saved_syn(buflen)
        if linux in STAMPS or linux in sockopt.TIMEOUTS:
            whole = self._get_struct(linux)
            return whole[:buflen] if buflen else sockopt.INT.unpack_from(whole)[0]
        stream = isinstance(self.handle, TcpHandle)
        if linux == sockopt.IPV6_FLOWINFO_SEND or (linux == sockopt.TCP_INQ and stream):
            value = int(linux in self.asked)
        elif linux == multicast.IP_MULTICAST_IF and not isinstance(self.handle, TcpHandle):
            value = sockopt.INT.unpack(self.handle.multicast_source()[12:])[0]
        elif linux in sockopt.ASKS_FOR and not isinstance(self.handle, TcpHandle):
            value = int(sockopt.ASKS_FOR[linux] in self.asked)
        else:
            value = self.handle.getsockopt(*linux)
        if linux == sockopt.SO_LINGER:
            whole = sockopt.LINGER.pack(value >= 0, max(value, 0))
        elif linux == sockopt.SO_MAX_PACING_RATE:
            whole = sockopt.rate_bytes(value, buflen)
        elif linux == sockopt.TCP_CONGESTION:
            whole = sockopt.algorithm_bytes(value)
        else:
            whole = sockopt.INT.pack(value)
        if buflen:
            return whole[:buflen]
        return sockopt.INT.unpack(whole[:4])[0]

    def _has_begun(self) -> bool:
        """A datagram socket, or a stream that is connected, or was about to be."""
        handle = self.handle
        return not isinstance(handle, TcpHandle) or handle.info()[0] not in (CLOSED, LISTEN)

    def _get_struct(self, linux: tuple[int, int]) -> bytes:
        if linux in STAMPS:
            return (self.stamps or Timestamps()).get(linux[1])
        return sockopt.timeout_bytes(self.handle.getsockopt(*sockopt.TIMEOUTS[linux]))

    def _has_level(self, level: int) -> bool:
        """By Linux's number. An IPv6 socket has IPv4's too, since it may speak IPv4."""
        if level in (sockopt.TCP, sockopt.UDP):
            return (level == sockopt.TCP) == isinstance(self.handle, TcpHandle)
        return level != sockopt.IPV6 or self.family == socket.AF_INET6

    def _stream(self) -> TcpHandle:
        """The handle, for options of streams."""
        assert isinstance(self.handle, TcpHandle)  # TCP's level is a stream's only
        return self.handle


def to_linux(level: int, option: int) -> tuple[int, int]:
    """The option by Linux's numbers."""
    linux = sockopt.TO_LINUX.get((level, option))
    if linux is None:
        raise fault(errno.ENOPROTOOPT)
    return linux


def from_bytes(option: tuple[int, int], value: bytes) -> int:
    """The value of an option that was given as a C struct."""
    if option == sockopt.SO_LINGER and len(value) >= sockopt.LINGER.size:
        on, seconds = sockopt.LINGER.unpack_from(value)
        return int(seconds) if on else -1
    if option == sockopt.TCP_CONGESTION:
        return sockopt.algorithm_number(value)
    if option == sockopt.SO_MAX_PACING_RATE:
        return sockopt.rate_of(value)
    if option == sockopt.IP_LOCAL_PORT_RANGE and len(value) != sockopt.INT.size:
        raise fault(errno.EINVAL)
    if option == sockopt.IPV6_AUTOFLOWLABEL and len(value) < sockopt.INT.size:
        return 0
    # As Linux, which takes these as a byte or as an int.
    if (
        len(value) < sockopt.INT.size
        and option[0] == sockopt.IP
        and (value or option not in sockopt.ONE_BYTE)
    ):
        return value[0] if value else 0
    if len(value) >= sockopt.INT.size and option != sockopt.SO_LINGER:
        return int(sockopt.INT.unpack_from(value)[0])
    raise fault(errno.EINVAL)
