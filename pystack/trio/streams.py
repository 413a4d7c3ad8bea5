"""trio's calls for streams and listeners, of a stack.

Called by: applications.
RFCs: 8305 (happy eyeballs); trio's documentation is the reference.
"""

from __future__ import annotations

import errno
import socket as stdlib
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from pystack.addresses import interleaved
from pystack.trio.attachment import attach
from pystack.trio.sockets import StackSocket, socket

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup  # which trio has brought

if TYPE_CHECKING:
    from pystack.stack import Stack

ATTEMPT_DELAY = 0.25  # seconds, RFC 8305 section 8
IP_BIND_ADDRESS_NO_PORT = 24  # Linux's number


async def open_tcp_stream(
    stack: Stack,
    host: str | bytes,
    port: int,
    *,
    happy_eyeballs_delay: float | None = ATTEMPT_DELAY,
    local_address: str | None = None,
) -> trio.SocketStream:
    """As trio.open_tcp_stream: the addresses of a name are tried until one answers (RFC 8305).

    happy_eyeballs_delay: seconds after which the next one is tried beside those that have not
    answered; None: they are tried one after the other.
    """
    attach(stack)
    delay = inf if happy_eyeballs_delay is None else happy_eyeballs_delay
    infos = await trio.socket.getaddrinfo(host, port, type=stdlib.SOCK_STREAM)
    if not infos:
        raise OSError(f"no results found for hostname lookup: {host!r}")
    problems: list[OSError] = []
    made: list[StackSocket] = []
    found: list[StackSocket] = []

    async def attempt(family: int, address: Any, failed: trio.Event) -> None:
        try:
            sock = socket(stack, family)
            made.append(sock)
            if local_address is not None:
                await bind(sock, local_address)
            await sock.connect(address)
        except OSError as problem:
            problems.append(problem)
            failed.set()
        else:
            found.append(sock)
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for family, _, _, _, address in interleaved(infos, 1):
                failed = trio.Event()
                nursery.start_soon(attempt, family, address, failed)
                with trio.move_on_after(delay):
                    await failed.wait()
        if found:
            made.remove(found[0])
            return trio.SocketStream(found[0])
    finally:
        for sock in made:
            sock.close()
    if len(problems) == 1:
        raise problems[0]
    text = f"all attempts to connect to {host!r}:{port} failed"
    raise OSError(text) from ExceptionGroup(text, problems)


async def bind(sock: StackSocket, address: str) -> None:
    """To an address; the port is chosen by connect, so that connections may share one."""
    with suppress(OSError):
        sock.setsockopt(stdlib.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    await sock.bind((address, 0))


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
