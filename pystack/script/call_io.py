"""read, write and their kin. What is written is zero.

Called by: calls.
RFCs: 9293 section 3.9.1; 7413 (MSG_FASTOPEN).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Generator
from typing import Any

from pystack.script.call_connect import finish_connect, learn_port
from pystack.script.call_files import read_file, write_file
from pystack.script.errors import Mismatch, Unsupported
from pystack.script.nodes import Anything, Assign, Call, Expression, Integer, List, String, Struct
from pystack.script.values import check_buffer, constant, integer, integer_or, lengths
from pystack.script.world import Descriptor, Steps, World

MSG_DONTWAIT, MSG_WAITALL, MSG_PEEK, MSG_ERRQUEUE, MSG_FASTOPEN = (
    0x40, 0x100, 2, 0x2000, 0x20000000,
)  # fmt: skip
LARGEST_WRITE = 1 << 28  # bytes
POLLIN, POLLOUT, POLLERR, POLLHUP = 1, 4, 8, 16
CONTROL_ROOM = 512  # bytes for control messages
# Flags that a script does not mean when it says msg_flags=0.
INVISIBLE = 0x40000000  # MSG_CMSG_CLOEXEC


def receive(world: World, one: Descriptor, size: int, flags: int) -> Steps:
    """How many bytes came."""
    sock = one.sock
    all_of_it = flags & MSG_WAITALL and not flags & MSG_PEEK and sock.type == socket.SOCK_STREAM
    done = 0
    may_block = not flags & (MSG_DONTWAIT | MSG_ERRQUEUE)

    def attempt() -> int:
        return len(sock.recv(size - done, flags))

    while True:
        count: int = yield from world.wait(one, attempt, one.receive_timeout, may_block)
        done += count
        more = all_of_it and world.target.emulated and not one.nonblocking
        if not (more and count and done < size and may_block):
            break
        if world.target.ioctl(sock, constant("SIOCATMARK")):
            break
        if not (yield from becomes(world, one, POLLIN, one.receive_timeout)):
            break
    if not flags & MSG_PEEK:
        one.consumed += done
    return done


def becomes(
    world: World, one: Descriptor, event: int, timeout: int
) -> Generator[int | None, None, bool]:
    """Wait within a call that has done a part of its work.

    False: the time is over, or there is an error, which the next call will tell.
    """
    until = world.target.now() + timeout if timeout else None
    while not world.target.ready(one.sock) & (event | POLLERR | POLLHUP):
        if until is not None and world.target.now() >= until:
            return False
        yield until
    return not world.target.ready(one.sock) & POLLERR


def read(world: World, call: Call) -> Steps:
    one = world.descriptor(call.arguments[0])
    size = integer(call.arguments[2])
    check_buffer(call.arguments[1], size)
    flags = integer(call.arguments[3]) if len(call.arguments) > 3 else 0
    if one.kind != "socket":
        return read_file(one, size)
    return (yield from receive(world, one, size, flags))


def readv(world: World, call: Call) -> Steps:
    one = world.descriptor(call.arguments[0], "socket")
    return (yield from receive(world, one, sum(lengths(call.arguments[1])), 0))


def vector(message: Struct) -> int:
    """The bytes of msg_iov."""
    value = message.get("msg_iov")
    return 0 if value is None else sum(lengths(value))


def message_struct(expression: Expression) -> Struct:
    if not isinstance(expression, Struct):
        raise Mismatch("a msghdr is written {msg_name(...)=..., msg_iov(n)=[...], ...}")
    return expression


def recvmsg(world: World, call: Call) -> Steps:
    """Control messages and flags are checked if the script names them."""
    one = world.descriptor(call.arguments[0], "socket")
    message = message_struct(call.arguments[1])
    flags = integer(call.arguments[2])
    size = vector(message)
    may_block = not flags & (MSG_DONTWAIT | MSG_ERRQUEUE)
    control = message.get("msg_control")
    room = CONTROL_ROOM if control is not None else 0

    def attempt() -> Any:
        return one.sock.recvmsg(size, room, flags)

    data, controls, told, _ = yield from world.wait(one, attempt, one.receive_timeout, may_block)
    one.consumed += 0 if flags & MSG_PEEK else len(data)
    expected = message.get("msg_flags")
    if expected is not None and not isinstance(expected, Anything):
        wanted = integer(expected)
        if wanted != told & ~INVISIBLE:
            raise Mismatch("recvmsg has other flags", f"msg_flags={wanted:#x}", f"{told:#x}")
    if control is not None and not isinstance(control, Anything):
        check_controls(control, controls)
    return len(data)


def check_controls(expected: Expression, seen: list[tuple[int, int, bytes]]) -> None:
    if not isinstance(expected, List):
        raise Mismatch("control messages are written [{cmsg_level=L, cmsg_type=T, cmsg_data=D}]")
    if len(expected.items) != len(seen):
        raise Mismatch("the control messages differ", str(len(expected.items)), str(seen))
    for item, (level, kind, data) in zip(expected.items, seen, strict=True):
        if not isinstance(item, Struct):
            raise Mismatch("a control message is written {cmsg_level=L, cmsg_type=T, cmsg_data=D}")
        for name, value in (("cmsg_level", level), ("cmsg_type", kind)):
            field = item.get(name)
            if field is not None and integer(field) != value:
                raise Mismatch(f"{name} differs", str(integer(field)), str(value))
        wanted = item.get("cmsg_data")
        if wanted is None or isinstance(wanted, Anything):
            continue
        if isinstance(wanted, Struct):
            raise Unsupported("control messages with a struct")
        if integer(wanted) != int.from_bytes(data, "little"):
            raise Mismatch("cmsg_data differs", str(integer(wanted)), data.hex())


# Sending.


def transmit(
    world: World,
    one: Descriptor,
    size: int,
    flags: int,
    send: Callable[[int], int],
) -> Steps:
    """How many bytes were taken: of a blocking socket, all."""
    done = 0

    def attempt() -> int:
        return send(size - done)

    may_block = not flags & MSG_DONTWAIT
    while True:
        try:
            count: int = yield from world.wait(one, attempt, one.send_timeout, may_block)
        except OSError:
            if done:
                return done
            raise
        done += count
        if done >= size or not count or not world.target.emulated:
            return done
        if one.nonblocking or not may_block:
            return done
        if not (yield from becomes(world, one, POLLOUT, one.send_timeout)):
            return done


def fast_open(
    world: World, fd: int, one: Descriptor, send: Callable[[], int], size: int, flags: int
) -> Generator[int | None, None, int]:
    """sendto with MSG_FASTOPEN: connect, with data in the SYN if there is a cookie."""
    world.tracker.connecting(fd)
    blocks = world.target.emulated and not one.nonblocking and not flags & MSG_DONTWAIT
    try:
        done = send()
    except OSError as problem:
        learn_port(world, fd, one)
        if problem.errno != errno.EINPROGRESS or not blocks:
            raise
        done = 0
    learn_port(world, fd, one)
    if blocks:
        yield from finish_connect(world, one)
    one.connected = True
    if done < size and blocks:
        rest = transmit(world, one, size - done, flags, lambda n: one.sock.send(bytes(n)))
        done += yield from rest
    return done


def write(world: World, call: Call) -> Steps:
    """write, send, sendto."""
    fd = integer(call.arguments[0])
    one = world.descriptor(call.arguments[0])
    size = integer(call.arguments[2])
    if size > LARGEST_WRITE:
        raise Unsupported(f"{call.name} of {size} bytes")
    check_buffer(call.arguments[1], size)
    flags = integer(call.arguments[3]) if len(call.arguments) > 3 else 0
    if one.kind != "socket":
        return write_file(one, size)
    sock = one.sock
    if len(call.arguments) == 6 and addressed(one, call.arguments[4], flags):
        address = world.address(call.arguments[4], world.remote())
        if sock.type == socket.SOCK_STREAM:

            def open_with() -> int:
                return int(sock.sendto(bytes(size), flags, address))

            if flags & MSG_FASTOPEN:
                return (yield from fast_open(world, fd, one, open_with, size, flags))
            return open_with()
        return (yield from send_datagram(world, fd, one, size, flags, address))
    return (yield from transmit(world, one, size, flags, lambda n: sock.send(bytes(n), flags)))


def addressed(one: Descriptor, address: Expression, flags: int) -> bool:
    """Whether a destination goes with the data: `...` means one only where that is needed."""
    if isinstance(address, Integer):  # NULL
        return False
    if flags & MSG_FASTOPEN:
        return True
    if isinstance(address, Anything):
        return bool(one.sock.type != socket.SOCK_STREAM and not one.connected)
    return True


def send_datagram(
    world: World, fd: int, one: Descriptor, size: int, flags: int, address: tuple[str, int]
) -> Steps:
    world.tracker.connecting(fd)
    count = one.sock.sendto(bytes(size), flags, address)
    learn_port(world, fd, one)
    return int(count)
    yield


def writev(world: World, call: Call) -> Steps:
    one = world.descriptor(call.arguments[0], "socket")
    size = sum(lengths(call.arguments[1]))
    return (yield from transmit(world, one, size, 0, lambda n: one.sock.send(bytes(n))))


def control_messages(expression: Expression | None) -> list[tuple[int, int, bytes]]:
    """What sendmsg is given."""
    if expression is None or isinstance(expression, Anything):
        return []
    if not isinstance(expression, List):
        raise Mismatch("control messages are written [{cmsg_level=L, cmsg_type=T, cmsg_data=D}]")
    found = []
    for item in expression.items:
        if not isinstance(item, Struct):
            raise Mismatch("a control message is written {cmsg_level=L, cmsg_type=T, cmsg_data=D}")
        level, kind, data = (item.get(f"cmsg_{name}") for name in ("level", "type", "data"))
        if level is None or kind is None or data is None:
            raise Mismatch("a control message needs level, type and data")
        if isinstance(data, String):
            value = data.text.encode("latin-1")
        else:
            value = integer(data).to_bytes(4, "little", signed=integer(data) < 0)
        found.append((integer(level), integer(kind), value))
    return found


def has_name(message: Struct) -> Expression | None:
    """The destination of a msghdr; NULL is none."""
    for item in message.items:
        if isinstance(item, Assign) and item.name == "msg_name":
            return item.value
    return None


def sendmsg(world: World, call: Call) -> Steps:
    fd = integer(call.arguments[0])
    one = world.descriptor(call.arguments[0], "socket")
    message = message_struct(call.arguments[1])
    flags = integer_or(call.arguments[2], 0)
    size = vector(message)
    controls = control_messages(message.get("msg_control"))
    name = has_name(message)
    address = None
    if name is not None and addressed(one, name, flags):
        address = world.address(name, world.remote())

    def send(count: int) -> int:
        if address is None:
            return int(one.sock.sendmsg([bytes(count)], controls, flags))
        return int(one.sock.sendmsg([bytes(count)], controls, flags, address))

    if flags & MSG_FASTOPEN:
        return (yield from fast_open(world, fd, one, lambda: send(size), size, flags))
    if address is not None:
        world.tracker.connecting(fd)
        count = send(size)
        learn_port(world, fd, one)
        return count
    return (yield from transmit(world, one, size, flags, send))
