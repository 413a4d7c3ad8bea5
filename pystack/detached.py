"""Detached: descriptors that Socket.detach has given away carry the data of their connections.

Called by: socket (gives away, takes back), stack (turns, ends).
RFCs: none; socket(7), unix(7).

The descriptor is an end of a pair of AF_UNIX sockets. What the connection has received is shown to
the other end first and taken from the connection only once it was read there: so it can be given
back, the peer's window closes, and a descriptor that is closed with unread data resets.
"""

from __future__ import annotations

import _socket
import array
import atexit
import errno
import os
import select
import socket
import sys
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from pystack.engine.tcp import TcpHandle
from pystack.shown import place_of

if TYPE_CHECKING:
    from pystack.shown import Handle
    from pystack.stack import Stack

PIECE = 1 << 16  # bytes; no datagram is longer
PIECES = 16  # from a descriptor, before it is the others' turn
ROOM = 1 << 18  # SO_SNDBUF of what is written to the descriptor
SOL_SOCKET, SO_SNDBUF, SO_PEEK_OFF, SO_SNDBUFFORCE = 1, 7, 42, 32  # by Linux's numbers

NOW = getattr(socket, "MSG_DONTWAIT", 0) | getattr(socket, "MSG_NOSIGNAL", 0)
PEEK = socket.MSG_PEEK


def carrier_of(stack: Stack) -> Carrier:
    """Who carries the data of a stack's detached sockets; OSError where that cannot be."""
    if stack.carrier is None:
        if sys.platform != "linux":
            raise refused("on this system a stack's socket cannot be detached")
        if stack.driver == "virtual":
            raise refused("in virtual time a socket cannot be detached: descriptors are not in it")
        stack.carrier = Carrier(threaded=stack.device is not None)
    return stack.carrier


def refused(text: str) -> OSError:
    return OSError(errno.EOPNOTSUPP, f"pystack: {text}")


class Carried:
    """One connection between its stack and its descriptors."""

    def __init__(self, handle: Handle, number: int) -> None:
        """number: of the descriptor that is given away; -1: there are only others."""
        self.handle = handle
        self.place: tuple[int, int] = handle.shown.place
        self.number = number  # perhaps another's since
        self.stream = isinstance(handle, TcpHandle)
        outer, inner = handle.take_bell()
        self.inner = _socket.socket(fileno=inner)
        with_it = _socket.socket(fileno=outer)
        with_it.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
        with_it.detach()
        try:
            self.bell = handle.fileno()
        except OSError:
            handle.give_bell(outer, self.inner.detach())
            raise
        if outer != number:
            os.close(outer)
        self.peek_at = handle.getsockopt(SOL_SOCKET, SO_PEEK_OFF)
        handle.setsockopt(SOL_SOCKET, SO_PEEK_OFF, -1)
        self.lent: int | None = None  # bytes that were shown to the descriptor, not yet taken
        self.unsent = b""  # of what was written to the descriptor
        self.said_end = False  # to the descriptor
        self.heard_end = False  # from it
        self.unread = False  # it was closed with data in it

    def is_closed(self) -> bool:
        """Whether all duplicates of the descriptor are."""
        looking = select.poll()
        looking.register(self.inner, 0)
        return any(events & select.POLLHUP for _, events in looking.poll(0))

    def is_read(self) -> bool:
        """Whether all that was shown to the descriptor was read there, or lost with it."""
        import fcntl
        import termios

        left = array.array("i", [0])
        fcntl.ioctl(self.inner, termios.TIOCOUTQ, left)
        # Linux counts memory, hundreds of bytes for one, and tells that there is room while it
        # still counts 1: the edge must not be lost.
        return left[0] <= 1

    # From the connection.

    def inward(self) -> bool:
        """Whether there may be more at once. OSError: the connection has failed."""
        for _ in range(PIECES):
            if self.said_end:
                return False
            if self.lent is not None:
                if not self.is_read() or self.is_closed():  # in this order
                    return False
                self.take(self.lent)
            if not self.show():
                return False
        return True

    def show(self) -> bool:
        """Show the descriptor what comes next; False: nothing does now, or ever."""
        try:
            data = self.handle.recv(PIECE, PEEK, 0.0)
        except BlockingIOError:
            return False
        except OSError as problem:
            if problem.errno == errno.ENOTCONN:
                self.tell_listener()
                return False
            if self.stream or problem.errno in (errno.EBADF, errno.ENETDOWN):
                raise
            return True  # what an earlier datagram met: the next call is free of it
        try:
            if data or not self.stream:
                self.lent = self.inner.send(data, NOW)
                return True
            self.inner.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return False
        except ConnectionError:
            if not self.is_closed():
                self.handle.shutdown(socket.SHUT_RD)
        self.said_end = True
        return False

    def take(self, count: int) -> None:
        """Take from the connection what was read of the descriptor."""
        self.lent = None
        if not self.stream:
            self.handle.recv(PIECE, 0, 0.0)
            return
        while count > 0 and (got := self.handle.recv(count, 0, 0.0)):
            count -= len(got)

    def tell_listener(self) -> None:
        """That somebody waits to be accepted, by a byte that nobody can want to read."""
        if self.handle.poll() & 1 and self.is_read():
            with suppress(OSError):
                self.inner.send(b"\0", NOW)

    # To the connection.

    def outward(self) -> bool:
        """Whether there may be more at once."""
        for _ in range(PIECES):
            if not self.unsent and not self.hear():
                return False
            if self.unsent and not self.pass_on():
                return False
        return True

    def pass_on(self) -> bool:
        try:
            count = self.handle.send(self.unsent, 0, 0.0)
        except BlockingIOError:
            return False
        except OSError:
            if self.stream:
                raise
            count = len(self.unsent)  # lost, as datagrams are
        self.unsent = self.unsent[count:]
        return True

    def hear(self) -> bool:
        """Read what was written to the descriptor; False: nothing, for now or for ever."""
        if self.heard_end:
            return False
        try:
            self.unsent = self.inner.recv(PIECE, NOW)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            self.unread = True
            return True
        if self.unsent:
            return True
        if self.stream or self.is_closed():
            self.heard_end = True
            if not self.is_closed():
                self.handle.shutdown(socket.SHUT_WR)
            return False
        with suppress(OSError):  # an empty datagram
            self.handle.send(b"", 0, 0.0)
        return True

    @property
    def is_over(self) -> bool:
        return self.heard_end and not self.unsent and self.is_closed()

    # The end.

    def finish(self) -> None:
        """Close the connection, as its descriptor was: with data that was not read, or without."""
        self.unread |= bool(self.inner.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        if self.lent is not None and not self.unread:
            with suppress(OSError):
                self.take(self.lent)
        self.inner.close()
        self.handle.close(0.0)

    def fail(self) -> None:
        """Tell the descriptor that the connection is gone.

        A pair whose end is closed with data in it resets the other; to put some there takes that
        other, which can be had by its number if that is still its.
        """
        with suppress(OSError):
            if place_of(self.number) == self.place:
                self.spoil(os.dup(self.number))
        self.inner.close()
        self.handle.close(0.0)

    def spoil(self, duplicate: int) -> None:
        outer = _socket.socket(socket.AF_UNIX, self.inner.type, 0, duplicate)
        if place_of(duplicate) == self.place:
            with suppress(OSError):
                outer.send(b"\0", NOW)
        outer.close()

    def give_back(self, number: int) -> None:
        """Let the connection be a socket's again; number: of the descriptor that it has."""
        outer = _socket.socket(socket.AF_UNIX, self.inner.type, 0, number)
        left, pieces = drained(outer)
        outer.detach()
        with suppress(OSError):  # the socket will hear of it
            if self.lent is not None and (self.stream or not pieces):
                self.take(self.lent - left)
            self.flush()
        self.handle.give_bell(number, self.inner.detach())
        self.handle.setsockopt(SOL_SOCKET, SO_PEEK_OFF, self.peek_at)

    def flush(self) -> None:
        """Send what was written to the descriptor, though the buffer be full: nobody can wait."""
        room = self.handle.getsockopt(SOL_SOCKET, SO_SNDBUF)
        larger = False
        while self.unsent or self.hear():
            if self.pass_on():
                continue
            if larger:
                break
            larger = True
            self.handle.setsockopt(SOL_SOCKET, SO_SNDBUFFORCE, room // 2 + PIECE + ROOM)
        if larger:
            self.handle.setsockopt(SOL_SOCKET, SO_SNDBUFFORCE, room // 2)


def drained(sock: _socket.socket) -> tuple[int, int]:
    """How many bytes, and how many times some, were in a socket; they are lost."""
    count = pieces = 0
    with suppress(OSError):
        while data := sock.recv(PIECE, NOW):
            count += len(data)
            pieces += 1
    return count, pieces


class Carrier:
    """The detached sockets of one stack, in a thread that lives as long as there are some.

    A stack without a device is turned by its caller, and this with it.
    """

    def __init__(self, *, threaded: bool) -> None:
        self.threaded = threaded
        self.lock = threading.RLock()
        self.epoll = select.epoll()
        self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.epoll.register(self.wake, select.EPOLLIN)
        self.thread: threading.Thread | None = None
        self.carried: dict[tuple[int, int], Carried] = {}  # by their places
        self.watched: dict[int, Carried] = {}  # by the descriptors that tell of them
        self.again: set[Carried] = set()
        self.ended = False
        carriers.add(self)

    def __del__(self) -> None:
        self.close()

    # What sockets ask for.

    def carry(self, handle: Handle, number: int = -1) -> None:
        """Take over a connection whose last socket goes."""
        with self.lock:
            if self.ended:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            one = Carried(handle, number)
            self.carried[one.place] = one
            for fd in (one.inner.fileno(), one.bell):
                self.watched[fd] = one
                self.epoll.register(fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
            self.step(one)
            if self.threaded and self.carried and self.thread is None:
                self.thread = threading.Thread(
                    target=self.run, name="pystack detached", daemon=True
                )
                self.thread.start()

    def has(self, handle: Handle) -> bool:
        """Whether a connection still has descriptors that no socket has."""
        with self.lock:
            one = self.carried.get(handle.shown.place)
            return one is not None and one.handle is handle and not one.is_closed()

    def give_back(self, handle: Handle, number: int) -> None:
        """Let a socket have the connection of its descriptor."""
        with self.lock:
            if not self.has(handle):
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            one = self.carried[handle.shown.place]
            self.drop(one)
            one.give_back(number)

    # What it does.

    def run(self) -> None:
        """The thread."""
        while True:
            events = self.epoll.poll(0 if self.again else None)
            with self.lock:
                self.heed(events)
                if self.ended or not self.carried:
                    self.thread = None
                    return

    def turn(self) -> None:
        """Do what is to be done; of a stack that its caller turns."""
        with self.lock:
            while not self.ended and ((events := self.epoll.poll(0)) or self.again):
                self.heed(events)

    def heed(self, events: list[tuple[int, int]]) -> None:
        concerned = dict.fromkeys(self.again)
        self.again.clear()
        for fd, _ in events:
            if fd == self.wake:
                os.eventfd_read(fd)
            elif fd in self.watched:
                concerned[self.watched[fd]] = None
        for one in concerned:
            if self.carried.get(one.place) is one:  # still
                self.step(one)

    def step(self, one: Carried) -> None:
        """All of a connection that can be done now."""
        try:
            if one.inward() | one.outward():
                self.again.add(one)
        except OSError:
            self.drop(one)
            one.fail()
        else:
            if one.is_over:
                self.drop(one)
                one.finish()

    def drop(self, one: Carried) -> None:
        for fd in (one.inner.fileno(), one.bell):
            self.epoll.unregister(fd)
            del self.watched[fd]
        del self.carried[one.place]
        self.again.discard(one)
        if not self.carried:
            self.rouse()

    def rouse(self) -> None:
        if self.thread is not None and self.thread is not threading.current_thread():
            os.eventfd_write(self.wake, 1)

    # Its end.

    def end(self) -> None:
        """With the stack, or the interpreter."""
        with self.lock:
            self.ended = True
            for one in list(self.carried.values()):
                self.drop(one)
                one.fail()
            thread = self.thread
            self.rouse()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
            self.thread = None
        if self.thread is None:
            self.close()

    def close(self) -> None:
        self.epoll.close()
        if self.wake >= 0:
            os.close(self.wake)
        self.wake = -1

    def forget(self) -> None:
        """In a forked child: the connections are the parent's; their descriptors work."""
        self.lock = threading.RLock()
        self.ended, self.thread = True, None
        for one in self.carried.values():
            one.inner.close()
        self.carried.clear()
        self.watched.clear()


carriers: weakref.WeakSet[Carrier] = weakref.WeakSet()


def end_all() -> None:
    """Before the interpreter ends the stacks: its thread would stay in a call of theirs."""
    for one in list(carriers):
        one.end()


def forget_all() -> None:
    for one in list(carriers):
        one.forget()


atexit.register(end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_all)
