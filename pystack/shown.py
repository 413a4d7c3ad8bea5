"""Shown: what is known of the descriptors of a stack's sockets, which may be met by their numbers.

Called by: socket (makes them known), patching (asks), detached.
RFCs: none.
"""

from __future__ import annotations

import os
from weakref import WeakValueDictionary

from pystack.engine.datagram import DatagramHandle
from pystack.engine.tcp import TcpHandle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pystack.socket import Socket

Handle = TcpHandle | DatagramHandle


class Shown:
    """What the sockets and the descriptors of one connection have in common."""

    __slots__ = ("detached", "family", "kind", "options", "place", "proto", "stack")

    def __init__(self, sock: Socket, place: tuple[int, int]) -> None:
        self.place = place  # of the descriptors
        self.stack = sock._stack
        self.family, self.kind, self.proto = sock._family, sock._type, sock._proto
        self.options = sock._options
        self.detached = False  # there may be descriptors that no socket has


known: WeakValueDictionary[tuple[int, int], Handle] = WeakValueDictionary()  # by their places


def place_of(fd: int) -> tuple[int, int]:
    """What a descriptor and its duplicates are known by, whatever their numbers are."""
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def handle_at(fd: Any) -> Handle | None:
    """Of the stack's socket that a descriptor is of; None: it is of none."""
    if not known or not isinstance(fd, int) or fd < 0:
        return None
    try:
        place = place_of(fd)
        handle = known.get(place)
        if handle is None or handle.closed:
            return None
        # The place may be another's by now, if all that it was known by has been closed.
        if handle.holders > 0:
            return handle if place_of(handle.own_fileno) == place else None
    except OSError:
        return None
    from pystack.detached import carrier_of

    return handle if carrier_of(handle.shown.stack).has(handle) else None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=known.clear)
