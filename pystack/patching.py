"""patch: within a block, sockets of the socket module reach stacks: blocking programs, unchanged.

Called by: applications.
RFCs: none.

A socket is the kernel's until it is bound or connected. An address of a stack then makes it a
socket of that stack, with the options and the timeout that it has got so far; where a stack has all
addresses, it is that stack's from the beginning. It fails closed: sockets whose class was taken
before the block cannot change sides; an audit hook refuses them.
uvloop, which needs no sockets of Python's, is refused in `uvloop`.
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from operator import index
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pystack.owned import Owned, address_of, refused, text_of
from pystack.shown import Handle, handle_at
from pystack.socket import Socket
from pystack.tls import TlsSocket, Wrapper, connect_tls, teach_ssl
from pystack.tls import kernels as kernels_tls
from pystack.uvloop import guard_uvloop

if TYPE_CHECKING:
    from typing_extensions import Self

    from pystack.stack import Network, Stack

kernels = socket.socket
INTERNET = (socket.AF_INET, socket.AF_INET6)
KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
SENDING = {"socket.connect", "socket.sendto", "socket.sendmsg"}  # audit events

active: list[Patch] = []


class Patch:
    """The stacks that sockets reach in a block; patches may be nested."""

    def __init__(self, owned: Owned, names: dict[str, str]) -> None:
        self.owned = owned
        self.names = names
        self.original: dict[str, Any] = {}

    def __enter__(self) -> Self:
        listen_to_audits()
        guard_uvloop(lambda: bool(active), is_stacks)
        teach_ssl(RoutedWrapper)
        replaced: dict[str, Any] = {"socket": RoutedSocket, "getaddrinfo": self.getaddrinfo}
        replaced |= {"gethostbyname": self.gethostbyname}
        self.original = {name: getattr(socket, name) for name in replaced}
        for name, value in replaced.items():
            setattr(socket, name, value)
        active.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        problem: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        if active[-1:] != [self]:
            raise RuntimeError("pystack: patches end in the opposite order")
        active.pop()
        for name, value in self.original.items():
            setattr(socket, name, value)

    def getaddrinfo(self, host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        """As socket's; a stack has no other resolver than the names of the block."""
        host = self.names.get(text_of(host), host)
        return self.original["getaddrinfo"](host, port, *arguments, **options)

    def gethostbyname(self, hostname: Any) -> Any:
        return self.original["gethostbyname"](self.names.get(hostname, hostname))


def patch(
    *stacks: Stack,
    routes: Iterable[str | Network] = (),
    names: Mapping[str, str] | None = None,
) -> Patch:
    """A block in which `socket.socket` reaches stacks, in all threads.

    Addresses of the stacks' networks go to the stacks, and those of `routes` to the first of them;
    all others stay the kernel's. With the route 0.0.0.0/0 or ::/0 no address of that family is the
    kernel's, if there is one stack only: its sockets are the stack's from the beginning, also those
    that listen at "" or are never bound. names: host names, and the addresses that they mean.
    """
    for stack in stacks:
        if stack.driver == "caller":
            raise ValueError(
                f"pystack: {stack!r} is turned by its caller, where a blocking call would wait for "
                "itself: use a stack with a thread, or pystack.aio.install"
            )
    owned = Owned()
    owned.add(*stacks, routes=routes)
    return Patch(owned, dict(names or {}))


def stack_of(host: Any) -> Stack | None:
    """Whose an address is, the innermost block first."""
    found = (one.owned.stack(host) for one in reversed(active))
    return next(filter(None, found), None)


def resolved(sock: socket.socket, address: Any) -> tuple[Any, Stack | None]:
    """The socket address with a number for its host, so that it is looked up once only; whose."""
    if not active or sock.family not in INTERNET or not isinstance(address, tuple):
        return address, None
    host = address[0] if address else None
    if is_name(host):
        with suppress(OSError, UnicodeError):  # the kernel will say what is wrong
            found = socket.getaddrinfo(host, None, sock.family, sock.type)[0][4]
            address = (found[0], *address[1:])
    return address, stack_of(address[0] if address else None)


def is_name(host: Any) -> bool:
    return isinstance(host, (str, bytes)) and bool(host) and address_of(host) is None


# Fail closed.


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse what a socket that cannot change sides would send to a stack's address."""
    if not active or event not in SENDING:
        return
    sock, address = arguments[:2]
    if stack_of_peer(sock, address):
        raise refused(address[0])


def stack_of_peer(sock: Any, address: Any) -> bool:
    """Whether a call of the kernel's would be to a stack's address."""
    if sock.family not in INTERNET or not isinstance(address, tuple) or not address:
        return False
    return is_stacks(address[0])


def is_stacks(host: Any) -> bool:
    """Any of the addresses that a name has: the kernel chooses by itself."""
    hosts = [host]
    if is_name(host):
        with suppress(OSError, UnicodeError):  # the kernel will not find it either
            hosts = [info[4][0] for info in socket.getaddrinfo(host, None)]
    return any(stack_of(one) is not None for one in hosts)


def listen_to_audits() -> None:
    """Once for all: a hook cannot be taken away again."""
    if not hasattr(audit, "listens"):
        audit.listens = True  # type: ignore[attr-defined]
        sys.addaudithook(audit)


# What socket.socket is in the block.


def succeed(kernel: Any, stack: Stack, near: Any, options: Iterable[tuple[Any, ...]]) -> Socket:
    """A stack's socket in the place of a kernel's: near is what that was bound to, if it was."""
    if near is not None and near[0] not in ("", "0.0.0.0", "::"):
        raise refused(f"bound to {near[0]}, its peer")
    own = stack.socket(kernel.family, kernel.type, kernel.proto)
    try:
        for option in options:
            with suppress(OSError):  # what only the kernel has is of no use here
                own.setsockopt(*option)
        if near is not None:
            own.bind((near[0], kernel.getsockname()[1]))
    except BaseException:
        own.close()
        raise
    return own


class Kind(type):
    """So that isinstance tells what it told before: sockets of all kinds are sockets."""

    def __instancecheck__(cls, instance: object) -> bool:
        return (
            isinstance(instance, kernels)
            if cls is RoutedSocket
            else super().__instancecheck__(instance)
        )

    def __subclasscheck__(cls, subclass: type) -> bool:
        return (
            issubclass(subclass, kernels)
            if cls is RoutedSocket
            else super().__subclasscheck__(subclass)
        )


class RoutedSocket(kernels, metaclass=Kind):
    """A kernel's socket that becomes a stack's when it is given an address of one."""

    _closed: bool
    _own: Socket | None = None  # the stack's
    _shown = False  # its descriptor, which has to stay the same
    _near: Any = None  # what it was bound to

    def __init__(self, *arguments: Any, **options: Any) -> None:
        given: Any = options.get("fileno", arguments[3] if len(arguments) > 3 else None)
        family = options.get("family", arguments[0] if arguments else -1)
        handle = handle_at(given)
        if handle is not None and family in (-1, handle.shown.family):
            shown = handle.shown
            super().__init__(shown.family, shown.kind, shown.proto)
            super(kernels, self).close()
            self._own = Socket.of_number(handle, index(given))
            return
        super().__init__(*arguments, **options)
        self._said: list[tuple[Any, ...]] = []
        if given is None and active and self.type in KINDS:
            stack = active[-1].owned.everywhere(self.family)
            if stack is not None:
                self._change(stack)

    def _change(self, stack: Stack) -> Socket:
        """Become a socket of a stack."""
        own = succeed(self, stack, self._near, self._said)
        try:
            own.settimeout(self.gettimeout())
            if self._shown:
                own.replace(super(kernels, self).detach())
            else:
                super(kernels, self).close()
        except BaseException:
            own.close()
            raise
        self._own = own
        return own

    @property
    def handle(self) -> Handle:
        """As a stack's socket, if it is one."""
        if self._own is None:
            raise AttributeError("handle")
        return self._own.handle

    # What decides.

    def bind(self, address: Any, /) -> None:
        address, stack = resolved(self, address)
        own = self._own
        if own is None and stack is not None and self.type in KINDS:
            own = self._change(stack)
        if own is not None:
            own.bind(address)
            return
        super().bind(address)
        self._near = address

    def _peer(self, address: Any) -> tuple[Any, Socket | None]:
        """A peer's address, and the stack's socket if it is for that to reach it."""
        address, stack = resolved(self, address)
        if self._own is None and stack is not None and self.type in KINDS:
            self._change(stack)
        return address, self._own

    def connect(self, address: Any, /) -> None:
        address, own = self._peer(address)
        super().connect(address) if own is None else own.connect(address)

    def connect_ex(self, address: Any, /) -> int:
        address, own = self._peer(address)
        return super().connect_ex(address) if own is None else own.connect_ex(address)

    def sendto(self, data: Any, *arguments: Any) -> int:
        if not arguments or arguments[-1] is None:
            return super().sendto(data, *arguments)
        address, own = self._peer(arguments[-1])
        arguments = (*arguments[:-1], address)
        return super().sendto(data, *arguments) if own is None else own.sendto(data, *arguments)

    def sendmsg(
        self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None, /
    ) -> int:
        own = self._own
        if address is None:
            if own is None:
                return super().sendmsg(buffers, ancdata, flags)
        else:
            address, own = self._peer(address)
        if own is None:
            return super().sendmsg(buffers, ancdata, flags, address)
        return own.sendmsg(buffers, ancdata, flags, address)

    # What is remembered until it is decided.

    def setsockopt(self, *arguments: Any) -> None:
        if self._own is not None:
            self._own.setsockopt(*arguments)
            return
        super().setsockopt(*arguments)
        self._said.append(arguments)

    def set_inheritable(self, inheritable: bool) -> None:
        """Of a stack's it changes nothing: programs ask for it, for children that may never be."""
        if self._own is None:
            super().set_inheritable(inheritable)

    def fileno(self) -> int:
        if self._own is None:
            self._shown = True
            return super().fileno()
        return self._own.fileno()

    # Its life.

    def accept(self) -> tuple[socket.socket, Any]:
        return super().accept() if self._own is None else self._own.accept()

    def dup(self) -> Any:
        return super().dup() if self._own is None else self._own.dup()

    def detach(self) -> int:
        if self._own is None:
            return super().detach()
        number = self._own.detach()
        self._closed = True
        return number

    def _real_close(self, *arguments: Any) -> None:
        if self._own is not None:
            self._own.close()
        super()._real_close(*arguments)  # type: ignore[misc]

    def __repr__(self) -> str:
        return super().__repr__() if self._own is None or self._closed else repr(self._own)

    @property
    def timeout(self) -> float | None:
        return self.gettimeout()


def passed_on(name: str) -> Any:
    """A method that is the stack's, once the socket is."""
    kernel = getattr(kernels, name)

    def method(self: RoutedSocket, *arguments: Any, **options: Any) -> Any:
        if self._own is None:
            return kernel(self, *arguments, **options)
        return getattr(self._own, name)(*arguments, **options)

    method.__name__ = name
    method.__doc__ = kernel.__doc__
    return method


for _name in (
    "getblocking", "getpeername", "getsockname", "getsockopt", "gettimeout", "listen", "recv",
    "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into", "send", "sendall",
    "sendfile", "setblocking", "settimeout", "shutdown", "get_inheritable",
):  # fmt: skip
    if hasattr(kernels, _name):
        setattr(RoutedSocket, _name, passed_on(_name))


# TLS.


class RoutedTls(ssl.SSLSocket, RoutedSocket):  # type: ignore[misc]
    """An SSLSocket that was made of a socket before this was decided."""

    def _real_connect(self, address: Any, connect_ex: bool) -> int | None:
        address, own = self._peer(address)
        kernel: Any = super()
        if own is None:
            code: int | None = kernel._real_connect(address, connect_ex)
            return code
        call = own.connect_ex if connect_ex else own.connect
        return connect_tls(self, lambda: call(address))


class DecidedTls(TlsSocket):
    """An SSLSocket that was made of a stack's socket: it knows the names of the block."""

    def bind(self, address: Any, /) -> None:
        super().bind(resolved(self, address)[0])

    def _real_connect(self, address: Any, connect_ex: bool) -> int | None:
        return super()._real_connect(resolved(self, address)[0], connect_ex)


class RoutedWrapper(Wrapper):
    """wrap_socket for all three: sockets of stacks, of the kernel, and those not yet decided."""

    @classmethod
    def _create(cls, sock: Any, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        if RoutedSocket not in type(sock).__mro__:
            return super()._create(sock, *arguments, **options)
        if sock._own is not None:
            made: Any = DecidedTls._create(sock._own, *arguments, **options)
            sock.close()
            return made  # type: ignore[no-any-return]
        create = kernels_tls._create.__func__
        made = create(RoutedTls, sock, *arguments, **options)
        made._said, made._near = sock._said, sock._near
        return made  # type: ignore[no-any-return]
