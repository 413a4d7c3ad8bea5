"""System calls of scripts: which function each is, and whether its result is the expected one.

Called by: the runner.
RFCs: none.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable

from pystack.script import call_connect, call_files, call_io, call_options, call_poll
from pystack.script.errors import Mismatch, Unsupported
from pystack.script.nodes import Anything, Call, Expression, Function, Integer, Word
from pystack.script.values import constant, integer, integer_or
from pystack.script.wire import ICMP, TCP, UDP
from pystack.script.world import Descriptor, Steps, World

NONBLOCK = constant("SOCK_NONBLOCK")
TYPE_FLAGS = NONBLOCK | constant("SOCK_CLOEXEC")


def new_socket(world: World, call: Call) -> Steps:
    domain, kind, protocol = call.arguments
    family = integer_or(domain, world.family)
    number = integer(kind)
    sort = number & ~TYPE_FLAGS
    wanted = integer_or(protocol, 0)
    sock = world.target.socket(family, sort, wanted)
    sock.setblocking(not (number & NONBLOCK or world.target.emulated))
    fd = new_descriptor(
        world, call, Descriptor("socket", sock, nonblocking=bool(number & NONBLOCK))
    )
    if sort == socket.SOCK_STREAM:
        world.tracker.opened(fd, TCP)
    else:
        world.tracker.opened(fd, UDP if wanted in (0, UDP) else ICMP)
    return fd
    yield


def new_descriptor(world: World, call: Call, descriptor: Descriptor) -> int:
    """Give it the number that the script gives it."""
    fd = call.result.value if isinstance(call.result, Integer) else -1
    if fd < 0:
        if descriptor.sock is not None:
            descriptor.sock.close()
        raise Mismatch(
            f"{call.name} succeeds", f"= {fd}{' ' + call.errno if call.errno else ''}", "= an fd"
        )
    world.add_descriptor(fd, descriptor)
    return fd


def bind(world: World, call: Call) -> Steps:
    one = world.descriptor(call.arguments[0], "socket")
    one.sock.bind(world.address(call.arguments[1], world.local()))
    world.tracker.bound(integer(call.arguments[0]), one.sock.getsockname()[1])
    return 0
    yield


def listen(world: World, call: Call) -> Steps:
    one = world.descriptor(call.arguments[0], "socket")
    one.sock.listen(integer(call.arguments[1]))
    world.tracker.listening(integer(call.arguments[0]))
    return 0
    yield


def accept(world: World, call: Call) -> Steps:
    listener = world.descriptor(call.arguments[0], "socket")
    flags = integer(call.arguments[3]) if call.name == "accept4" else 0
    sock, peer = yield from world.wait(listener, listener.sock.accept, listener.receive_timeout)
    sock.setblocking(not (flags & NONBLOCK or world.target.emulated))
    child = Descriptor("socket", sock, nonblocking=bool(flags & NONBLOCK), connected=True)
    fd = new_descriptor(world, call, child)
    world.tracker.accepted(fd, peer[1])
    return fd


def shutdown(world: World, call: Call) -> Steps:
    world.descriptor(call.arguments[0], "socket").sock.shutdown(integer(call.arguments[1]))
    return 0
    yield


def close(world: World, call: Call) -> Steps:
    fd = integer(call.arguments[0])
    one = world.descriptor(call.arguments[0])
    on, seconds = one.linger
    if one.kind == "socket" and on and seconds and world.target.emulated and not one.nonblocking:
        yield from linger(world, one, seconds)
    del world.descriptors[fd]
    close_descriptor(one)
    return 0


def linger(world: World, one: Descriptor, seconds: int) -> Steps:
    """close waits until the peer has everything (socket(7))."""
    try:
        one.sock.shutdown(socket.SHUT_WR)
    except OSError:
        return 0
    until = world.target.now() + seconds * 10**9
    while world.target.now() < until and one.sock.queued()[1]:
        yield until
    return 0


def close_descriptor(one: Descriptor) -> None:
    if one.sock is not None:
        one.sock.close()
    if one.epoll is not None:
        one.epoll.close()
    if one.fd >= 0:
        os.close(one.fd)


def name_of(world: World, call: Call) -> Steps:
    """getsockname, getpeername: that there is a name."""
    one = world.descriptor(call.arguments[0], "socket")
    getattr(one.sock, call.name)()
    return 0
    yield


Function_ = Callable[[World, Call], Steps]
CALLS: dict[str, tuple[int, int, Function_]] = {
    # name: least and most arguments, function
    "socket": (3, 3, new_socket),
    "bind": (3, 3, bind),
    "listen": (2, 2, listen),
    "accept": (3, 3, accept),
    "accept4": (4, 4, accept),
    "connect": (3, 3, call_connect.connect),
    "shutdown": (2, 2, shutdown),
    "close": (1, 1, close),
    "getsockname": (3, 3, name_of),
    "getpeername": (3, 3, name_of),
    "read": (3, 3, call_io.read),
    "recv": (4, 4, call_io.read),
    "recvfrom": (6, 6, call_io.read),
    "readv": (3, 3, call_io.readv),
    "recvmsg": (3, 3, call_io.recvmsg),
    "write": (3, 3, call_io.write),
    "send": (4, 4, call_io.write),
    "sendto": (6, 6, call_io.write),
    "writev": (3, 3, call_io.writev),
    "sendmsg": (3, 3, call_io.sendmsg),
    "getsockopt": (5, 5, call_options.getsockopt),
    "setsockopt": (5, 5, call_options.setsockopt),
    "fcntl": (2, 3, call_options.fcntl_call),
    "ioctl": (3, 3, call_options.ioctl),
    "poll": (3, 3, call_poll.poll),
    "epoll_create": (1, 1, call_poll.epoll_create),
    "epoll_create1": (1, 1, call_poll.epoll_create),
    "epoll_ctl": (4, 4, call_poll.epoll_ctl),
    "epoll_wait": (4, 4, call_poll.epoll_wait),
    "pipe": (1, 1, call_files.pipe),
    "open": (2, 3, call_files.open_file),
    "splice": (6, 6, call_files.splice),
    "sendfile": (4, 4, call_files.sendfile),
}
GIVES_FD = ("socket", "accept", "accept4", "epoll_create", "epoll_create1", "open")


def check_known(call: Call) -> None:
    """Unsupported or Mismatch for a call that cannot be made."""
    if call.name not in CALLS:
        raise Unsupported(f"the system call {call.name}")
    least, most, _ = CALLS[call.name]
    if not least <= len(call.arguments) <= most:
        count = f"{least}" if least == most else f"{least} to {most}"
        raise Mismatch(f"{call.name} has {count} arguments, not {len(call.arguments)}")


def run_call(world: World, call: Call) -> Steps:
    """Make a call; Mismatch if it does not go as the script says."""
    number = 0
    try:
        value = yield from CALLS[call.name][2](world, call)
    except OSError as problem:
        if problem.errno is None:
            raise
        value, number = -1, problem.errno
    except (OverflowError, MemoryError, struct.error) as problem:
        raise Unsupported(f"{call.name} with a number that is too large") from problem
    if value < 0 and number == errno.ENOPROTOOPT and world.target.emulated:
        check_option(call)
    verify(call, value, number)
    return value


def check_option(call: Call) -> None:
    """An option that is to work and that the stack lacks is Unsupported."""
    if call.name in ("setsockopt", "getsockopt") and call.result == Integer(0):
        option = call.arguments[2]
        name = option.name if isinstance(option, Word) else str(integer(option))
        raise Unsupported(f"the socket option {name}")


def verify(call: Call, value: int, number: int) -> None:
    """Result and errno against the script's."""
    if isinstance(call.result, Anything):
        return
    expected = result_value(call.result)
    right = value == expected
    if call.name in GIVES_FD and expected >= 0:
        right = value >= 0
    if right and call.errno is not None:
        right = number == constant(call.errno)
    if not right:
        written = f"= {expected}{' ' + call.errno if call.errno else ''}"
        name = errno.errorcode.get(number, str(number)) if number else ""
        raise Mismatch(f"{call.name} returns something else", written, f"= {value} {name}".strip())


def result_value(expression: Expression) -> int:
    if isinstance(expression, Function):
        raise Mismatch("a result is a number")
    return integer(expression)
