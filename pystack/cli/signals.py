"""SIGINT and SIGTERM: noted at once, acted upon only where a command may be interrupted.

A command that starts or ends is never cut off in the middle of a step: it looks between steps.
Called by: main, the commands.
RFCs: none.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)

asked_by = 0  # the first signal that asked us to stop, 0 if none did
_pending = False  # and nobody has acted upon it yet
_interruptible = False


class Stop(BaseException):
    """Somebody asked us to stop."""


def install() -> None:
    """Note SIGTERM and SIGINT, the latter also where a script's `&` has left it ignored."""
    signal.signal(signal.SIGTERM, _note)
    signal.signal(signal.SIGINT, _note)


def _note(number: int, frame: FrameType | None) -> None:
    global asked_by, _pending
    if asked_by:  # what ends now is not interrupted again
        return
    asked_by = number
    _pending = True
    if _interruptible:
        check()


def check() -> None:
    """Raise Stop if somebody asked for it, once."""
    global _pending
    if _pending:
        _pending = False
        raise Stop


@contextmanager
def held() -> Iterator[None]:
    """Within it signals wait; processes that begin there begin so, too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it, Stop is raised wherever the main thread is."""
    global _interruptible
    _interruptible = True
    try:
        check()
        yield
    finally:
        _interruptible = False


def sleep(seconds: float) -> None:
    """Sleep; Stop ends it."""
    with interruptible():
        time.sleep(seconds)
