"""A capture of a stack's packets in a file, or through a pipe to a reader that may go away.

Called by: subnet.
RFCs: none.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pystack.cli import signals
from pystack.cli.failure import explain, one_line

if TYPE_CHECKING:
    from pystack.device.pcap import PcapWriter


class Recorder:
    """Writes packets until that fails, and says so then; the stack goes on."""

    def __init__(self) -> None:
        self.writer: PcapWriter | None = None
        self.failed = False

    def open(self, file: Path, name: str) -> None:
        """Begin; OSError if that is not possible."""
        from pystack.device.pcap import PcapWriter

        self.file = file
        with signals.interruptible():  # a pipe, perhaps, that nobody reads yet
            self.writer = PcapWriter(file, name)
        self.flush()

    def write(self, packet: bytes, time_ns: int, outbound: bool) -> None:
        if self.writer is None or self.failed:
            return
        try:
            self.writer.write(packet, time_ns, outbound)
        except Exception as problem:
            self.fail(problem)
            raise

    def flush(self) -> None:
        """Let a reader that follows see what there is; called from another thread than write."""
        if self.writer is None or self.failed:
            return
        try:
            self.writer.flush()
        except OSError as problem:
            self.fail(problem)

    def fail(self, problem: Exception) -> None:
        if not self.failed:
            self.failed = True
            text = f"the capture {self.file} ends here: {explain(problem).message}"
            click.echo(one_line(text), err=True)

    def close(self) -> None:
        """End; OSError if what is left cannot be written, and nobody has heard of it yet."""
        if self.writer is None:
            return
        if not self.failed:
            self.writer.close()
            return
        with suppress(OSError):
            self.writer.close()
