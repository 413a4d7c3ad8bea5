"""StackDatagramTransport: a datagram socket of a stack as asyncio's transport.

Called by: calls, which makes it; protocols.
RFCs: none; asyncio's documentation, and what its selector transport does, are the reference.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from asyncio import transports, trsock
from typing import TYPE_CHECKING, Any

from pystack.aio.attachment import Attachment, set_done
from pystack.aio.transport import name_of
from pystack.engine.watch import READ
from pystack.socket import Socket

if TYPE_CHECKING:
    from typing_extensions import Buffer

SENDS_EMPTY = sys.version_info >= (3, 13)  # datagrams, as asyncio of each version
AT_ONCE = 64  # datagrams that one socket may take in before others get their turn
LONGEST = 1 << 16


class StackDatagramTransport(transports._FlowControlMixin, asyncio.DatagramTransport):
    """A datagram socket. Nothing is ever buffered: what cannot be sent is lost, as on a wire."""

    _socket: Socket | None = None
    _loop: Any
    _protocol: Any
    _extra: dict[str, Any]

    def __init__(
        self,
        attachment: Attachment,
        sock: Socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None],
    ) -> None:
        super().__init__(None, attachment.loop)
        self._socket = sock
        self._extra["socket"] = trsock.TransportSocket(sock)
        self._extra["sockname"] = name_of(sock.handle.getsockname, sock.family)
        self._extra["peername"] = name_of(sock.handle.getpeername, sock.family)
        self._protocol = protocol
        self._closing = False
        self._watch = attachment.watch(sock.handle, self._ready)
        self._loop.call_soon(protocol.connection_made, self)
        self._loop.call_soon(self._arm)
        self._loop.call_soon(set_done, waiter)

    def __repr__(self) -> str:
        state = "closed" if self._socket is None else "closing" if self._closing else "open"
        return f"<{type(self).__name__} {state} {self._extra['sockname']}>"

    def __del__(self) -> None:
        if self._socket is not None:
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, 2, source=self)
            self._socket.close()

    # What it is.

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol  # type: ignore[no-any-return]

    def get_write_buffer_size(self) -> int:
        return 0

    # Receiving.

    def _arm(self) -> None:
        if not self._closing:
            self._watch.arm(READ)

    def _ready(self, ready: int) -> None:
        for _ in range(AT_ONCE):
            if self._closing or self._socket is None:
                return
            try:
                data, sender = self._socket.recvfrom(LONGEST)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as problem:
                self._protocol.error_received(problem)
                if self._socket is not None and self._socket.stack.closed:
                    self._force_close(problem)
            else:
                self._protocol.datagram_received(data, sender)
        self._arm()

    # Sending.

    def sendto(self, data: Buffer, addr: Any = None) -> None:
        """To the peer that the endpoint was made with, or to any."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        peer = self._extra["peername"]
        if peer is not None and addr not in (None, peer):
            raise ValueError(f"Invalid address: must be None or {peer}")
        if self._socket is None or (not data and not SENDS_EMPTY):
            return
        try:
            if peer is not None:
                self._socket.send(data)
            else:
                self._socket.sendto(data, addr)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as problem:
            self._protocol.error_received(problem)

    # The end.

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._force_close(None)

    def abort(self) -> None:
        self._force_close(None)

    def _force_close(self, problem: BaseException | None) -> None:
        if self._closing:
            return
        self._closing = True
        self._watch.forget()
        self._loop.call_soon(self._call_connection_lost, problem)

    def _call_connection_lost(self, problem: BaseException | None) -> None:
        try:
            self._protocol.connection_lost(problem)
        finally:
            if self._socket is not None:
                self._socket.close()
            self._socket = self._protocol = self._loop = None
