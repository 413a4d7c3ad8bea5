"""A protocol and its transport, with TLS between them or not.

Called by: server, calls.
RFCs: none; the TLS is that of asyncio.sslproto, on any event loop.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pystack.aio.attachment import Attachment
from pystack.aio.transport import StackTransport
from pystack.engine.tcp import TcpHandle

if TYPE_CHECKING:
    from pystack.aio.server import StackServer


@dataclass(frozen=True)
class Tls:
    """What create_connection and create_server are told of it."""

    context: Any  # ssl.SSLContext; None: the default one of a client
    server_side: bool
    server_hostname: str | None = None
    handshake_timeout: float | None = None
    shutdown_timeout: float | None = None

    def protocol(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None],
    ) -> Any:
        """The protocol that speaks TLS below another."""
        from asyncio import sslproto

        timeouts: dict[str, Any] = {"ssl_handshake_timeout": self.handshake_timeout}
        if sys.version_info >= (3, 11):
            timeouts["ssl_shutdown_timeout"] = self.shutdown_timeout
        return sslproto.SSLProtocol(
            loop,
            protocol,
            self.context,
            waiter,
            self.server_side,
            self.server_hostname,
            **timeouts,
        )


def tls_from(
    ssl: Any,
    server_side: bool,
    server_hostname: str | None,
    handshake_timeout: float | None,
    shutdown_timeout: float | None,
) -> Tls | None:
    """As the event loop checks them; ssl: a context, True, or nothing."""
    if ssl:
        context = None if ssl is True else ssl
        return Tls(context, server_side, server_hostname, handshake_timeout, shutdown_timeout)
    for name, value in (
        ("server_hostname", server_hostname),
        ("ssl_handshake_timeout", handshake_timeout),
        ("ssl_shutdown_timeout", shutdown_timeout),
    ):
        if value is not None:
            raise ValueError(f"{name} is only meaningful with ssl")
    return None


def connect_protocol(
    attachment: Attachment,
    handle: TcpHandle,
    protocol: asyncio.BaseProtocol,
    family: int,
    *,
    tls: Tls | None,
    waiter: asyncio.Future[None] | None = None,
    server: StackServer | None = None,
) -> asyncio.Transport:
    """Give a connection to a protocol; return the transport that this sees.

    waiter: gets its result, or the exception, when the protocol is connected.
    """
    if tls is None:
        return StackTransport(attachment, handle, protocol, family, waiter=waiter, server=server)
    if waiter is None:
        waiter = attachment.loop.create_future()
        waiter.add_done_callback(handshake_done)
    below = tls.protocol(attachment.loop, protocol, waiter)
    StackTransport(attachment, handle, below, family, server=server)
    return below._app_transport  # type: ignore[no-any-return]


def handshake_done(waiter: asyncio.Future[None]) -> None:
    """Of a server's connection; sslproto has ended it, and asyncio says nothing either."""
    if not waiter.cancelled() and waiter.exception() is not None and waiter.get_loop().get_debug():
        waiter.get_loop().call_exception_handler(
            {
                "message": "Error on transport creation for incoming connection",
                "exception": waiter.exception(),
            }
        )
