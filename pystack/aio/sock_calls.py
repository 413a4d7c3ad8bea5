"""An event loop's sock_ calls on sockets of a stack, where the loop's own would use a descriptor.

Called by: install.
RFCs: none; asyncio's documentation of its event loop is the reference.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pystack.addresses import from_tuple
from pystack.aio.attachment import Loop, attach
from pystack.engine.watch import WRITE
from pystack.socket import Socket


def decided(sock: Any) -> Any:
    """The stack's socket that one of pystack.patch has become; or the socket itself."""
    own = getattr(sock, "_own", None)
    return own if isinstance(own, Socket) else sock


def check_nonblocking(loop: Loop, sock: Any) -> None:
    if loop.get_debug() and sock.gettimeout() != 0:
        raise ValueError("the socket must be non-blocking")


async def connect(loop: Loop, sock: Socket, address: Any) -> None:
    """As loop.sock_connect; the host is an address."""
    attachment = attach(sock.stack, loop)
    handle = sock.handle
    packed, port = from_tuple(sock.family, address, "connect")
    try:
        handle.connect(packed, port, 0.0)
    except BlockingIOError:
        await attachment.ready(handle, WRITE)
        handle.connect(packed, port, 0.0)


async def sendfile(
    loop: Loop, sock: Any, file: Any, offset: int, count: int | None, *, fallback: bool
) -> int:
    """As loop.sock_sendfile; os.sendfile would write to a descriptor that leads nowhere."""
    base: Any = asyncio.BaseEventLoop
    check_nonblocking(loop, sock)
    base._check_sendfile_params(loop, sock, file, offset, count)
    if not fallback:
        raise asyncio.SendfileNotAvailableError("pystack: there is no native sendfile")
    sent: int = await base._sock_sendfile_fallback(loop, sock, file, offset, count)
    return sent
