"""The command `pystack` in a namespace, for the tests of the command line."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interop.harness import Namespace

PYSTACK = [sys.executable, "-m", "pystack"]
SECONDS = 30  # for anything to happen


@contextmanager
def begun(command: Sequence[str], **how: Any) -> Iterator[subprocess.Popen[str]]:
    """A process whose output is read; it ends here at the latest."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **how) as process:
        try:
            yield process
        finally:
            process.kill()


class Serving:
    """A `pystack serve` that is ready, or waits to be."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.ready = ""

    def line(self) -> str:
        """The next line of its output."""
        return self.process.stdout.readline()

    def stop(self, number: int = signal.SIGINT) -> subprocess.CompletedProcess[str]:
        """Send a signal and wait for the end; with the output from here on."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, out, err)


@contextmanager
def serving(namespace: Namespace, *arguments: str, ready: bool = True) -> Iterator[Serving]:
    """`pystack serve` in the namespace; ready: wait for its first line."""
    process = namespace.popen(
        [*PYSTACK, "serve", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            server = Serving(process)
            if ready:
                server.ready = server.line()
                assert server.ready, f"it ended: {process.communicate()[1]}"
            yield server
        finally:
            process.kill()


def pystack(namespace: Namespace, *arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in the namespace, whatever its status."""
    return namespace.run([*PYSTACK, *arguments], check=False, **how)


def interfaces(namespace: Namespace) -> Sequence[str]:
    """All interfaces of the namespace."""
    listed = namespace.run(["ip", "-o", "link"]).stdout
    return [line.split(": ")[1].split("@")[0] for line in listed.splitlines()]
