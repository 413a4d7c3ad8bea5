"""listen_any on an event loop: a decision for each new flow that no socket of a stack waits for.

Called by: applications.
RFCs: none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from pystack import doorman
from pystack.aio.attachment import attach
from pystack.doorman import DEFAULT_LIMIT, AnyListener, FlowRequest
from pystack.engine.watch import READ

if TYPE_CHECKING:
    from pystack.stack import Stack

Decide = Callable[[FlowRequest], Any]


class AsyncAnyListener(AnyListener):
    """Calls back in the event loop; what a callback returns to be awaited becomes a task."""

    def __init__(self, stack: Stack, decide: Decide, *, tcp: bool, udp: bool, limit: int) -> None:
        super().__init__(stack, tcp=tcp, udp=udp, limit=limit)
        self._decide_one = decide
        self._tasks: set[asyncio.Task[Any]] = set()
        self._attachment = attach(stack)
        self._watch = self._attachment.watch(self.handle, self._ready)
        self._watch.arm(READ)

    def _ready(self, _: int) -> None:
        """All that wait now, each as if it were alone."""
        while not self.closed:
            try:
                asked = self.handle.take(0.0)
            except BlockingIOError:
                self._watch.arm(READ)
                return
            except OSError:
                return  # it, or its stack, was closed
            self._ask(FlowRequest(self.stack, asked))

    def _ask(self, request: FlowRequest) -> None:
        try:
            made = self._decide_one(request)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as problem:
            self._failed(request, problem)
            return
        if isinstance(made, Coroutine):
            task = self._attachment.loop.create_task(made)
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._ended(request, done))

    def _ended(self, request: FlowRequest, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failed(request, task.exception())

    def _failed(self, request: FlowRequest, problem: BaseException | None) -> None:
        self._attachment.loop.call_exception_handler(
            {"message": f"pystack: deciding about {request!r} failed", "exception": problem}
        )
        request.give_up()

    def close(self) -> None:
        """Nobody is asked any more; who waits is dropped. Sockets and tasks live on."""
        self._watch.forget()
        super().close()


def listen_any(
    stack: Stack,
    on_tcp: Decide | None = None,
    on_udp: Decide | None = None,
    *,
    limit: int = DEFAULT_LIMIT,
) -> AnyListener:
    """As Stack.listen_any, on the running event loop; callbacks may be coroutine functions.

    What request.accept() returns is for `sock=` of create_connection, open_connection and
    create_datagram_endpoint.
    """
    if on_tcp is None and on_udp is None:
        raise ValueError("listen_any on an event loop needs a callback")
    decide = doorman.by_protocol(on_tcp, on_udp)
    return AsyncAnyListener(
        stack, decide, tcp=on_tcp is not None, udp=on_udp is not None, limit=limit
    )
