"""poll and epoll: real ones against a kernel, emulated ones against pystack.

Called by: calls.
RFCs: none; poll(2), epoll(7).
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable, Generator

from pystack.script.errors import Mismatch
from pystack.script.nodes import Anything, Call, Expression, Integer, List, Struct
from pystack.script.values import EVENTS, integer, integer_or
from pystack.script.world import Descriptor, Steps, Watched, World

POLLERR, POLLHUP, POLLNVAL = 8, 16, 32
ALWAYS = POLLERR | POLLHUP
EPOLLET, EPOLLONESHOT = 1 << 31, 1 << 30
ADD, DEL, MOD = 1, 2, 3


def until_from(world: World, timeout_ms: int) -> int | None:
    return None if timeout_ms < 0 else world.target.now() + timeout_ms * 10**6


def wait_for(
    world: World, look: Callable[[], int], timeout_ms: int
) -> Generator[int | None, None, int]:
    """Look until there is something, or the time is up."""
    until = until_from(world, timeout_ms)
    while True:
        count = look()
        if count or (until is not None and world.target.now() >= until):
            return count
        yield until


def poll(world: World, call: Call) -> Steps:
    """revents must be exactly what the script says, 0 if it does not."""
    items = call.arguments[0]
    if not isinstance(items, List):
        raise Mismatch("poll takes [{fd=F, events=E, revents=R}, ...]")
    wanted = [pollfd(item) for item in items.items]
    timeout = integer(call.arguments[2])
    seen: list[int] = []

    def look() -> int:
        seen[:] = [revents(world, fd, events) for fd, events, _ in wanted]
        return sum(map(bool, seen))

    if world.target.emulated:
        count = yield from wait_for(world, look, timeout)
    else:
        count = kernel_poll(world, wanted, timeout, seen)
    for (fd, _, expected), got in zip(wanted, seen, strict=True):
        if expected != got:
            raise Mismatch(
                f"poll says something else of fd {fd}",
                f"revents={poll_text(expected)}",
                f"revents={poll_text(got)}",
            )
    return count


def pollfd(item: Expression) -> tuple[int, int, int]:
    """fd, events, expected revents."""
    if not isinstance(item, Struct):
        raise Mismatch("poll takes [{fd=F, events=E, revents=R}, ...]")
    fd, events, expected = (item.get(name) for name in ("fd", "events", "revents"))
    if fd is None or events is None:
        raise Mismatch("a pollfd needs fd and events")
    return integer(fd), integer(events), 0 if expected is None else integer(expected)


def revents(world: World, fd: int, events: int) -> int:
    """Of an emulated socket."""
    one = world.descriptors.get(fd)
    if fd < 0:
        return 0
    if one is None or one.sock is None:
        return POLLNVAL
    return world.target.ready(one.sock) & (events | ALWAYS)


def kernel_poll(
    world: World, wanted: list[tuple[int, int, int]], timeout: int, seen: list[int]
) -> int:
    poller = select.poll()
    numbers = {}
    for fd, events, _ in wanted:
        one = world.descriptors.get(fd)
        if one is not None:
            numbers[fd] = one.sock.fileno() if one.sock is not None else one.fd
            poller.register(numbers[fd], events)
    found = dict(poller.poll(timeout))
    seen[:] = [found.get(numbers.get(fd, -1), 0) for fd, _, _ in wanted]
    return len(found)


def poll_text(events: int) -> str:
    return "|".join(f"POLL{name}" for name, bit in EVENTS.items() if events & bit) or "0"


# epoll.


def epoll_create(world: World, call: Call) -> Steps:
    from pystack.script.calls import new_descriptor

    epoll = None if world.target.emulated else select.epoll()
    return new_descriptor(world, call, Descriptor("epoll", epoll=epoll))
    yield


def epoll_event(item: Expression) -> tuple[int, int | None]:
    """events, data; None: not to be looked at."""
    if isinstance(item, List) and len(item.items) == 1:
        item = item.items[0]
    if not isinstance(item, Struct):
        raise Mismatch("an epoll_event is written {events=E, fd=F}")
    events = item.get("events")
    data = next((v for n in ("fd", "ptr", "u32", "u64") if (v := item.get(n)) is not None), None)
    if events is None:
        raise Mismatch("an epoll_event needs events")
    unknown = data is None or isinstance(data, Anything)
    return integer(events) & 0xFFFFFFFF, None if unknown or data is None else integer(data)


def epoll_ctl(world: World, call: Call) -> Steps:
    epoll = world.descriptor(call.arguments[0], "epoll")
    action = integer(call.arguments[1])
    fd = integer(call.arguments[2])
    one = world.descriptor(call.arguments[2])
    is_del = action == DEL
    events, data = (0, None) if is_del else epoll_event(call.arguments[3])
    if (action == ADD) == (fd in epoll.watched):
        number = errno.EEXIST if action == ADD else errno.ENOENT
        raise OSError(number, os.strerror(number))
    if is_del:
        del epoll.watched[fd]
    else:
        epoll.watched[fd] = Watched(events, fd if data is None else data)
    if epoll.epoll is not None:
        live = one.sock.fileno() if one.sock is not None else one.fd
        if is_del:
            epoll.epoll.unregister(live)
        elif action == ADD:
            epoll.epoll.register(live, events)
        else:
            epoll.epoll.modify(live, events)
    return 0
    yield


def epoll_wait(world: World, call: Call) -> Steps:
    """The events must be those that the script says, in any order."""
    epoll = world.descriptor(call.arguments[0], "epoll")
    most = integer_or(call.arguments[2], 1)
    timeout = integer(call.arguments[3])
    found: list[tuple[int, int]] = []
    if most <= 0:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def look() -> int:
        found[:] = epoll_look(world, epoll, most)
        return len(found)

    if world.target.emulated:
        count = yield from wait_for(world, look, timeout)
    else:
        found[:] = kernel_epoll(world, epoll, most, timeout)
        count = len(found)
    check_events(call.arguments[1], found)
    return count


def kernel_epoll(world: World, epoll: Descriptor, most: int, timeout: int) -> list[tuple[int, int]]:
    live = {}
    for fd, watched in epoll.watched.items():
        one = world.descriptors.get(fd)
        if one is not None:
            live[one.sock.fileno() if one.sock is not None else one.fd] = watched.data
    seconds = None if timeout < 0 else timeout / 1000
    found = epoll.epoll.poll(seconds, most)
    return [(live.get(fd, fd), events) for fd, events in found]


def epoll_look(world: World, epoll: Descriptor, most: int) -> list[tuple[int, int]]:
    """(data, events) of what is ready: by level, or at an edge since the last look."""
    found: list[tuple[int, int]] = []
    for fd, watched in list(epoll.watched.items()):
        one = world.descriptors.get(fd)
        if one is None or one.sock is None:
            del epoll.watched[fd]  # closed: forgotten
            continue
        if watched.disabled or len(found) == most:
            continue
        ready = world.target.ready(one.sock) & (watched.events | ALWAYS)
        arrivals = one.sock.queued()[0] + one.consumed
        new = ready & ~watched.seen or arrivals > watched.arrivals
        if ready and (new or not watched.events & EPOLLET):
            found.append((watched.data, ready))
            watched.disabled = bool(watched.events & EPOLLONESHOT)
        watched.seen, watched.arrivals = ready, arrivals
    return found


def check_events(expected: Expression, found: list[tuple[int, int]]) -> None:
    if isinstance(expected, Anything) or not found:
        return
    items = expected.items if isinstance(expected, List) else (expected,)
    wanted = [epoll_event(item) for item in items if not isinstance(item, Integer)]
    for events, data in wanted[: len(found)]:
        if not any(got == events and data in (None, mark) for mark, got in found):
            texts = [f"{{events={poll_text(got)}, fd={mark}}}" for mark, got in found]
            raise Mismatch(
                "epoll_wait says something else",
                f"{{events={poll_text(events)}, fd={data}}}",
                ", ".join(texts),
            )
