"""trio's calls for streams and listeners, of a stack.

Called by: applications.
RFCs: none; trio's documentation is the reference.
"""

from __future__ import annotations

import errno
import socket as stdlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio

from pystack.trio.sockets import StackSocket, socket

if TYPE_CHECKING:
    from pystack.stack import Stack


async def open_tcp_stream(
    stack: Stack, host: str | bytes, port: int, *, local_address: str | None = None
) -> trio.SocketStream:
    """As trio.open_tcp_stream; the addresses of a name are tried one after the other."""
    infos = await trio.socket.getaddrinfo(host, port, type=stdlib.SOCK_STREAM)
    problems: list[OSError] = []
    for family, _, _, _, address in infos:
        sock = socket(stack, family)
        try:
            if local_address is not None:
                await sock.bind((local_address, 0))
            await sock.connect(address)
            return trio.SocketStream(sock)
        except OSError as problem:
            problems.append(problem)
            sock.close()
        except BaseException:
            sock.close()
            raise
    if len(problems) == 1:
        raise problems[0]
    raise OSError(f"all attempts to connect to {host!r}:{port} failed: {problems}")


async def open_tcp_listeners(
    stack: Stack, port: int, *, host: str | bytes | None = None, backlog: int = 128
) -> list[trio.SocketListener]:
    """As trio.open_tcp_listeners; without a host, on all addresses of the stack."""
    places: list[tuple[int, Any]]
    if host is None:
        versions = {one.version for one in stack.networks}
        families = [(4, stdlib.AF_INET, "0.0.0.0"), (6, stdlib.AF_INET6, "::")]
        places = [(family, (any_, port)) for of, family, any_ in families if of in versions]
    else:
        infos = await trio.socket.getaddrinfo(host, port, type=stdlib.SOCK_STREAM)
        places = [(info[0], info[4]) for info in infos]
    if not places:
        raise OSError(errno.EADDRNOTAVAIL, "pystack: the stack has no address to listen at")
    made: list[StackSocket] = []
    try:
        for family, address in places:
            one = socket(stack, family)
            made.append(one)
            one.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_REUSEADDR, 1)
            if family == stdlib.AF_INET6:
                one.setsockopt(stdlib.IPPROTO_IPV6, stdlib.IPV6_V6ONLY, 1)
            await one.bind(address)
            one.listen(backlog)
        return [trio.SocketListener(one) for one in made]
    except BaseException:
        for one in made:
            one.close()
        raise


async def serve_tcp(
    stack: Stack,
    handler: Callable[[trio.SocketStream], Awaitable[object]],
    port: int,
    *,
    host: str | bytes | None = None,
    backlog: int = 128,
    handler_nursery: trio.Nursery | None = None,
    task_status: Any = trio.TASK_STATUS_IGNORED,
) -> None:
    """As trio.serve_tcp; without a host, on all addresses of the stack."""
    listeners = await open_tcp_listeners(stack, port, host=host, backlog=backlog)
    await trio.serve_listeners(
        handler, listeners, handler_nursery=handler_nursery, task_status=task_status
    )
