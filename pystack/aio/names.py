"""Socket addresses out of what programs give: numbers at once, names through the event loop.

Called by: calls, install.
RFCs: none.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from pystack.addresses import SocketAddress

Info = tuple[int, SocketAddress]  # family, socket address


def numeric(host: Any, port: Any, family: int = 0) -> Info | None:
    """A host that is an address already; None: it has to be looked up."""
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("idna")
    if port is None or port in ("", b""):
        port = 0
    try:
        port = int(port)
    except (TypeError, ValueError):
        return None
    if not isinstance(host, str) or "%" in host:
        return None
    for of in (socket.AF_INET, socket.AF_INET6):
        if family in (0, of):
            try:
                host = socket.inet_ntop(of, socket.inet_pton(of, host))
            except (OSError, ValueError):
                continue
            if of == socket.AF_INET:
                return of, (host, port)
            return of, (host, port, 0, 0)
    return None


async def resolve(
    loop: asyncio.AbstractEventLoop,
    host: Any,
    port: Any,
    *,
    family: int = 0,
    kind: int = socket.SOCK_STREAM,
    proto: int = 0,
    flags: int = 0,
) -> list[Info]:
    """What a host and a port mean, in the order in which it is to be tried, nothing twice."""
    found = numeric(host, port, family)
    if found is not None:
        return [found]
    infos = await loop.getaddrinfo(host, port, family=family, type=kind, proto=proto, flags=flags)
    if not infos:
        raise OSError(f"getaddrinfo({host!r}) returned empty list")
    return list(dict.fromkeys((info[0], info[4]) for info in infos))  # type: ignore[misc]
