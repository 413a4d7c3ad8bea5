"""StackSocket: a trio socket that is a stack's, or becomes one when it is given an address of it.

Called by: streams, install; trio's own streams and listeners.
RFCs: none; trio.socket is the reference.
"""

from __future__ import annotations

import socket as stdlib
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio
from trio.socket import SocketType

from pystack.engine.watch import READ, WRITE
from pystack.owned import Owned
from pystack.patching import RoutedSocket, succeed
from pystack.socket import Socket
from pystack.trio.attachment import attach

if TYPE_CHECKING:
    from typing_extensions import Self

    from pystack.stack import Stack

UNSPECIFIED = {stdlib.AF_INET: "0.0.0.0", stdlib.AF_INET6: "::"}


class StackSocket(SocketType):
    """What trio.socket.socket returns, for a stack; no descriptor is behind it."""

    _own: Socket | None = None
    _kernel: Any = None  # trio's socket of the kernel's, while it is not a stack's
    _owned: Owned | None = None  # what makes it a stack's
    _near: Any = None  # what the kernel's was bound to
    _ended_writing = False

    def __init__(self, own: Socket | None, kernel: Any = None, owned: Owned | None = None) -> None:
        self._own, self._kernel, self._owned = own, kernel, owned
        self._said: list[tuple[Any, ...]] = []
        self._waiting: set[trio.Event] = set()
        if own is not None:
            own.setblocking(False)

    @property
    def _sock(self) -> Any:
        """The blocking socket behind it: anyio asks."""
        return self._kernel._sock if self._own is None else self._own

    @property
    def _either(self) -> Any:
        return self._kernel if self._own is None else self._own

    def __repr__(self) -> str:
        return f"<pystack.trio socket of {self._either!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    # What it is.

    @property
    def family(self) -> stdlib.AddressFamily:
        return self._either.family  # type: ignore[no-any-return]

    @property
    def type(self) -> stdlib.SocketKind:
        return self._either.type  # type: ignore[no-any-return]

    @property
    def proto(self) -> int:
        return self._either.proto  # type: ignore[no-any-return]

    @property
    def did_shutdown_SHUT_WR(self) -> bool:
        if self._own is None:
            return self._kernel.did_shutdown_SHUT_WR  # type: ignore[no-any-return]
        return self._ended_writing

    def fileno(self) -> int:
        return self._either.fileno()  # type: ignore[no-any-return]

    def getsockname(self) -> Any:
        return self._either.getsockname()

    def getpeername(self) -> Any:
        return self._either.getpeername()

    def getsockopt(self, *arguments: Any) -> Any:
        return self._either.getsockopt(*arguments)

    def setsockopt(self, *arguments: Any) -> None:
        self._either.setsockopt(*arguments)
        self._said.append(arguments)

    def get_inheritable(self) -> bool:
        return self._either.get_inheritable()  # type: ignore[no-any-return]

    def set_inheritable(self, inheritable: bool) -> None:
        self._either.set_inheritable(inheritable)

    # What decides.

    def _become(self, stack: Stack) -> None:
        """A socket of a stack from now on."""
        own = succeed(self._kernel, stack, self._near, self._said)
        own.setblocking(False)
        self._kernel.close()
        self._own = own

    async def _resolved(self, address: Any) -> Any:
        """With a number for its host, and the side on which that is."""
        if self._own is None and self.family not in UNSPECIFIED:
            return address
        if not isinstance(address, tuple) or len(address) < 2:
            raise ValueError(f"address should be a (host, port, ...) tuple, not {address!r}")
        host, port, *rest = address
        if host == "":
            host = UNSPECIFIED[self.family]
        mapped = stdlib.AI_V4MAPPED if self.family == stdlib.AF_INET6 else 0
        infos = await trio.socket.getaddrinfo(
            host, port, self.family, self.type, self.proto, mapped
        )
        found: Any = infos[0][4]
        if rest:
            found = (*found[:2], *rest, *found[2 + len(rest) :])
        if self._own is None and self._owned is not None:
            stack = self._owned.stack(found[0])
            if stack is not None and self.type in (stdlib.SOCK_STREAM, stdlib.SOCK_DGRAM):
                self._become(stack)
        return found

    async def bind(self, address: Any) -> None:
        address = await self._resolved(address)
        if self._own is None:
            await self._kernel.bind(address)
            self._near = address
        else:
            self._own.bind(address)
        await trio.lowlevel.checkpoint()

    async def connect(self, address: Any) -> None:
        """As trio's; a socket whose connect was cancelled is closed."""
        try:
            address = await self._resolved(address)
            if self._own is None:
                await self._kernel.connect(address)
            else:
                await self._wait(WRITE, self._own.connect, address)
        except trio.Cancelled:
            self.close()
            raise

    # How it waits.

    async def _wait(self, events: int, call: Callable[..., Any], *arguments: Any) -> Any:
        """A call that does not block, until it has something to say; always a checkpoint."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            result = call(*arguments)
        except BlockingIOError:
            pass
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return result
        while True:
            await self._ready(events)
            with suppress(BlockingIOError):
                return call(*arguments)

    async def _ready(self, events: int) -> None:
        assert self._own is not None
        await attach(self._own.stack).ready(self._own.handle, events, self._waiting)
        if self._own.handle.closed:
            raise trio.ClosedResourceError("another task closed this socket")

    async def wait_writable(self) -> None:
        if self._own is None:
            await self._kernel.wait_writable()
        else:
            await self._ready(WRITE)

    def is_readable(self) -> bool:
        if self._own is None:
            return self._kernel.is_readable()  # type: ignore[no-any-return]
        return bool(self._own.poll() & READ)

    # Its life.

    def listen(self, backlog: int = 128) -> None:
        self._either.listen(backlog)

    async def accept(self) -> tuple[Any, Any]:
        if self._own is None:
            return await self._kernel.accept()  # type: ignore[no-any-return]
        made, address = await self._wait(READ, self._own.accept)
        return StackSocket(made), address

    def shutdown(self, flag: int) -> None:
        self._either.shutdown(flag)
        if flag in (stdlib.SHUT_WR, stdlib.SHUT_RDWR):
            self._ended_writing = True

    def dup(self) -> Any:
        return self._kernel.dup() if self._own is None else StackSocket(self._own.dup())

    def detach(self) -> int:
        return self._either.detach()  # type: ignore[no-any-return]

    def close(self) -> None:
        self._either.close()
        for event in self._waiting:
            event.set()


def waiting(name: str, events: int) -> Any:
    """A call of trio's that waits, by the stack's own, which does not."""

    async def method(self: StackSocket, *arguments: Any, **options: Any) -> Any:
        if self._own is None:
            return await getattr(self._kernel, name)(*arguments, **options)
        call = getattr(self._own, name)
        return await self._wait(events, lambda: call(*arguments, **options))

    method.__name__ = name
    method.__doc__ = f"As trio's {name}."
    return method


def sending_to(name: str, place: int) -> Any:
    """A call of trio's with an address, which decides."""

    async def method(self: StackSocket, *arguments: Any) -> Any:
        if len(arguments) > place and arguments[-1] is not None:
            arguments = (*arguments[:-1], await self._resolved(arguments[-1]))
        if self._own is None:
            return await getattr(self._kernel, name)(*arguments)
        return await self._wait(WRITE, getattr(self._own, name), *arguments)

    method.__name__ = name
    method.__doc__ = f"As trio's {name}."
    return method


def from_stdlib_socket(sock: Any) -> Any:
    """As trio.socket.from_stdlib_socket, which takes sockets of stacks from now on."""
    if RoutedSocket in type(sock).__mro__:
        sock = sock if sock._own is None else sock._own
    return StackSocket(sock) if isinstance(sock, Socket) else kernels(sock)


kernels = trio.socket.from_stdlib_socket
trio.socket.from_stdlib_socket = from_stdlib_socket

for _name in ("recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into"):
    setattr(StackSocket, _name, waiting(_name, READ))
for _name, _method in (
    ("send", waiting("send", WRITE)),
    ("sendto", sending_to("sendto", 1)),
    ("sendmsg", sending_to("sendmsg", 3)),
):
    setattr(StackSocket, _name, _method)


def socket(
    stack: Stack,
    family: int = stdlib.AF_INET,
    type: int = stdlib.SOCK_STREAM,
    proto: int = 0,
) -> StackSocket:
    """As trio.socket.socket, of a stack."""
    attach(stack)
    return StackSocket(stack.socket(family, type, proto))
