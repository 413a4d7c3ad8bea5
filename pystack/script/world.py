"""What the system calls of one script share: its descriptors, its connections, its stack.

Called by: the calls, the runner.
RFCs: none.
"""

from __future__ import annotations

import errno
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pystack.script.connection import Tracker
from pystack.script.nodes import Expression, Function, String, Struct, Word
from pystack.script.settings import Settings
from pystack.script.values import integer

if TYPE_CHECKING:
    from pystack.script.commands import Environment
    from pystack.script.nodes import Event
    from pystack.script.pending import Pending

# A call that blocks yields the time at which it wants to be tried again at the latest, or None,
# and returns its result in the end; OSError is its errno.
Steps = Generator[int | None, None, int]

SO_LINGER_OFF = (0, 0)


@dataclass
class Watched:
    """A descriptor that an epoll instance watches."""

    events: int
    data: int
    seen: int = 0  # events that were ready when it was looked at last
    arrivals: int = -1  # how much had arrived then
    disabled: bool = False  # EPOLLONESHOT has fired


@dataclass
class Descriptor:
    """What a script's number for a file stands for."""

    kind: str  # socket, epoll, pipe, file
    sock: Any = None  # socket.socket or pystack.Socket
    nonblocking: bool = False
    fd: int = -1  # of a file or pipe of the operating system
    pipe: bytearray | None = None  # both ends have the same
    connected: bool = False
    consumed: int = 0  # bytes that were read so far
    linger: tuple[int, int] = SO_LINGER_OFF
    functions: str = "freebsd"  # TCP_FUNCTION_BLK
    receive_timeout: int = 0  # ns; 0: none
    send_timeout: int = 0
    watched: dict[int, Watched] = field(default_factory=dict)  # by the script's number
    epoll: Any = None  # select.epoll


class Target(ABC):
    """A stack that a script is run against. Times are ns since the script began."""

    # Sockets do not block: blocking is emulated, by trying again.
    emulated: bool
    # On which a waiting script is allowed to be late.
    real_time: bool

    @abstractmethod
    def configure(self, environment: Environment) -> None:
        """Before the first packet or call, and again when a command has changed something."""

    @abstractmethod
    def start(self) -> None:
        """The clock begins."""

    @abstractmethod
    def now(self) -> int: ...

    @abstractmethod
    def advance(self, until: int, wake: int | None) -> bool:
        """Let time pass until something has happened or until `until`, or, if sooner, `wake`.

        True: `until` has come.
        """

    @abstractmethod
    def packets(self) -> list[tuple[int, bytes]]:
        """What the stack has sent since the last call: time, packet."""

    @abstractmethod
    def inject(self, packet: bytes) -> None: ...

    @abstractmethod
    def socket(self, family: int, kind: int, protocol: int) -> socket.socket: ...

    @abstractmethod
    def pending(self, world: World, event: Event, steps: Steps, returns: int | None) -> Pending:
        """A call that is about to begin; returns: when it must, None: at once."""

    @abstractmethod
    def ready(self, sock: Any) -> int:
        """POLLIN, POLLOUT and so on, as poll would say it of an emulated socket."""

    @abstractmethod
    def ioctl(self, sock: Any, request: int) -> int:
        """What one of Linux's ioctls tells that give a number."""

    @abstractmethod
    def close(self) -> None: ...


class World:
    """One script's view of its system."""

    def __init__(self, settings: Settings, target: Target) -> None:
        self.settings = settings
        self.target = target
        self.tracker = Tracker(settings)
        self.descriptors: dict[int, Descriptor] = {}
        self.nameless: list[Descriptor] = []  # open, but their number is now another's

    # Descriptors.

    def add_descriptor(self, number: int, descriptor: Descriptor) -> None:
        """Let the script's number stand for it."""
        if number in self.descriptors:
            self.nameless.append(self.descriptors[number])
        self.descriptors[number] = descriptor

    def descriptor(self, expression: Expression, kind: str | None = None) -> Descriptor:
        """What an argument stands for; OSError if that is nothing."""
        found = self.descriptors.get(integer(expression))
        if found is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if kind == "socket" and found.kind != "socket":
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
        if kind == "epoll" and found.kind != "epoll":
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return found

    # Addresses.

    @property
    def family(self) -> int:
        return socket.AF_INET if self.settings.ip == "v4" else socket.AF_INET6

    def host(self, address: object) -> str:
        """An address as sockets of the script have it."""
        return f"::ffff:{address}" if self.settings.ip == "mapped" else str(address)

    def local(self) -> tuple[str, int]:
        """What `...` means to bind."""
        return self.host(self.settings.local), self.settings.bind_port

    def remote(self) -> tuple[str, int]:
        """What `...` means to connect and sendto."""
        return self.host(self.settings.remote), self.settings.connect_port

    def address(self, expression: Expression, default: tuple[str, int]) -> tuple[str, int]:
        """A struct sockaddr; what it leaves open is the runner's."""
        if not isinstance(expression, Struct):
            return default
        host, port = default
        named = {
            "sin_addr": "host", "sin6_addr": "host", "sin_port": "port", "sin6_port": "port",
        }  # fmt: skip
        for name, part in named.items():
            value = expression.get(name)
            if value is None:
                continue
            if part == "port":
                port = integer(value)
            elif isinstance(value, Function) and value.arguments:
                text = value.arguments[-1]
                if isinstance(text, String):
                    host = self.host(text.text) if ":" not in text.text else text.text
        return host, port

    def is_unspecified(self, expression: Expression) -> bool:
        """AF_UNSPEC, alone or as a family."""
        if isinstance(expression, Struct):
            expression = expression.get("sa_family") or expression.get("sin_family") or expression
        return isinstance(expression, Word) and expression.name == "AF_UNSPEC"

    # Blocking.

    def wait(
        self,
        descriptor: Descriptor,
        operation: Callable[[], Any],
        timeout: int = 0,
        may_block: bool = True,
    ) -> Generator[int | None, None, Any]:
        """Do it, again and again while it would block and may."""
        until = self.target.now() + timeout if timeout else None
        while True:
            try:
                return operation()
            except BlockingIOError:
                blocks = may_block and self.target.emulated and not descriptor.nonblocking
                if not blocks or (until is not None and self.target.now() >= until):
                    raise
            yield until
