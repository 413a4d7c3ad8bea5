"""pipe, open, splice, sendfile: files that are no sockets. All that they hold is zero.

Called by: calls, call_io.
RFCs: none.
"""

from __future__ import annotations

import errno
import os
import stat

from pystack.script.errors import Mismatch, Unsupported
from pystack.script.nodes import Call, Integer, List, String
from pystack.script.values import integer, integer_or
from pystack.script.world import Descriptor, Steps, World

PIPE_SIZE = 65536
WRITING = 1 | 2 | 0o100 | 0o1000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC
SPLICE_F_NONBLOCK = 2


def pipe(world: World, call: Call) -> Steps:
    """Both ends share their bytes."""
    ends = call.arguments[0]
    if not isinstance(ends, List) or len(ends.items) != 2:
        raise Mismatch("pipe takes [reading end, writing end]")
    shared = bytearray()
    for end in ends.items:
        world.add_descriptor(integer(end), Descriptor("pipe", pipe=shared))
    return 0
    yield


def open_file(world: World, call: Call) -> Steps:
    """Only to read: a script changes nothing on the machine."""
    from pystack.script.calls import new_descriptor

    path = call.arguments[0]
    if not isinstance(path, String):
        raise Mismatch("open takes a path")
    flags = integer(call.arguments[1])
    if flags & (WRITING):
        raise Unsupported("open for writing")
    fd = os.open(path.text, os.O_RDONLY)
    return new_descriptor(world, call, Descriptor("file", fd=fd))
    yield


def read_file(one: Descriptor, size: int) -> int:
    if one.pipe is not None:
        count = min(size, len(one.pipe))
        del one.pipe[:count]
        return count
    if one.fd < 0:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return len(os.read(one.fd, size))


def write_file(one: Descriptor, size: int) -> int:
    if one.pipe is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    count = min(size, PIPE_SIZE - len(one.pipe))
    if size and not count:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    one.pipe.extend(bytes(count))
    return count


def available(one: Descriptor, offset: int | None) -> int:
    """How much of a file is left."""
    if one.pipe is not None:
        return len(one.pipe)
    status = os.fstat(one.fd)
    if not stat.S_ISREG(status.st_mode):
        return PIPE_SIZE
    at = os.lseek(one.fd, 0, os.SEEK_CUR) if offset is None else offset
    return max(status.st_size - at, 0)


def splice(world: World, call: Call) -> Steps:
    """Between a pipe and a socket."""
    source, target = world.descriptor(call.arguments[0]), world.descriptor(call.arguments[2])
    size = integer(call.arguments[4])
    flags = integer(call.arguments[5])
    may_block = not flags & SPLICE_F_NONBLOCK
    if source.kind == "socket" and target.pipe is not None:
        room = min(size, PIPE_SIZE - len(target.pipe))
        taken = yield from world.wait(
            source, lambda: len(source.sock.recv(room)), source.receive_timeout, may_block
        )
        source.consumed += taken
        target.pipe.extend(bytes(taken))
        return int(taken)
    if target.kind == "socket" and source.pipe is not None:
        count = min(size, len(source.pipe))
        sent = yield from world.wait(
            target, lambda: target.sock.send(bytes(count)), target.send_timeout, may_block
        )
        del source.pipe[:sent]
        return int(sent)
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def sendfile(world: World, call: Call) -> Steps:
    """From a file to a socket; as many zeros as the file has bytes."""
    target = world.descriptor(call.arguments[0], "socket")
    source = world.descriptor(call.arguments[1])
    place = call.arguments[2]
    offset = None
    if isinstance(place, (List, Integer)) and not (isinstance(place, Integer) and not place.value):
        offset = integer(place)
    count = min(integer_or(call.arguments[3], 0), available(source, offset))
    if source.kind == "socket":
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    done = 0

    def attempt() -> int:
        return int(target.sock.send(bytes(count - done)))

    while done < count:
        try:
            done += yield from world.wait(target, attempt, target.send_timeout)
        except BlockingIOError:
            if done:
                break
            raise
        if target.nonblocking:
            break
    if offset is None and source.fd >= 0:
        os.lseek(source.fd, done, os.SEEK_CUR)
    return done
