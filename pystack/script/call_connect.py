"""connect, and what else begins a handshake.

Called by: calls, call_io (MSG_FASTOPEN).
RFCs: 9293 section 3.10.1.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Generator

from pystack.script.nodes import Call
from pystack.script.values import integer
from pystack.script.world import Descriptor, Steps, World

POLLOUT, POLLERR, POLLHUP = 4, 8, 16


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def connect(world: World, call: Call) -> Steps:
    fd = integer(call.arguments[0])
    one = world.descriptor(call.arguments[0], "socket")
    if world.is_unspecified(call.arguments[1]):
        disconnect(one)
        world.tracker.disconnected(fd)
        return 0
    world.tracker.connecting(fd)
    address = world.address(call.arguments[1], world.remote())
    code = one.sock.connect_ex(address)
    learn_port(world, fd, one)
    if code == errno.EINPROGRESS and world.target.emulated and not one.nonblocking:
        yield from handshake_over(world, one)
        code = one.sock.connect_ex(address)  # how it has ended
    if code:
        raise error(code)
    one.connected = True
    return 0


def disconnect(one: Descriptor) -> None:
    """connect to AF_UNSPEC, which Python's sockets cannot say."""
    call = getattr(one.sock, "disconnect", None)
    if call is not None:
        call()
    else:
        from pystack.script.kernel_calls import connect_unspecified

        connect_unspecified(one.sock)
    one.connected = False


def learn_port(world: World, fd: int, one: Descriptor) -> None:
    """The port that the system has chosen."""
    connection = world.tracker.of_fd(fd)
    if connection is not None and connection.local_port is None:
        try:
            connection.local_port = one.sock.getsockname()[1] or None
        except OSError:
            return


def finish_connect(world: World, one: Descriptor) -> Steps:
    """Wait for the end of a handshake that data has begun."""
    yield from handshake_over(world, one)
    code = one.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if not code:
        code = one.sock.connect_ex(one.sock.getpeername())  # that it has ended is known now
    if code:
        raise error(code)
    return 0


def handshake_over(world: World, one: Descriptor) -> Generator[int | None, None, None]:
    """Wait for that; EINPROGRESS after SO_SNDTIMEO."""
    until = world.target.now() + one.send_timeout if one.send_timeout else None
    while not world.target.ready(one.sock) & (POLLOUT | POLLERR | POLLHUP):
        if until is not None and world.target.now() >= until:
            raise error(errno.EINPROGRESS)
        yield until
