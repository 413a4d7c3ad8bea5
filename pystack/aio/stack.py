"""aio.Stack: a stack that an event loop turns, in its own thread.

Called by: applications.
RFCs: none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from pystack import stack as blocking
from pystack.aio import calls
from pystack.aio.attachment import attach
from pystack.aio.server import StackServer
from pystack.device.base import Device

if TYPE_CHECKING:
    from typing_extensions import Self

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Stack(blocking.Stack):
    """A pystack.Stack that the running event loop turns: it has no thread of its own.

    What would wait is a coroutine here, with the signature that the event loop's own call has.
    Sockets from socket() do not block; the loop's sock_ calls work with them.
    """

    def __init__(self, *networks: str | blocking.Network, device: Device, **options: Any) -> None:
        """As pystack.Stack; begins with `async with`, or with the first call that needs it."""
        super().__init__(*networks, device=device, driver="caller", **options)

    async def __aenter__(self) -> Self:
        attach(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        problem: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        known = list(self.attachments.values())
        self.close()
        for _ in range(4):  # connections hear of it, also those that were just being made
            await asyncio.sleep(0)
            for attachment in known:
                attachment.deliver()

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], P], host: Any = None, port: Any = None, **options: Any
    ) -> tuple[asyncio.Transport, P]:
        """As loop.create_connection."""
        return await calls.create_connection(self, protocol_factory, host, port, **options)

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: Any = None,
        port: Any = None,
        **options: Any,
    ) -> StackServer:
        """As loop.create_server; without a host, on all addresses of the stack."""
        return await calls.create_server(self, protocol_factory, host, port, **options)

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], P],
        local_addr: tuple[str, int] | None = None,
        remote_addr: tuple[str, int] | None = None,
        **options: Any,
    ) -> tuple[asyncio.DatagramTransport, P]:
        """As loop.create_datagram_endpoint."""
        return await calls.create_datagram_endpoint(
            self, protocol_factory, local_addr, remote_addr, **options
        )

    async def open_connection(
        self, host: Any = None, port: Any = None, **options: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As asyncio.open_connection."""
        return await calls.open_connection(self, host, port, **options)

    async def start_server(
        self,
        client_connected_cb: calls.ClientCallback,
        host: Any = None,
        port: Any = None,
        **options: Any,
    ) -> StackServer:
        """As asyncio.start_server."""
        return await calls.start_server(self, client_connected_cb, host, port, **options)
