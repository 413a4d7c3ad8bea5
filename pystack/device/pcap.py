"""Captures that Wireshark opens: pcapng, packets from their IP header on, times in nanoseconds.

Called by: whoever records a device, a link or a script; tests.
RFCs: none; draft-ietf-opsawg-pcapng, whose sections stand in parentheses below.
"""

from __future__ import annotations

import os
import struct
from types import TracebackType
from typing import Protocol

SECTION_HEADER = 0x0A0D0D0A
BYTE_ORDER_MAGIC = 0x1A2B3C4D
INTERFACE_DESCRIPTION = 1
INTERFACE_STATISTICS = 5
ENHANCED_PACKET = 6

LINKTYPE_RAW = 101  # IPv4 or IPv6, told apart by the version
NANOSECONDS = 9  # if_tsresol: units of 10^-9 s
MAX_OPTION = 0xFFFF
MAX_TIME_NS = (1 << 64) - 1

OPT_COMMENT = 1
SHB_USERAPPL = 4
IF_NAME = 2
IF_TSRESOL = 9
EPB_FLAGS = 2
ISB_STARTTIME = 2
ISB_ENDTIME = 3
ISB_IFRECV = 4

# Little-endian on every system, so that the same packets make the same file.
WORD = struct.Struct("<I")
PACKET_HEAD = struct.Struct("<7I")  # type, total length, interface, time (2), captured, original
PADDING = (b"", bytes(3), bytes(2), bytes(1))  # by length modulo 4
END_OF_OPTIONS = bytes(4)


class BinaryFile(Protocol):
    """What a capture can be written to."""

    def write(self, data: bytes, /) -> object: ...
    def flush(self) -> object: ...


def option(code: int, value: bytes) -> bytes:
    """One option of a block (3.5). Raises ValueError for more than 65535 bytes."""
    if len(value) > MAX_OPTION:
        raise ValueError(f"pystack: text of {len(value)} bytes in a capture, at most {MAX_OPTION}")
    return struct.pack("<HH", code, len(value)) + value + PADDING[len(value) & 3]


def block(kind: int, body: bytes) -> bytes:
    """A block around a padded body (3.1)."""
    total = len(body) + 12
    return struct.pack("<II", kind, total) + body + WORD.pack(total)


def section_header(comment: str | None) -> bytes:
    """Section Header Block (4.1), version 1.0; it says nothing of the system that wrote it."""
    body = struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)
    if comment is not None:
        body += option(OPT_COMMENT, comment.encode())
    return block(SECTION_HEADER, body + option(SHB_USERAPPL, b"pystack") + END_OF_OPTIONS)


def time_words(time_ns: int) -> bytes:
    """A time: its high 32 bits, then its low ones."""
    return struct.pack("<II", time_ns >> 32, time_ns & 0xFFFFFFFF)


# epb_flags (4.3.1), by `outbound`.
DIRECTION = {
    None: b"",
    False: option(EPB_FLAGS, WORD.pack(1)),
    True: option(EPB_FLAGS, WORD.pack(2)),
}


class Interface:
    """One interface of a capture, and what was captured there."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.packets = 0
        self.first_ns = 0
        self.last_ns = 0

    def count(self, time_ns: int) -> None:
        """Count a packet. Times may go back: the order of packets is the caller's."""
        if self.packets == 0:
            self.first_ns = self.last_ns = time_ns
        self.first_ns = min(self.first_ns, time_ns)
        self.last_ns = max(self.last_ns, time_ns)
        self.packets += 1

    def description(self) -> bytes:
        """Interface Description Block (4.2), without a limit on packets' length."""
        body = struct.pack("<HHI", LINKTYPE_RAW, 0, 0)
        body += option(IF_NAME, self.name.encode())
        body += option(IF_TSRESOL, bytes([NANOSECONDS]))
        return block(INTERFACE_DESCRIPTION, body + END_OF_OPTIONS)

    def statistics(self) -> bytes:
        """Interface Statistics Block (4.6)."""
        body = WORD.pack(self.number) + time_words(self.last_ns)
        body += option(ISB_STARTTIME, time_words(self.first_ns))
        body += option(ISB_ENDTIME, time_words(self.last_ns))
        body += option(ISB_IFRECV, struct.pack("<Q", self.packets))
        return block(INTERFACE_STATISTICS, body + END_OF_OPTIONS)


class PcapWriter:
    """A capture being written, by one thread at a time; the same packets make the same bytes.

    path_or_file: a path, truncated now and closed by close(); or a file open for writing bytes,
    which close() flushes and leaves open. name: what the capture is of, for its reader.
    """

    def __init__(
        self, path_or_file: str | os.PathLike[str] | BinaryFile, name: str | None = None
    ) -> None:
        section = section_header(name)
        self._interfaces: dict[str, Interface] = {}
        self._closed = False
        self._owned = None
        if isinstance(path_or_file, (str, os.PathLike)):
            self._owned = open(path_or_file, "wb")  # noqa: SIM115
            self._file: BinaryFile = self._owned
        else:
            self._file = path_or_file
        self._file.write(section)

    def write(
        self,
        packet: bytes | bytearray | memoryview,
        time_ns: int,
        outbound: bool | None = None,
        comment: str | None = None,
        interface: str = "pystack",
    ) -> None:
        """Append a packet that starts at its IP header (Enhanced Packet Block, 4.3).

        time_ns: since 1970, or since a simulation began. interface: by name; each new name is a
        new interface. Raises ValueError if the time is not in 0..2^64-1, a text is longer than
        65535 bytes, or the capture is closed.
        """
        if self._closed:
            raise ValueError("pystack: write to a closed capture")
        if not 0 <= time_ns <= MAX_TIME_NS:
            raise ValueError(f"pystack: {time_ns} is no time for a capture, 0..2^64-1 ns are")
        options = DIRECTION[outbound]
        if comment is not None:
            options += option(OPT_COMMENT, comment.encode())
        if options:
            options += END_OF_OPTIONS
        at = self._interfaces.get(interface) or self._add_interface(interface)
        at.count(time_ns)
        length = len(packet)
        padding = PADDING[length & 3]
        total = PACKET_HEAD.size + length + len(padding) + len(options) + WORD.size
        head = PACKET_HEAD.pack(
            ENHANCED_PACKET, total, at.number, time_ns >> 32, time_ns & 0xFFFFFFFF, length, length
        )
        self._file.write(b"".join((head, packet, padding, options, WORD.pack(total))))

    def _add_interface(self, name: str) -> Interface:
        interface = Interface(len(self._interfaces), name)
        self._file.write(interface.description())
        self._interfaces[name] = interface
        return interface

    def flush(self) -> None:
        """Hand what was written to the operating system, for a reader that follows the file."""
        self._file.flush()

    def close(self) -> None:
        """Write the counts of each interface and finish; closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            for interface in self._interfaces.values():
                self._file.write(interface.statistics())
            self._file.flush()
        finally:
            if self._owned is not None:
                self._owned.close()

    def __enter__(self) -> PcapWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
