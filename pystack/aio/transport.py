"""StackTransport: a TCP connection of a stack as asyncio's transport.

Called by: server, calls, which make it; protocols.
RFCs: none; asyncio's documentation of transports, and what its selector transport does, are the
reference: private names that sslproto, streams, start_tls and sendfile look for are kept.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import warnings
from asyncio import constants, transports, trsock
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pystack.addresses import SocketAddress, to_tuple
from pystack.aio.attachment import Attachment, set_done
from pystack.engine.tcp import TcpHandle
from pystack.engine.watch import READ, WRITE
from pystack.socket import Socket

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from pystack.aio.server import StackServer

logger = logging.getLogger("asyncio")

NODELAY = (6, 1, 1)  # as asyncio: small writes do not wait for an acknowledgment
GATHERED = 16 * 1024  # writes up to this length wait in one piece


class StackTransport(transports._FlowControlMixin, asyncio.Transport):
    """A connection. Its receive window closes while reading is paused: nothing is read ahead."""

    max_size = 256 * 1024  # of what one data_received gets

    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.FALLBACK

    _handle: TcpHandle | None = None
    _loop: Any
    _protocol: Any
    _extra: dict[str, Any]
    _maybe_pause_protocol: Callable[[], None]
    _maybe_resume_protocol: Callable[[], None]

    def __init__(
        self,
        attachment: Attachment,
        handle: TcpHandle,
        protocol: asyncio.BaseProtocol,
        family: int,
        *,
        waiter: asyncio.Future[None] | None = None,
        server: StackServer | None = None,
    ) -> None:
        """waiter: gets its result after the protocol's connection_made."""
        super().__init__(None, attachment.loop)
        self._handle = handle
        self._stack = attachment.stack
        self._family = family
        self._extra["sockname"] = name_of(handle.getsockname, family)
        self._extra["peername"] = name_of(handle.getpeername, family)
        self._buffer: deque[bytearray | memoryview] = deque()  # what the stack has no room for
        self._buffered = 0
        self._eof = False  # of what we write
        self._at_end = False  # of what we read
        self._closing = False
        self._paused = False
        self._reset = False  # end with a RST
        self._conn_lost = 0  # connection_lost is on its way; then: writes that were in vain
        self._watch = attachment.stream(handle, self._ready)
        self._server = server
        if server is not None:
            server._attach(self)
        self.set_protocol(protocol)
        handle.setsockopt(*NODELAY)
        self._loop.call_soon(self._protocol.connection_made, self)
        # Nothing is read before connection_made.
        self._loop.call_soon(self._arm)
        if waiter is not None:
            self._loop.call_soon(set_done, waiter)

    def __repr__(self) -> str:
        state = "closed" if self._handle is None else "closing" if self._closing else "open"
        names = f"{self._extra['sockname']} -> {self._extra['peername']}"
        return f"<{type(self).__name__} {state} {names} write={self._buffered}>"

    def __del__(self) -> None:
        if self._handle is not None:
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, 2, source=self)
            self._handle.close(0)

    # What it is.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """socket (made when first asked for), sockname, peername."""
        if name == "socket" and name not in self._extra and self._handle is not None:
            made = Socket.of_handle(self._stack, self._handle, self._family, socket.SOCK_STREAM)
            self._extra[name] = trsock.TransportSocket(made)
        return self._extra.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        buffered = isinstance(protocol, asyncio.BufferedProtocol)
        self._read: Callable[[], None] = self._read_buffer if buffered else self._read_data
        # What arrives goes straight to data_received; all else that happens comes to _ready.
        self._watch.hand_over(None if buffered else protocol, self._protocol_failed)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol  # type: ignore[no-any-return]

    # Readiness.

    def _arm(self) -> None:
        """Ask to be called for whatever we wait for now."""
        if self._conn_lost:
            return
        events = WRITE if self._buffer else 0
        if not (self._closing or self._paused or self._at_end):
            events |= READ
        if events:
            self._watch.arm(events)
        elif self._watch.armed:
            self._watch.cancel()

    def _ready(self, ready: int) -> None:
        if self._buffer and ready & ~READ:
            self._write_ready()
        if ready & ~WRITE and not (self._closing or self._paused or self._at_end):
            self._read()
        self._arm()

    # Reading.

    def is_reading(self) -> bool:
        return not self._closing and not self._paused

    def pause_reading(self) -> None:
        if self.is_reading():
            self._paused = True
            self._arm()

    def resume_reading(self) -> None:
        if self._paused and not self._closing:
            self._paused = False
            self._arm()

    def _read_data(self) -> None:
        try:
            data = self._handle.recv(self.max_size, 0, 0.0)  # type: ignore[union-attr]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as problem:
            self._fatal_error(problem, "Fatal read error on socket transport")
            return
        if data:
            self._tell("data_received", data)
        else:
            self._read_end()

    def _read_buffer(self) -> None:
        try:
            buffer = self._protocol.get_buffer(-1)
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as problem:
            self._fatal_error(problem, "Fatal error: protocol.get_buffer() call failed.")
            return
        try:
            count = self._handle.recv_into(buffer, 0, 0, 0.0)  # type: ignore[union-attr]
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, ValueError, TypeError, BufferError) as problem:
            self._fatal_error(problem, "Fatal read error on socket transport")
            return
        if count:
            self._tell("buffer_updated", count)
        else:
            self._read_end()

    def _read_end(self) -> None:
        """The peer's FIN. What eof_received returns says whether we still write."""
        self._at_end = True
        keep_open = self._tell("eof_received")
        if not keep_open:
            self.close()

    def _tell(self, method: str, *arguments: object) -> Any:
        """Call the protocol, whose exception is the end of the connection."""
        try:
            return getattr(self._protocol, method)(*arguments)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as problem:
            self._protocol_failed(method, problem)

    def _protocol_failed(self, method: str, problem: BaseException) -> None:
        self._fatal_error(problem, f"Fatal error: protocol.{method}() call failed.")

    # Writing.

    def write(self, data: Buffer) -> None:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._conn_lost:
            if self._conn_lost >= constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
                logger.warning("socket.send() raised exception.")
            self._conn_lost += 1
            return
        if not data:
            return
        if not self._buffer:
            sent = self._send(data)
            size = data.nbytes if isinstance(data, memoryview) else len(data)
            if sent == size or self._conn_lost:
                return
            data = memoryview(data).cast("B")[sent:]
        self._keep(data)
        self._arm()
        self._maybe_pause_protocol()

    def _keep(self, data: Buffer) -> None:
        """Hold on to what cannot be sent now: bytes as they are, as nobody can change them."""
        view = memoryview(data).cast("B")
        self._buffered += len(view)
        if len(view) > GATHERED and type(view.obj) is bytes:
            self._buffer.append(view)
        elif self._buffer and type(self._buffer[-1]) is bytearray:
            self._buffer[-1] += view
        else:
            self._buffer.append(bytearray(view))

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        self.write(b"".join(list_of_data))

    def _send(self, data: Buffer) -> int:
        """How much the stack has taken."""
        try:
            return self._watch.write(data)
        except OSError as problem:
            self._fatal_error(problem, "Fatal write error on socket transport")
            return 0

    def _write_ready(self) -> None:
        while self._buffer:
            data = self._buffer[0]
            sent = self._send(data)
            if self._conn_lost:
                return
            self._buffered -= sent
            if sent == len(data):
                self._buffer.popleft()
                continue
            if isinstance(data, bytearray):
                del data[:sent]
            else:
                self._buffer[0] = data[sent:]
            break
        self._maybe_resume_protocol()  # which may write
        if not self._buffer:
            if self._closing:
                self._lose(None)
            elif self._eof:
                self._shutdown()

    def write_eof(self) -> None:
        """Send a FIN after what is buffered; reading goes on."""
        if self._closing or self._eof:
            return
        self._eof = True
        if not self._buffer:
            self._shutdown()

    def _shutdown(self) -> None:
        try:
            self._handle.shutdown(socket.SHUT_WR)  # type: ignore[union-attr]
        except OSError as problem:
            self._fatal_error(problem, "Fatal error on write_eof")

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return self._buffered

    # The end.

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Send what is buffered, then a FIN."""
        if self._closing:
            return
        self._closing = True
        if self._buffer:
            self._arm()
        else:
            self._lose(None)

    def abort(self) -> None:
        """Send a RST; what is buffered is lost. Also after close()."""
        self._force_close(None)

    def _fatal_error(self, problem: BaseException, message: str) -> None:
        if not isinstance(problem, OSError):
            self._loop.call_exception_handler(
                {
                    "message": message,
                    "exception": problem,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
        self._force_close(problem)

    def _force_close(self, problem: BaseException | None) -> None:
        """As asyncio's: without a problem it is abort() that calls, also that of TLS."""
        if problem is None:
            self._reset = True
        if self._conn_lost:
            return
        self._buffer.clear()
        self._buffered = 0
        self._closing = True
        self._lose(problem)

    def _lose(self, problem: BaseException | None) -> None:
        """Have connection_lost called, once."""
        self._conn_lost += 1
        self._watch.forget()
        self._loop.call_soon(self._call_connection_lost, problem)

    def _call_connection_lost(self, problem: BaseException | None) -> None:
        try:
            self._protocol.connection_lost(problem)
        finally:
            handle, self._handle = self._handle, None
            if handle is not None:
                handle.abort() if self._reset else handle.close(0)
            server, self._server = self._server, None
            self._protocol = self._loop = None
            del self._read
            if server is not None:
                server._detach(self)


def name_of(ask: Callable[[], tuple[bytes, int]], family: int) -> SocketAddress | None:
    """The socket address that a handle tells; None if it has none."""
    try:
        return to_tuple(family, *ask())
    except OSError:
        return None
