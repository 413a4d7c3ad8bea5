"""StackServer: listeners of a stack as asyncio's server.

Called by: calls.
RFCs: none; asyncio.Server is the reference, each version of Python's own.
"""

from __future__ import annotations

import asyncio
import errno
import sys
from asyncio import constants, trsock
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakSet

from pystack.aio.attachment import Attachment
from pystack.aio.tls import Tls, connect_protocol
from pystack.engine.tcp import TcpHandle
from pystack.engine.watch import READ, Watch
from pystack.socket import Socket

if TYPE_CHECKING:
    from pystack.aio.transport import StackTransport

# Up to Python 3.11, wait_closed of a closed server returns at once; programs rely on it.
WAITS_FOR_CLIENTS = sys.version_info >= (3, 12)
GONE = {errno.EBADF, errno.EINVAL, errno.ENETDOWN}


@dataclass
class Listener:
    """A listening socket, and how its server hears of it."""

    socket: Socket
    handle: TcpHandle
    watch: Watch


class StackServer(asyncio.AbstractServer):
    """Accepts connections, and makes a protocol and a transport for each."""

    def __init__(
        self,
        attachment: Attachment,
        sockets: Sequence[Socket],
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        backlog: int,
        tls: Tls | None,
    ) -> None:
        self._attachment = attachment
        self._loop = attachment.loop
        self._sockets: list[Socket] | None = list(sockets)
        self._listeners: list[Listener] = []
        self._protocol_factory = protocol_factory
        self._backlog = backlog
        self._tls = tls
        self._clients: WeakSet[StackTransport] = WeakSet()
        self._waiters: list[asyncio.Future[None]] | None = []
        self._serving = False
        self._forever: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sockets={self.sockets!r}>"

    # For its transports.

    def _attach(self, transport: StackTransport) -> None:
        self._clients.add(transport)

    def _detach(self, transport: StackTransport) -> None:
        self._clients.discard(transport)
        if not self._clients and self._sockets is None:
            self._wake_up()

    def _wake_up(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    # Accepting.

    def _start_serving(self) -> None:
        if self._serving or self._sockets is None:
            return
        self._serving = True
        for one in self._sockets:
            one.listen(self._backlog)
            self._listen(one)

    def _listen(self, one: Socket) -> None:
        handle = one.handle
        assert isinstance(handle, TcpHandle)

        def accept(_: int) -> None:
            self._accept(listener)

        listener = Listener(one, handle, self._attachment.watch(handle, accept))
        self._listeners.append(listener)
        listener.watch.arm(READ)

    def _accept(self, listener: Listener) -> None:
        """Take what waits, as much as the backlog has room for, so that others get their turn."""
        for _ in range(self._backlog + 1):
            if not self._serving:
                return
            try:
                handle, _, _ = listener.handle.accept(0.0)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as problem:
                self._accept_failed(listener, problem)
                return
            self._serve(handle, listener.socket.family)
        listener.watch.arm(READ)

    def _accept_failed(self, listener: Listener, problem: OSError) -> None:
        """Try again later, as out of memory; without its stack, a server is closed."""
        if problem.errno in GONE:
            self.close()
            return
        self._loop.call_exception_handler(
            {
                "message": "socket.accept() failed",
                "exception": problem,
                "socket": trsock.TransportSocket(listener.socket),
            }
        )
        self._loop.call_later(constants.ACCEPT_RETRY_DELAY, self._retry, listener)

    def _retry(self, listener: Listener) -> None:
        if self._serving:
            listener.watch.arm(READ)

    def _serve(self, handle: TcpHandle, family: int) -> None:
        """A protocol and a transport for a connection; what goes wrong concerns no other."""
        try:
            protocol = self._protocol_factory()
            connect_protocol(self._attachment, handle, protocol, family, tls=self._tls, server=self)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as problem:
            handle.abort()
            self._loop.call_exception_handler(
                {
                    "message": "Error on transport creation for incoming connection",
                    "exception": problem,
                }
            )

    # For applications.

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def is_serving(self) -> bool:
        return self._serving

    @property
    def sockets(self) -> tuple[trsock.TransportSocket, ...]:
        """Those that listen; none once it is closed."""
        return tuple(map(trsock.TransportSocket, self._sockets or ()))

    async def start_serving(self) -> None:
        self._start_serving()
        await asyncio.sleep(0)

    async def serve_forever(self) -> None:
        if self._forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        if self._sockets is None:
            raise RuntimeError(f"server {self!r} is closed")
        self._start_serving()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        except asyncio.CancelledError:
            try:
                self.close()
                await self.wait_closed()
            finally:
                raise
        finally:
            self._forever = None

    def close(self) -> None:
        """Accept no more; connections that there are stay."""
        sockets, self._sockets = self._sockets, None
        if sockets is None:
            return
        self._serving = False
        for listener in self._listeners:
            listener.watch.forget()
        self._listeners.clear()
        for one in sockets:
            one.close()
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()
            self._forever = None
        if not self._clients:
            self._wake_up()

    async def wait_closed(self) -> None:
        if self._waiters is None or (self._sockets is None and not WAITS_FOR_CLIENTS):
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def close_clients(self) -> None:
        """Close all connections that it has accepted."""
        for transport in list(self._clients):
            transport.close()

    def abort_clients(self) -> None:
        """Reset all connections that it has accepted."""
        for transport in list(self._clients):
            transport.abort()
