"""uvloop within patch: it dials in C, where patch sees nothing, so it is refused stacks' addresses.

Called by: patching.
RFCs: none.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from pystack.socket import Socket
from pystack.teach import when_imported

REMEDY = "use pystack.aio.install(loop, stack), or asyncio's own loop"
guarded: list[type] = []


def refused(what: str) -> OSError:
    return OSError(errno.ENETUNREACH, f"pystack: {what}: {REMEDY}")


def guard_uvloop(is_active: Callable[[], bool], is_stacks: Callable[[Any], bool]) -> None:
    """Let uvloop's calls ask, once it is imported, before they leave an address to the kernel.

    is_active: whether there is a block at all. is_stacks: whether a host, by address or by any of
    the addresses of its name, belongs to a stack of one.
    """
    when_imported("uvloop", lambda: guard(is_active, is_stacks))


def guard(is_active: Callable[[], bool], is_stacks: Callable[[Any], bool]) -> None:
    if guarded:
        return
    loop: Any = import_module("uvloop").Loop
    guarded.append(loop)

    def check(hosts: Any) -> None:
        several = isinstance(hosts, Iterable) and not isinstance(hosts, (str, bytes, bytearray))
        for host in hosts if several else [hosts]:
            if host and is_stacks(host):
                raise refused(f"{host} belongs to a stack, which uvloop does not know")

    def check_place(address: Any) -> None:
        if isinstance(address, tuple) and address:
            check(address[0])

    def check_socket(sock: Any) -> None:
        if isinstance(getattr(sock, "_own", sock), Socket):
            raise refused(f"uvloop cannot carry data of {sock!r}")

    connect, serve = loop.create_connection, loop.create_server
    datagrams, take = loop.create_datagram_endpoint, loop.connect_accepted_socket

    async def create_connection(
        self: Any, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        if is_active():
            check(host)
            check_place(options.get("local_addr"))
        check_socket(options.get("sock"))
        return await connect(self, factory, host, port, **options)

    async def create_server(
        self: Any, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        if is_active():
            check(host)
        check_socket(options.get("sock"))
        return await serve(self, factory, host, port, **options)

    async def create_datagram_endpoint(
        self: Any, factory: Any, local_addr: Any = None, remote_addr: Any = None, **options: Any
    ) -> Any:
        if is_active():
            check_place(local_addr)
            check_place(remote_addr)
            if remote_addr is None:
                raise refused("a datagram endpoint of uvloop could send to any address unseen")
        check_socket(options.get("sock"))
        return await datagrams(self, factory, local_addr, remote_addr, **options)

    async def connect_accepted_socket(self: Any, factory: Any, sock: Any, **options: Any) -> Any:
        check_socket(sock)
        return await take(self, factory, sock, **options)

    calls = create_connection, create_server, create_datagram_endpoint, connect_accepted_socket
    for call in calls:
        setattr(loop, call.__name__, call)
