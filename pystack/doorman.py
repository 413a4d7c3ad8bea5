"""listen_any: a decision for each new flow that no socket of a stack waits for.

Called by: stack; aio.anyone.
RFCs: none; the design's section 6.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from pystack.addresses import MAPPED, plain
from pystack.engine.doorman import Asked, DoormanHandle
from pystack.socket import Socket

if TYPE_CHECKING:
    from typing_extensions import Self

    from pystack.stack import Stack

NAMES = {6: "tcp", 17: "udp"}
DEFAULT_LIMIT = 1024

logger = logging.getLogger("pystack")


class FlowRequest:
    """Somebody speaks to an address and a port where nobody listens.

    Decide at once or later: accept, refuse or drop, once. Until then TCP's SYN waits, and so do the
    first few datagrams of UDP; the peer repeats the one, and perhaps the others.
    """

    def __init__(self, stack: Stack, asked: Asked) -> None:
        self._stack = stack
        self._asked = asked
        self.protocol = NAMES[asked.protocol]  # "tcp" or "udp"
        address, port = asked.source
        self.source = plain(address), port  # who asks
        address, port = asked.destination
        self.destination = plain(address), port  # whom it asks
        self._v6 = address[:12] != MAPPED

    def __repr__(self) -> str:
        (host, port), (to, at) = self.source, self.destination
        return f"<{type(self).__name__} {self.protocol} {host}.{port} -> {to}.{at}>"

    def accept(self) -> Socket:
        """A socket that speaks as the destination, and with the source alone.

        Of TCP it is at once there; its first call waits for the end of the handshake. OSError
        (ECONNABORTED): too late, it was decided, or dropped for newer ones.
        """
        family = socket.AF_INET6 if self._v6 else socket.AF_INET
        kind = socket.SOCK_STREAM if self.protocol == "tcp" else socket.SOCK_DGRAM
        return Socket.of_handle(self._stack, self._asked.accept(), family, kind)

    def refuse(self) -> None:
        """As if this had not been asked: a RST, or ICMP's port unreachable."""
        self._asked.refuse()

    def drop(self) -> None:
        """No answer."""
        self._asked.drop()

    def give_up(self) -> None:
        """Drop it, unless it was decided."""
        with suppress(OSError):
            self._asked.drop()


Decide = Callable[[FlowRequest], object]


class AnyListener:
    """The flows to decide about: one after another, or by callbacks in a thread of its own."""

    def __init__(self, stack: Stack, *, tcp: bool, udp: bool, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit {limit}: at least one flow has to wait")
        self.stack = stack
        self.handle = DoormanHandle(stack.engine, tcp, udp, limit)
        self.thread: threading.Thread | None = None
        self._timeout = stack.initial_timeout

    def settimeout(self, value: float | None) -> None:
        """Of accept, in seconds."""
        self._timeout = value

    def accept(self) -> FlowRequest:
        """The next request; TimeoutError, BlockingIOError as of a socket."""
        return FlowRequest(self.stack, self.handle.take(self._timeout))

    def __iter__(self) -> Iterator[FlowRequest]:
        """Until it is closed, or its stack."""
        with suppress(OSError):
            while not self.handle.closed:
                yield self.accept()

    def fileno(self) -> int:
        """To wait on: readable when somebody is to be decided about; -1 once closed."""
        return self.handle.fileno()

    @property
    def closed(self) -> bool:
        """Whether it was closed, or its stack."""
        return self.handle.closed

    def close(self) -> None:
        """Nobody is asked any more; who waits is dropped. Sockets live on."""
        self.handle.close()
        thread, self.thread = self.thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        problem: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()

    def call(self, decide: Decide) -> None:
        """Call back for each flow, in a thread that ends with the listener."""
        if self.stack.driver != "thread":
            raise ValueError(
                "callbacks need a stack with a thread; otherwise call accept(), "
                "or pystack.aio.listen_any"
            )
        self.thread = threading.Thread(
            target=self._decide, args=(decide,), name="pystack any", daemon=True
        )
        self.thread.start()

    def _decide(self, decide: Decide) -> None:
        self._timeout = None
        for request in self:
            try:
                decide(request)
            except Exception:
                request.give_up()
                logger.exception("pystack: deciding about %r failed; it is dropped", request)


def by_protocol(on_tcp: Decide | None, on_udp: Decide | None) -> Decide:
    """One callback out of two, of which one may be missing."""

    def decide(request: FlowRequest) -> object:
        chosen = on_tcp if request.protocol == "tcp" else on_udp
        assert chosen is not None
        return chosen(request)

    return decide


def listen_any(
    stack: Stack,
    on_tcp: Decide | None = None,
    on_udp: Decide | None = None,
    *,
    limit: int = DEFAULT_LIMIT,
) -> AnyListener:
    """See Stack.listen_any."""
    called = on_tcp is not None or on_udp is not None
    listener = AnyListener(
        stack,
        tcp=on_tcp is not None or not called,
        udp=on_udp is not None or not called,
        limit=limit,
    )
    if called:
        try:
            listener.call(by_protocol(on_tcp, on_udp))
        except BaseException:
            listener.close()
            raise
    return listener
