"""The event loop's calls on a stack: create_connection, create_server and their kin.

Called by: stack, install; applications.
RFCs: 8305 (happy eyeballs); asyncio's documentation of its event loop is the reference.
"""

from __future__ import annotations

import asyncio
import builtins
import errno
import socket
from asyncio import staggered
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from ssl import SSLSocket
from typing import TYPE_CHECKING, Any, TypeVar

from pystack.addresses import SocketAddress, from_tuple, interleaved
from pystack.aio.attachment import Attachment, attach
from pystack.aio.datagram import StackDatagramTransport
from pystack.aio.names import Info, resolve
from pystack.aio.server import StackServer
from pystack.aio.tls import Tls, connect_protocol, tls_from
from pystack.engine.tcp import TcpHandle
from pystack.engine.watch import WRITE
from pystack.socket import Socket
from pystack.sockopt import NUMBERS

if TYPE_CHECKING:
    from pystack.stack import Stack

P = TypeVar("P", bound=asyncio.BaseProtocol)
LIMIT = 2**16  # of a StreamReader

ClientCallback = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]


# Connections.


async def create_connection(
    stack: Stack,
    protocol_factory: Callable[[], P],
    host: Any = None,
    port: Any = None,
    *,
    ssl: Any = None,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    sock: Socket | None = None,
    local_addr: tuple[str, int] | None = None,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    happy_eyeballs_delay: float | None = None,
    interleave: int | None = None,
    all_errors: bool = False,
) -> tuple[asyncio.Transport, P]:
    """As loop.create_connection; sock: a connected one of the stack's."""
    if ssl and server_hostname is None:
        if not host:
            raise ValueError("You must set server_hostname when using ssl without a host")
        server_hostname = host
    tls = tls_from(ssl, False, server_hostname, ssl_handshake_timeout, ssl_shutdown_timeout)
    attachment = attach(stack)
    if host is not None or port is not None:
        if sock is not None:
            raise ValueError("host/port and sock can not be specified at the same time")
        find = partial(resolve, attachment.loop, family=family, proto=proto, flags=flags)
        infos = await find(host, port)
        local = None if local_addr is None else await find(*local_addr)
        if happy_eyeballs_delay is not None and interleave is None:
            interleave = 1
        if interleave:
            infos = interleaved(infos, interleave)
        handle, family = await connect_one(
            attachment, infos, local, happy_eyeballs_delay, all_errors
        )
    else:
        handle, family = stream_of(sock)
    return await give(attachment, handle, family, protocol_factory, tls)


async def connect_one(
    attachment: Attachment,
    infos: list[Info],
    local: list[Info] | None,
    delay: float | None,
    all_errors: bool = False,
) -> tuple[TcpHandle, int]:
    """The first connection that succeeds; delay: do not wait longer before the next is tried."""
    problems: list[OSError] = []

    async def attempt(info: Info) -> tuple[TcpHandle, int]:
        try:
            return await connect(attachment, info, local), info[0]
        except OSError as problem:
            problems.append(problem)
            raise

    found = None
    if delay is None:
        for info in infos:
            try:
                found = await attempt(info)
                break
            except OSError:
                continue
    else:
        attempts = [partial(attempt, info) for info in infos]
        found, _, _ = await staggered.staggered_race(attempts, delay, loop=attachment.loop)
    if found is not None:
        return found
    try:
        raise combined(problems, all_errors)
    finally:
        problems.clear()


def combined(problems: list[OSError], all_errors: bool) -> BaseException:
    """What asyncio raises when no address could be connected to."""
    if all_errors:
        group: Any = vars(builtins)["ExceptionGroup"]  # from Python 3.11 on
        return group("create_connection failed", problems)  # type: ignore[no-any-return]
    if len({str(problem) for problem in problems}) == 1:
        return problems[0]
    return OSError(f"Multiple exceptions: {', '.join(map(str, problems))}")


async def connect(attachment: Attachment, info: Info, local: list[Info] | None) -> TcpHandle:
    """A connected handle."""
    family, address = info
    handle = TcpHandle(attachment.engine, family == socket.AF_INET6)
    try:
        if local is not None:
            bind(handle, family, local)
        packed, port = from_tuple(family, address, "connect")
        try:
            handle.connect(packed, port, 0.0)
        except BlockingIOError:
            await attachment.ready(handle, WRITE)
            handle.connect(packed, port, 0.0)
    except OSError as problem:
        handle.close(0)
        if problem.errno is None:
            raise
        raise OSError(problem.errno, f"Connect call failed {address}") from None
    except BaseException:
        handle.close(0)
        raise
    return handle


def bind(handle: TcpHandle, family: int, local: list[Info]) -> None:
    """To the first address that will do."""
    problem = OSError(f"no matching local address with family={family!r} found")
    for of, address in local:
        if of != family:
            continue
        try:
            handle.bind(*from_tuple(family, address, "bind"))
            return
        except OSError as error:
            text = f"error while attempting to bind on address {address!r}: {error.strerror}"
            problem = OSError(error.errno, text)
    raise problem


def stream_of(sock: Socket | None) -> tuple[TcpHandle, int]:
    """The handle of a connected socket, which belongs to the transport from now on."""
    if sock is None:
        raise ValueError("host and port was not specified and no sock specified")
    if isinstance(sock, SSLSocket):
        raise TypeError("Socket cannot be of type SSLSocket")
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")
    handle = sock.lend()
    assert isinstance(handle, TcpHandle)
    return handle, sock.family


async def give(
    attachment: Attachment,
    handle: TcpHandle,
    family: int,
    protocol_factory: Callable[[], P],
    tls: Tls | None,
) -> tuple[asyncio.Transport, P]:
    """Make a protocol, connect it, and wait until it is."""
    try:
        protocol = protocol_factory()
        waiter: asyncio.Future[None] = attachment.loop.create_future()
        transport = connect_protocol(attachment, handle, protocol, family, tls=tls, waiter=waiter)
    except BaseException:
        handle.close(0)
        raise
    try:
        await waiter
    except BaseException:
        transport.close()
        raise
    return transport, protocol


async def connect_accepted_socket(
    stack: Stack,
    protocol_factory: Callable[[], P],
    sock: Socket,
    *,
    ssl: Any = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> tuple[asyncio.Transport, P]:
    """As the event loop's."""
    tls = tls_from(ssl, True, None, ssl_handshake_timeout, ssl_shutdown_timeout)
    return await give(attach(stack), *stream_of(sock), protocol_factory, tls)


# Servers.


async def create_server(
    stack: Stack,
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    host: Any = None,
    port: Any = None,
    *,
    family: int = socket.AF_UNSPEC,
    flags: int = socket.AI_PASSIVE,
    sock: Socket | None = None,
    backlog: int = 100,
    ssl: Any = None,
    reuse_address: bool | None = None,
    reuse_port: bool | None = None,
    keep_alive: bool | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    start_serving: bool = True,
) -> StackServer:
    """As loop.create_server; without a host, on all addresses of the stack."""
    if isinstance(ssl, bool):
        raise TypeError("ssl argument must be an SSLContext or None")
    tls = tls_from(ssl, True, None, ssl_handshake_timeout, ssl_shutdown_timeout)
    attachment = attach(stack)
    if host is not None or port is not None:
        if sock is not None:
            raise ValueError("host/port and sock can not be specified at the same time")
        infos = await passive(attachment, host, port, family, flags)
        sockets = bound(stack, infos, reuse_address, keep_alive, reuse_port)
    else:
        if sock is None:
            raise ValueError("Neither host/port nor sock were specified")
        stream_of(sock)
        sockets = [sock]
    for one in sockets:
        one.setblocking(False)
    server = StackServer(attachment, sockets, protocol_factory, backlog, tls)
    if start_serving:
        await server.start_serving()
    return server


async def passive(
    attachment: Attachment, host: Any, port: Any, family: int, flags: int
) -> list[Info]:
    """Where to listen: one host, several, or without one all addresses."""
    hosts = host if isinstance(host, Iterable) and not isinstance(host, (str, bytes)) else [host]
    infos: list[Info] = []
    for one in hosts:
        if one in (None, "", b""):
            infos += everywhere(attachment.stack, port, family)
        else:
            infos += await resolve(attachment.loop, one, port, family=family, flags=flags)
    return list(dict.fromkeys(infos))


def everywhere(stack: Stack, port: Any, family: int) -> list[Info]:
    """The unspecified address of each family that the stack has."""
    versions = {one.version for one in stack.networks}
    infos: list[Info] = []
    if 4 in versions and family in (0, socket.AF_INET):
        infos.append((socket.AF_INET, ("0.0.0.0", int(port or 0))))
    if 6 in versions and family in (0, socket.AF_INET6):
        infos.append((socket.AF_INET6, ("::", int(port or 0), 0, 0)))
    return infos


def bound(
    stack: Stack,
    infos: list[Info],
    reuse_address: bool | None,
    keep_alive: bool | None,
    reuse_port: bool | None,
) -> list[Socket]:
    """A socket for each address, or none at all."""
    sockets: list[Socket] = []
    try:
        for family, address in infos:
            one = stack.socket(family)
            sockets.append(one)
            if reuse_address or reuse_address is None:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                one.setsockopt(socket.SOL_SOCKET, NUMBERS["SO_REUSEPORT"], 1)
            if keep_alive:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bind_server(one, address)
    except BaseException:
        for one in sockets:
            one.close()
        raise
    if not sockets:
        raise OSError(errno.EADDRNOTAVAIL, "could not bind on any address out of []")
    return sockets


def bind_server(one: Socket, address: SocketAddress) -> None:
    try:
        one.bind(address)
    except OSError as problem:
        if problem.errno is None:
            raise
        text = f"error while attempting to bind on address {address!r}: {problem.strerror}"
        raise OSError(problem.errno, text.lower()) from None


# Streams.


async def open_connection(
    stack: Stack, host: Any = None, port: Any = None, *, limit: int = LIMIT, **options: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """As asyncio.open_connection."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await create_connection(stack, lambda: protocol, host, port, **options)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def start_server(
    stack: Stack,
    client_connected_cb: ClientCallback,
    host: Any = None,
    port: Any = None,
    *,
    limit: int = LIMIT,
    **options: Any,
) -> StackServer:
    """As asyncio.start_server."""
    loop = asyncio.get_running_loop()

    def factory() -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        return asyncio.StreamReaderProtocol(reader, client_connected_cb, loop=loop)

    return await create_server(stack, factory, host, port, **options)


# Datagrams.


async def create_datagram_endpoint(
    stack: Stack,
    protocol_factory: Callable[[], P],
    local_addr: tuple[str, int] | None = None,
    remote_addr: tuple[str, int] | None = None,
    *,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    reuse_port: bool | None = None,
    allow_broadcast: bool | None = None,
    sock: Socket | None = None,
) -> tuple[StackDatagramTransport, P]:
    """As loop.create_datagram_endpoint."""
    attachment = attach(stack)
    if sock is None:
        find = partial(
            resolve,
            attachment.loop,
            family=family,
            kind=socket.SOCK_DGRAM,
            proto=proto,
            flags=flags,
        )
        local = None if local_addr is None else await find(*local_addr)
        remote = None if remote_addr is None else await find(*remote_addr)
        if local is None and remote is None and family == 0:
            raise ValueError("unexpected address family")
        options = [("SO_BROADCAST", allow_broadcast), ("SO_REUSEPORT", reuse_port)]
        wanted = [NUMBERS[name] for name, asked in options if asked]
        sock = datagram_socket(stack, local, remote, family, proto, wanted)
    elif sock.type != socket.SOCK_DGRAM:
        raise ValueError(f"A datagram socket was expected, got {sock!r}")
    elif local_addr or remote_addr or family or proto or flags or reuse_port or allow_broadcast:
        raise ValueError(
            "socket modifier keyword arguments can not be used when sock is specified."
        )
    sock.setblocking(False)
    try:
        protocol = protocol_factory()
        waiter: asyncio.Future[None] = attachment.loop.create_future()
        transport = StackDatagramTransport(attachment, sock, protocol, waiter)
    except BaseException:
        sock.close()
        raise
    try:
        await waiter
    except BaseException:
        transport.close()
        raise
    return transport, protocol


def datagram_socket(
    stack: Stack,
    local: list[Info] | None,
    remote: list[Info] | None,
    family: int,
    proto: int,
    options: list[int],
) -> Socket:
    """A socket of the first family that both addresses have, bound and connected."""
    problem: OSError | None = None
    families = [family] if local is remote is None else [info[0] for info in local or remote or []]
    for of in dict.fromkeys(families):
        near = None if local is None else next((one[1] for one in local if one[0] == of), None)
        far = None if remote is None else next((one[1] for one in remote if one[0] == of), None)
        if (local and near is None) or (remote and far is None):
            continue
        made = stack.socket(of, socket.SOCK_DGRAM, proto)
        try:
            for option in options:
                made.setsockopt(socket.SOL_SOCKET, option, 1)
            if near is not None:
                made.bind(near)
            if far is not None:
                made.connect(far)
            return made
        except OSError as error:
            made.close()
            problem = problem or error
        except BaseException:
            made.close()
            raise
    raise problem or ValueError("can not get address information")
