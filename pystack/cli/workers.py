"""Processes that share the work of a command, and end with it.

Called by: sim.
RFCs: none.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from types import TracebackType
from typing import ParamSpec, TypeVar

from pystack.cli.signals import STOPPING, Stop, held

P = ParamSpec("P")
T = TypeVar("T")


class Workers(ProcessPoolExecutor):
    """When the command is asked to stop, they end in the middle of what they do."""

    def __init__(self, number: int) -> None:
        super().__init__(number, initializer=leave_signals_to_parent)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        with held():  # with the first one the processes begin, as copies of this one
            return super().submit(fn, *args, **kwargs)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if kind is Stop:
            for worker in multiprocessing.active_children():
                worker.terminate()
        return super().__exit__(kind, problem, traceback)


def leave_signals_to_parent() -> None:
    """In a worker: a terminal's Ctrl-C is for the parent, who then ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
