"""Calls that really block, and what Python's sockets cannot say.

Called by: kernel, call_connect.
RFCs: none.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

from pystack.script.errors import Mismatch, Unsupported
from pystack.script.pending import Pending
from pystack.script.world import Steps

LONGEST_CALL = 10  # seconds of a call that the script does not say to block


class Stuck(Exception):
    """A call blocks for ever."""


def on_alarm(number: int, frame: FrameType | None) -> None:
    raise Stuck


def exhaust(steps: Steps) -> Mismatch | Unsupported | None:
    """Make the call, however long that takes; what is wrong with it, if anything."""
    try:
        for _ in steps:
            raise RuntimeError("a call of the kernel's is emulated")
    except (Mismatch, Unsupported) as problem:
        return problem
    return None


class InlineCall(Pending):
    """A call that returns by itself, in the script's own thread."""

    def begin(self) -> None:
        previous = signal.signal(signal.SIGALRM, on_alarm)
        signal.setitimer(signal.ITIMER_REAL, LONGEST_CALL)
        try:
            self.problem = exhaust(self.steps)
        except Stuck:
            self.problem = Mismatch("the call blocks for ever")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
        self.ended = self.world.target.now()
        self.done = True

    def try_again(self) -> bool:
        return self.done

    def abandon(self) -> None:
        return


class ThreadCall(Pending):
    """A call that blocks, in a thread of its own, which tells by a pipe when it returns."""

    def __init__(self, *arguments: Any, wake_fd: int) -> None:
        super().__init__(*arguments)
        self._wake_fd = wake_fd
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        try:
            self.problem = exhaust(self.steps)
        except Exception as problem:
            self.problem = Mismatch(f"{type(problem).__name__}: {problem}")
        self.ended = self.world.target.now()
        self.done = True
        with suppress(OSError):
            os.write(self._wake_fd, b"!")

    def try_again(self) -> bool:
        return self.done

    def abandon(self) -> None:
        """Wake the thread by ending what it may wait for."""
        for one in self.world.descriptors.values():
            if one.sock is not None:
                with suppress(OSError):
                    one.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(0.2)


def connect_unspecified(sock: socket.socket) -> None:
    """connect to AF_UNSPEC: forget the peer."""
    libc = ctypes.CDLL(None, use_errno=True)
    address = struct.pack("=H14x", socket.AF_UNSPEC)
    if libc.connect(sock.fileno(), address, len(address)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
