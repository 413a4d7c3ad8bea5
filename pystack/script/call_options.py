"""setsockopt, getsockopt, fcntl, ioctl.

Called by: calls.
RFCs: socket(7), tcp(7), ip(7).
"""

from __future__ import annotations

import errno
import os
import struct

from pystack import sockopt
from pystack.script import tcp_info
from pystack.script.errors import Mismatch, Unsupported
from pystack.script.nodes import Anything, Call, Expression, List, String, Struct, Word
from pystack.script.values import (
    TIMEVAL,
    constant,
    field_value,
    integer,
    integer_or,
    option_bytes,
)
from pystack.script.world import Descriptor, Steps, World

SOL_SOCKET, SO_LINGER, SO_RCVTIMEO, SO_SNDTIMEO = 1, 13, 20, 21
TCP, TCP_INFO = 6, 11
LONGEST_OPTION = 4096
F_GETFD, F_SETFD, F_GETFL, F_SETFL = 1, 2, 3, 4
O_RDWR, O_NONBLOCK = 2, 0o4000
FIONBIO = constant("FIONBIO")
TELLING = [constant(f"SIOC{name}") for name in ("INQ", "OUTQ", "OUTQNSD", "ATMARK")]


def setsockopt(world: World, call: Call) -> Steps:
    one = world.descriptor(call.arguments[0], "socket")
    if is_function_block(call):
        one.functions = function_name(call.arguments[3])
        return 0
    level, option = integer(call.arguments[1]), integer(call.arguments[2])
    length = min(integer_or(call.arguments[4], 4), LONGEST_OPTION)
    value = option_bytes(call.arguments[3], length)
    if isinstance(value, bytes) and (level, option) == (SOL_SOCKET, SO_LINGER):
        one.linger = sockopt.LINGER.unpack(value[:8].ljust(8, b"\0"))
    if world.target.emulated and level == SOL_SOCKET and option in (SO_RCVTIMEO, SO_SNDTIMEO):
        set_timeout(one, option, call.arguments[3])
        return 0
    one.sock.setsockopt(level, option, value)
    return 0
    yield


def set_timeout(one: Descriptor, option: int, value: Expression) -> None:
    """Of blocking calls, which are emulated."""
    if isinstance(value, List) and len(value.items) == 1:
        value = value.items[0]
    if not isinstance(value, Struct):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    timeout = field_value(value, "tv_sec") * 10**9 + field_value(value, "tv_usec") * 1000
    if option == SO_RCVTIMEO:
        one.receive_timeout = timeout
    else:
        one.send_timeout = timeout


def getsockopt(world: World, call: Call) -> Steps:
    """Value and length are checked."""
    one = world.descriptor(call.arguments[0], "socket")
    if is_function_block(call):
        name = function_name(call.arguments[3])
        if name != one.functions:
            raise Mismatch("getsockopt gives another string", repr(name), repr(one.functions))
        return 0
    level, option = integer(call.arguments[1]), integer(call.arguments[2])
    expected, length = call.arguments[3], call.arguments[4]
    room = integer_or(length, LONGEST_OPTION) if not isinstance(length, Anything) else 0
    if isinstance(length, List):
        room = integer(length)
    if not 0 <= room <= LONGEST_OPTION:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    if world.target.emulated and level == SOL_SOCKET and option in (SO_RCVTIMEO, SO_SNDTIMEO):
        timeout = one.receive_timeout if option == SO_RCVTIMEO else one.send_timeout
        seen = TIMEVAL.pack(timeout // 10**9, timeout % 10**9 // 1000)
    else:
        asked = room or default_room(expected)
        seen = one.sock.getsockopt(level, option, asked)
    check_value(level, option, expected, seen)
    if isinstance(length, List) and not isinstance(length.items[0], Anything):
        written = integer(length)
        if written != len(seen) and not isinstance(expected, String):
            raise Mismatch("getsockopt gives another length", f"[{written}]", f"[{len(seen)}]")
    return 0
    yield


def is_function_block(call: Call) -> bool:
    """FreeBSD's choice between TCPs in one kernel: a stack has one, by whatever name."""
    return call.arguments[2] == Word("TCP_FUNCTION_BLK")


def function_name(value: Expression) -> str:
    if isinstance(value, List) and len(value.items) == 1:
        value = value.items[0]
    name = value.get("function_set_name") if isinstance(value, Struct) else None
    return name.text if isinstance(name, String) else "freebsd"


def default_room(expected: Expression) -> int:
    return 16 if isinstance(expected, String) else 4


def check_value(level: int, option: int, expected: Expression, seen: bytes) -> None:
    """The option's value against what the script says."""
    if isinstance(expected, List) and len(expected.items) == 1:
        expected = expected.items[0]
    if isinstance(expected, Anything):
        return
    if isinstance(expected, String):
        text = seen.split(b"\0")[0].decode("latin-1")
        if text != expected.text:
            raise Mismatch("getsockopt gives another string", repr(expected.text), repr(text))
    elif isinstance(expected, Struct):
        check_struct(level, option, expected, seen)
    elif isinstance(expected, List):
        values = list(struct.unpack(f"={len(seen) // 4}I", seen[: len(seen) // 4 * 4]))
        wanted = [integer(item) & 0xFFFFFFFF for item in expected.items]
        if values != wanted:
            raise Mismatch("getsockopt gives other values", str(wanted), str(values))
    else:
        number = int.from_bytes(seen, "little", signed=True)
        if number != integer(expected):
            raise Mismatch(
                "getsockopt gives another value", f"[{integer(expected)}]", f"[{number}]"
            )


def check_struct(level: int, option: int, expected: Struct, seen: bytes) -> None:
    if (level, option) == (TCP, TCP_INFO):
        fields = tcp_info.unpack(seen)
    elif (level, option) == (SOL_SOCKET, SO_LINGER):
        on, seconds = sockopt.LINGER.unpack(seen[:8].ljust(8, b"\0"))
        fields = {"onoff": on, "linger": seconds, "l_onoff": on, "l_linger": seconds}
    elif level == SOL_SOCKET and option in (SO_RCVTIMEO, SO_SNDTIMEO):
        whole, part = TIMEVAL.unpack(seen[:16].ljust(16, b"\0"))
        fields = {"tv_sec": whole, "tv_usec": part}
    else:
        raise Unsupported("getsockopt with such a struct")
    for item in expected.items:
        name = getattr(item, "name", "")
        value = expected.get(name)
        if value is None or isinstance(value, Anything):
            continue
        if name not in fields:
            raise Unsupported(f"the field {name} of a socket option")
        if fields[name] != struct_number(value):
            raise Mismatch(f"{name} differs", str(struct_number(value)), str(fields[name]))


def struct_number(value: Expression) -> int:
    name = getattr(value, "name", "")
    return tcp_info.CONSTANTS[name] if name in tcp_info.CONSTANTS else integer(value)


def fcntl_call(world: World, call: Call) -> Steps:
    one = world.descriptor(call.arguments[0])
    command = integer(call.arguments[1])
    argument = integer_or(call.arguments[2], 0) if len(call.arguments) > 2 else 0
    if one.kind != "socket":
        return 0
    if command == F_GETFL:
        return O_RDWR | (O_NONBLOCK if one.nonblocking else 0)
    if command == F_SETFL:
        set_nonblocking(world, one, bool(argument & O_NONBLOCK))
        return 0
    if command in (F_GETFD, F_SETFD):
        return 0
    raise Unsupported("this fcntl command")
    yield


def set_nonblocking(world: World, one: Descriptor, on: bool) -> None:
    one.nonblocking = on
    if not world.target.emulated:
        one.sock.setblocking(not on)


def ioctl(world: World, call: Call) -> Steps:
    one = world.descriptor(call.arguments[0], "socket")
    request = integer(call.arguments[1])
    expected = call.arguments[2]
    if request == FIONBIO:
        set_nonblocking(world, one, bool(integer(expected)))
        return 0
    if request not in TELLING:
        raise Unsupported(f"ioctl {request:#x}")
    value = world.target.ioctl(one.sock, request)
    if not isinstance(expected, Anything) and integer(expected) != value:
        raise Mismatch("ioctl gives another value", f"[{integer(expected)}]", f"[{value}]")
    return 0
    yield
