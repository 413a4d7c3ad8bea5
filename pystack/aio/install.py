"""install: an event loop whose own calls reach stacks: unmodified programs on virtual hosts.

Called by: applications.
RFCs: none.

Addresses that a stack owns go to the stack, all others to the kernel. It fails closed: whichever
call a program makes on the loop, an owned address never reaches a kernel's connect or sendto.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from asyncio import sslproto
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pystack.aio import calls, sock_calls
from pystack.aio.attachment import Attachment, Loop, attach
from pystack.aio.guard import GuardedProtocol, GuardedTransport
from pystack.aio.sock_calls import decided
from pystack.aio.tls import tls_from
from pystack.aio.transport import StackTransport
from pystack.engine.tcp import TcpHandle
from pystack.owned import Owned, address_of, refused, text_of
from pystack.socket import Socket

if TYPE_CHECKING:
    from typing_extensions import Self

    from pystack.stack import Network, Stack

METHODS = (
    "create_connection", "create_server", "create_datagram_endpoint", "connect_accepted_socket",
    "getaddrinfo", "sock_connect", "sock_sendfile", "sock_sendto", "start_tls", "sendfile",
)  # fmt: skip

ATTRIBUTE = "pystack_installation"  # of the loop

# What names mean while a call runs that they were looked up for: it gets no other answer.
Answer = tuple[Any, Any, list[Any]]
answers: ContextVar[tuple[Answer, ...] | None] = ContextVar("answers", default=None)


@contextmanager
def pinned(*found: Answer | None) -> Iterator[None]:
    token = answers.set(tuple(answer for answer in found if answer is not None))
    try:
        yield
    finally:
        answers.reset(token)


class Installation:
    """The calls of a loop that know of stacks. Leaving it as a block takes it off the loop."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.owned = Owned()
        self.names: dict[str, str] = {}
        self.parked: WeakKeyDictionary[Any, tuple[Attachment, TcpHandle, int]] = WeakKeyDictionary()
        self.original: dict[str, Callable[..., Any]] = {
            name: getattr(loop, name) for name in METHODS if hasattr(loop, name)
        }
        for name in self.original:
            setattr(loop, name, getattr(self, name))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        problem: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.uninstall()

    def uninstall(self) -> None:
        """Give the loop its own calls back; connections of stacks live on."""
        if installation_of(self.loop) is self:
            for name in [*self.original, ATTRIBUTE]:
                delattr(self.loop, name)

    # Names.

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        for asked, of, infos in answers.get() or ():
            if (asked, of) == (host, port):
                return infos
        name = text_of(host)
        if name in self.names:
            host = self.names[name]
            options["flags"] = options.get("flags", 0) | socket.AI_NUMERICHOST
            return socket.getaddrinfo(host, port, **options)
        return await self.original["getaddrinfo"](host, port, **options)

    async def look_up(
        self, host: Any, port: Any, family: int, kind: int, proto: int, flags: int
    ) -> Answer:
        """What a host means, in every form in which one may be written."""
        if host is not None and address_of(host) is not None and isinstance(port, int):
            flags |= socket.AI_NUMERICHOST
            infos = socket.getaddrinfo(host, port, family, kind, proto, flags)
        else:
            infos = await self.getaddrinfo(
                host, port, family=family, type=kind, proto=proto, flags=flags
            )
        if not infos:
            raise OSError(f"getaddrinfo({host!r}) returned empty list")
        return host, port, list(infos)

    def owner(self, answer: Answer | None) -> Stack | None:
        """The stack of the first address that has one."""
        infos = [] if answer is None else answer[2]
        return next(filter(None, (self.owned.stack(info[4][0]) for info in infos)), None)

    def source(self, local: Answer | None) -> Stack | None:
        """The stack that a program has chosen by its own address."""
        return self.owner(local)

    def unspecified(self, family: int) -> Stack | None:
        """The stack that all addresses lead to, and so does none of them in particular."""
        families = [family] if family else [socket.AF_INET, socket.AF_INET6]
        stacks = {self.owned.everywhere(one) for one in families}
        return stacks.pop() if len(stacks) == 1 else None

    # Connections.

    async def create_connection(
        self,
        protocol_factory: Callable[[], Any],
        host: Any = None,
        port: Any = None,
        *,
        ssl: Any = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        sock: Any = None,
        local_addr: Any = None,
        server_hostname: str | None = None,
        **options: Any,
    ) -> Any:
        again = {"ssl": ssl, "server_hostname": server_hostname, **options}
        sock = decided(sock)
        if isinstance(sock, Socket):
            return await calls.create_connection(
                sock.stack, protocol_factory, host, port, sock=sock, **again
            )
        if sock is not None and sock in self.parked:
            return await self.adopt(protocol_factory, sock, again)
        more: dict[str, Any] = {"family": family, "proto": proto, "flags": flags}
        original = self.original["create_connection"]
        if sock is not None or (host is None and port is None):
            return await original(
                protocol_factory, host, port, sock=sock, local_addr=local_addr, **more, **again
            )
        if ssl and server_hostname is None and host:
            again["server_hostname"] = host
        kind = socket.SOCK_STREAM
        remote = await self.look_up(host, port, family, kind, proto, flags)
        local = None
        if local_addr is not None:
            local = await self.look_up(local_addr[0], local_addr[1], family, kind, proto, flags)
        near = self.source(local)
        stack = near or self.owner(remote)
        if stack is None:
            with pinned(remote, local):
                return await self.kernel_connection(
                    protocol_factory, remote, local_addr=local_addr, **more, **again
                )
        # Only its own addresses: those of others would be tried by the kernel.
        infos = [info for info in remote[2] if near or self.owned.stack(info[4][0]) is stack]
        with pinned((host, port, infos), local):
            return await calls.create_connection(
                stack, protocol_factory, host, port, local_addr=local_addr, **more, **again
            )

    async def kernel_connection(
        self, protocol_factory: Callable[[], Any], remote: Answer, **options: Any
    ) -> Any:
        """The loop's own; where it does not ask us for addresses, with one address at a time."""
        host, port, infos = remote
        original = self.original["create_connection"]
        if isinstance(self.loop, asyncio.BaseEventLoop) or address_of(host) is not None:
            return await original(protocol_factory, host, port, **options)
        problem: OSError | None = None
        for info in infos:
            try:
                return await original(protocol_factory, *info[4][:2], **options)
            except (ConnectionRefusedError, TimeoutError) as error:
                problem = error
            except OSError as error:
                if error.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH):
                    raise
                problem = error
        assert problem is not None
        raise problem

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """A kernel's socket whose peer is a stack's is parked: create_connection(sock=) adopts."""
        sock = decided(sock)
        if isinstance(sock, Socket):
            sock_calls.check_nonblocking(self.loop, sock)
            if isinstance(address, tuple) and address and address_of(address[0]) is None:
                host, port = address[:2]
                told = await self.look_up(host, port, sock.family, sock.type, sock.proto, 0)
                address = told[2][0][4]
            await sock_calls.connect(self.loop, sock, address)
            return
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            await self.original["sock_connect"](sock, address)
            return
        answer = await self.look_up(address[0], address[1], sock.family, sock.type, sock.proto, 0)
        family, _, _, _, found = answer[2][0]
        stack = self.owned.stack(found[0])
        if stack is None:
            if self.owner(answer) is None:
                found = found[:2] + tuple(address[2:]) if len(address) > 2 else found
            await self.original["sock_connect"](sock, found)
            return
        if answers.get() is not None or sock.type != socket.SOCK_STREAM:
            raise refused(found[0])
        attachment = attach(self.source(None) or stack, self.loop)
        if family == socket.AF_INET6 and "." in str(address_of(found[0])):
            family, found = socket.AF_INET, (str(address_of(found[0])), found[1])
        handle = await calls.connect(attachment, (family, found), None)
        self.parked[sock] = attachment, handle, family

    async def adopt(
        self, protocol_factory: Callable[[], Any], sock: Any, options: dict[str, Any]
    ) -> Any:
        """Give a parked connection to a protocol; the kernel's socket has done its duty."""
        attachment, handle, family = self.parked.pop(sock)
        sock.close()
        if options["ssl"] and options["server_hostname"] is None:
            raise ValueError("You must set server_hostname when using ssl without a host")
        tls = tls_from(
            options["ssl"],
            False,
            options["server_hostname"],
            options.get("ssl_handshake_timeout"),
            options.get("ssl_shutdown_timeout"),
        )
        return await calls.give(attachment, handle, family, protocol_factory, tls)

    async def connect_accepted_socket(
        self, protocol_factory: Callable[[], Any], sock: Any, **options: Any
    ) -> Any:
        sock = decided(sock)
        if isinstance(sock, Socket):
            return await calls.connect_accepted_socket(
                sock.stack, protocol_factory, sock, **options
            )
        return await self.original["connect_accepted_socket"](protocol_factory, sock, **options)

    # Servers.

    async def create_server(
        self,
        protocol_factory: Callable[[], Any],
        host: Any = None,
        port: Any = None,
        *,
        sock: Any = None,
        **options: Any,
    ) -> Any:
        sock = decided(sock)
        if isinstance(sock, Socket):
            return await calls.create_server(sock.stack, protocol_factory, sock=sock, **options)
        stacks: set[Stack | None] = set()
        several = isinstance(host, Iterable) and not isinstance(host, (str, bytes))
        for one in host if several else [host]:
            family = options.get("family", 0)
            if sock is not None:
                stacks.add(None)
            elif one in (None, "", b""):
                anywhere = None if port is None else self.unspecified(family)
                stacks.add(self.source(None) or anywhere)
            else:
                flags = options.get("flags", socket.AI_PASSIVE)
                found = await self.look_up(one, port, family, socket.SOCK_STREAM, 0, flags)
                stacks.add(self.source(found))
        stack = stacks.pop()
        if stacks:
            raise ValueError(f"pystack: {host!r} is not of one stack only: make a server for each")
        if stack is None:
            return await self.original["create_server"](
                protocol_factory, host, port, sock=sock, **options
            )
        return await calls.create_server(stack, protocol_factory, host, port, **options)

    # Datagrams.

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], Any],
        local_addr: Any = None,
        remote_addr: Any = None,
        *,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        sock: Any = None,
        **options: Any,
    ) -> Any:
        """The kernel's endpoints get a transport that refuses to send to a stack's addresses."""
        more = {"family": family, "proto": proto, "flags": flags, **options}
        sock = decided(sock)
        if isinstance(sock, Socket):
            return await calls.create_datagram_endpoint(
                sock.stack, protocol_factory, local_addr, remote_addr, sock=sock, **more
            )
        found: list[Answer | None] = [None, None]
        if sock is None and family in (0, socket.AF_INET, socket.AF_INET6):
            for place, address in enumerate((local_addr, remote_addr)):
                if isinstance(address, tuple):
                    found[place] = await self.look_up(
                        address[0], address[1], family, socket.SOCK_DGRAM, proto, flags
                    )
        stack = self.source(found[0]) or self.owner(found[1])
        if stack is None and sock is None and family and found == [None, None]:
            stack = self.unspecified(family)
        with pinned(*found):
            if stack is not None:
                return await calls.create_datagram_endpoint(
                    stack, protocol_factory, local_addr, remote_addr, **more
                )
            if remote_addr is not None and found[1] is not None:
                remote_addr = found[1][2][0][4][:2]
            transport, guarded = await self.original["create_datagram_endpoint"](
                lambda: GuardedProtocol(protocol_factory(), self.check_peer),
                local_addr,
                remote_addr,
                sock=sock,
                **more,
            )
        del transport
        return guarded.transport, guarded.protocol

    def check_peer(self, host: Any) -> None:
        """Raise if a datagram for this host is not the kernel's to send."""
        if host in self.names:
            raise refused(host)
        hosts = [host]
        if isinstance(host, (str, bytes)) and address_of(host) is None:
            # A name: the kernel's sendto would look it up as well, and as slowly.
            hosts = [info[4][0] for info in socket.getaddrinfo(host, None)]
        for one in hosts:
            if self.owned.stack(one) is not None:
                raise refused(host)

    async def sock_sendto(self, sock: Any, data: Any, address: Any) -> int:
        """As the event loop's; no address of a stack leaves a kernel's socket."""
        if isinstance(decided(sock), Socket):
            return int(sock.sendto(data, address))
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            self.check_peer(address[0])
        sent: int = await self.original["sock_sendto"](sock, data, address)
        return sent

    async def sock_sendfile(
        self, sock: Any, file: Any, offset: int = 0, count: Any = None, *, fallback: bool = True
    ) -> int:
        if isinstance(decided(sock), Socket):
            return await sock_calls.sendfile(
                self.loop, sock, file, offset, count, fallback=fallback
            )
        original = self.original["sock_sendfile"]
        sent: int = await original(sock, file, offset, count, fallback=fallback)
        return sent

    # What uvloop has for its own transports only.

    async def start_tls(self, transport: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(transport, GuardedTransport):
            raise TypeError(f"transport {transport!r} is not supported by start_tls()")
        if is_ours(transport):
            loop: Any = self.loop
            return await asyncio.BaseEventLoop.start_tls(loop, transport, *arguments, **options)
        return await self.original["start_tls"](transport, *arguments, **options)

    async def sendfile(
        self,
        transport: Any,
        file: Any,
        offset: int = 0,
        count: Any = None,
        *,
        fallback: bool = True,
    ) -> int:
        if not is_ours(transport):
            sent: int = await self.original["sendfile"](
                transport, file, offset, count, fallback=fallback
            )
            return sent
        if transport.is_closing():
            raise RuntimeError("Transport is closing")
        if not fallback:
            raise asyncio.SendfileNotAvailableError(
                f"fallback is disabled and native sendfile is not supported for {transport!r}"
            )
        base: Any = asyncio.BaseEventLoop
        sent = await base._sendfile_fallback(self.loop, transport, file, offset, count)
        return sent


def is_ours(transport: Any) -> bool:
    """A stack's transport, or TLS of asyncio's upon one."""
    while isinstance(transport, sslproto._SSLProtocolTransport):
        transport = transport._ssl_protocol._transport
    return isinstance(transport, StackTransport)


def installation_of(loop: Loop) -> Installation | None:
    return getattr(loop, ATTRIBUTE, None)


def install(
    loop: Loop,
    *stacks: Stack,
    routes: Iterable[str | Network] = (),
    names: Mapping[str, str] | None = None,
) -> Installation:
    """Let the loop's own calls reach stacks: what runs on it need not know of them.

    Addresses of the stacks' networks go to the stacks, and those of `routes` to the first of them,
    such as "0.0.0.0/0" for a stack that is a tunnel's end; all others stay the kernel's.
    names: host names, and the addresses that they mean.
    """
    installation = installation_of(loop)
    if installation is None:
        installation = Installation(loop)
        setattr(loop, ATTRIBUTE, installation)
    installation.owned.add(*stacks, routes=routes)
    installation.names.update(names or {})
    return installation


def loop_factory(
    *stacks: Stack, new: Callable[[], Loop] = asyncio.new_event_loop, **options: Any
) -> Callable[[], Loop]:
    """For asyncio.Runner and whoever else makes loops: one with `install` done."""

    def make() -> Loop:
        loop = new()
        install(loop, *stacks, **options)
        return loop

    return make
