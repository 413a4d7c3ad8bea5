"""When packets came: SO_TIMESTAMP, SO_TIMESTAMPNS and SO_TIMESTAMPING of a socket.

Called by: socket.
RFCs: none; socket(7), Linux's Documentation/networking/timestamping.rst.
"""

from __future__ import annotations

import errno
import os
import struct

SOL_SOCKET = 1
SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING = 29, 35, 37  # as of Linux before 5.1
NEW = {63: SO_TIMESTAMP, 64: SO_TIMESTAMPNS, 65: SO_TIMESTAMPING}
OPTIONS = {(SOL_SOCKET, number) for number in (SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING, *NEW)}

# SOF_TIMESTAMPING_*
RX_SOFTWARE, SOFTWARE, OPT_ID = 1 << 3, 1 << 4, 1 << 7
OPT_TSONLY, OPT_STATS, BIND_PHC = 1 << 11, 1 << 12, 1 << 15
OPT_ID_TCP, OPT_RX_FILTER = 1 << 16, 1 << 17
KNOWN = (1 << 19) - 1

PAIR = struct.Struct("qq")  # struct timeval, timespec: of 64 bits
FLAGS = struct.Struct("II")  # struct so_timestamping: flags, bind_phc


class Timestamps:
    """What a socket has been asked for, and the control messages that follow from it."""

    __slots__ = ("flags", "new", "plain")

    def __init__(self) -> None:
        self.plain = 0  # SO_TIMESTAMP, SO_TIMESTAMPNS, or neither
        self.flags = 0  # of SO_TIMESTAMPING
        self.new = False  # asked for by the numbers of NEW

    def set(self, number: int, value: bytes, *, has_begun: bool) -> None:
        """By Linux's number of the option; OSError as in Linux.

        has_begun: the socket is no stream that is closed or listens, which has nothing to number.
        """
        option = NEW.get(number, number)
        if len(value) < 4:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        asked = struct.unpack_from("=I", value)[0]
        if option == SO_TIMESTAMPING:
            self._set_flags(asked, number in NEW, has_begun)
        elif asked:
            self.plain, self.new = option, number in NEW
        else:
            self.plain = 0

    def _set_flags(self, flags: int, new: bool, has_begun: bool) -> None:
        wrong = flags & ~KNOWN or (flags & OPT_ID_TCP and not flags & OPT_ID)
        wrong = wrong or (flags & OPT_ID and not self.flags & OPT_ID and not has_begun)
        wrong = wrong or (flags & OPT_STATS and not flags & OPT_TSONLY)
        if wrong:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if flags & BIND_PHC:  # there is no other clock
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        self.flags, self.new = flags, new

    def get(self, number: int) -> bytes:
        option, new = NEW.get(number, number), number in NEW
        if option == SO_TIMESTAMPING:
            return FLAGS.pack(self.flags if self.new or not new else 0, 0)
        if new and option == SO_TIMESTAMP:  # as Linux, of both new ones
            return struct.pack("=i", self.new and self.plain != 0)
        return struct.pack("=i", self.plain == option and self.new == new)

    def __bool__(self) -> bool:
        """Whether recvmsg has to tell anything."""
        return bool(self.plain or self.flags)

    def messages(self, at: int) -> list[tuple[int, int, bytes]]:
        """at: ns, since whenever the stack's time began."""
        found = []
        names = {old: number for number, old in NEW.items()} if self.new else {}
        seconds, part = divmod(at, 10**9)
        if self.plain:
            part_of = part if self.plain == SO_TIMESTAMPNS else part // 1000
            kind = names.get(self.plain, self.plain)
            found.append((SOL_SOCKET, kind, PAIR.pack(seconds, part_of)))
        wanted = self.flags & RX_SOFTWARE or not self.flags & OPT_RX_FILTER
        if self.flags & SOFTWARE and wanted:
            kind = names.get(SO_TIMESTAMPING, SO_TIMESTAMPING)
            found.append((SOL_SOCKET, kind, PAIR.pack(seconds, part) + bytes(2 * PAIR.size)))
        return found
