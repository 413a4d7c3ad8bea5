"""Guard: the kernel's datagram endpoint, which must not send to addresses of stacks.

Called by: install.
RFCs: none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class GuardedTransport(asyncio.DatagramTransport):
    """Passes everything on, but for datagrams that are a stack's to send."""

    def __init__(self, guard: GuardedProtocol, transport: Any) -> None:
        super().__init__()
        self._guard = guard
        self._transport = transport

    def sendto(self, data: Any, addr: Any = None) -> None:
        if addr is not None:
            try:
                self._guard.check(addr[0])
            except OSError as problem:
                self._guard.protocol.error_received(problem)
                return
        self._transport.sendto(data, addr)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._guard.protocol  # type: ignore[no-any-return]

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._guard.protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return bool(self._transport.is_closing())

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def __repr__(self) -> str:
        return repr(self._transport)


class GuardedProtocol(asyncio.DatagramProtocol):
    """Stands before a protocol, so that this sees the guarded transport only."""

    def __init__(self, protocol: Any, check: Callable[[Any], None]) -> None:
        self.protocol = protocol
        self.check = check
        self.transport: GuardedTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = GuardedTransport(self, transport)
        self.protocol.connection_made(self.transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.protocol.datagram_received(data, addr)

    def error_received(self, exc: Exception) -> None:
        self.protocol.error_received(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self.protocol.pause_writing()

    def resume_writing(self) -> None:
        self.protocol.resume_writing()
