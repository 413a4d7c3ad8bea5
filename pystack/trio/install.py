"""install: trio's own sockets reach stacks: unmodified programs on virtual hosts.

Called by: applications.
RFCs: none.
"""

from __future__ import annotations

import socket as stdlib
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import trio
from trio.abc import HostnameResolver, SocketFactory

from pystack.owned import Owned, text_of
from pystack.trio.attachment import attach
from pystack.trio.sockets import UNSPECIFIED, StackSocket

if TYPE_CHECKING:
    from typing_extensions import Self

    from pystack.stack import Network, Stack


class Installation(SocketFactory, HostnameResolver):
    """What makes sockets and knows names in a run of trio. Leaving it as a block ends that."""

    def __init__(self, owned: Owned, names: dict[str, str]) -> None:
        self._owned = owned
        self._names = names
        self._factory = trio.socket.set_custom_socket_factory(self)
        self._resolver = trio.socket.set_custom_hostname_resolver(self)

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
        """Give trio back what it had before; sockets live on."""
        trio.socket.set_custom_socket_factory(self._factory)
        trio.socket.set_custom_hostname_resolver(self._resolver)

    # What trio calls.

    def socket(self, family: int = -1, type: int = -1, proto: int = -1) -> Any:
        """A socket that is the kernel's until it is given an address of a stack."""
        family = stdlib.AF_INET if family == -1 else family
        type = stdlib.SOCK_STREAM if type == -1 else type
        proto = 0 if proto == -1 else proto
        if self._factory is not None:
            kernel = self._factory.socket(family, type, proto)
        else:
            kernel = trio.socket.from_stdlib_socket(stdlib.socket(family, type, proto))
        if family not in UNSPECIFIED:
            return kernel
        return StackSocket(None, kernel, self._owned)

    async def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        name = text_of(host)
        if name in self._names:
            flags |= stdlib.AI_NUMERICHOST
            return stdlib.getaddrinfo(self._names[name], port, family, type, proto, flags)
        if self._resolver is not None:
            return await self._resolver.getaddrinfo(host, port, family, type, proto, flags)
        return await trio.to_thread.run_sync(
            stdlib.getaddrinfo, host, port, family, type, proto, flags, abandon_on_cancel=True
        )

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        if self._resolver is not None:
            return await self._resolver.getnameinfo(sockaddr, flags)
        return await trio.to_thread.run_sync(
            stdlib.getnameinfo, sockaddr, flags, abandon_on_cancel=True
        )


def install(
    *stacks: Stack,
    routes: Iterable[str | Network] = (),
    names: Mapping[str, str] | None = None,
) -> Installation:
    """Let trio's own calls reach stacks, in the run that there is: what runs there need not know.

    Addresses of the stacks' networks go to the stacks, and those of `routes` to the first of them;
    all others stay the kernel's. names: host names, and the addresses that they mean.
    """
    owned = Owned()
    owned.add(*stacks, routes=routes)
    for stack in stacks:
        attach(stack)
    return Installation(owned, dict(names or {}))
