"""What went wrong, as one line that says what to do, and as an exit status.

Called by: main, for whatever a command raises; the commands.
RFCs: none.
"""

from __future__ import annotations

import errno
import os

import click

FAILED = 1
USAGE = 2
NO_PERMISSION = 77  # EX_NOPERM of sysexits.h

# The machine or the arguments must change before it can work; trying again does not help.
USAGE_ERRNOS = {
    errno.EEXIST,  # network in use
    errno.EBUSY,  # name in use
    errno.ENOENT,  # no /dev/net/tun
    errno.ENODEV,
    errno.ENXIO,
    errno.ENETDOWN,  # an interface that somebody else made is not ready
    errno.EINVAL,
    errno.ENOSYS,
    errno.EADDRNOTAVAIL,
    errno.EADDRINUSE,
}


class Failure(Exception):
    """The command cannot go on; the message says why and what to do."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class Fault(Failure):
    """Not the user's doing, nor the machine's."""

    def __init__(self, problem: Exception) -> None:
        what = f"{type(problem).__name__}: {problem}"
        super().__init__(f"this is a fault of pystack, {what}. PYTHONDEVMODE=1 shows where")


def explain(problem: Exception) -> Failure:
    """Put an exception into one line, with the exit status that fits."""
    if isinstance(problem, Failure):
        return problem
    if isinstance(problem, click.UsageError):
        return Failure(usage_text(problem), problem.exit_code)
    if isinstance(problem, click.ClickException):
        return Failure(problem.format_message(), problem.exit_code)
    if isinstance(problem, OSError):
        return Failure(os_error_text(problem), status_of(problem))
    if isinstance(problem, ValueError):
        return Failure(str(problem), USAGE)
    if isinstance(problem, ImportError):
        return Failure(f"{problem}. Install it with what it needs: pip install pystack-net")
    return Fault(problem)


def usage_text(problem: click.UsageError) -> str:
    """click's message, and which help to read."""
    path = problem.ctx.command_path if problem.ctx else "pystack"
    return f"{problem.format_message().rstrip('.')}. See {path} --help"


def os_error_text(problem: OSError) -> str:
    """Our own text as it is; of a system call, what and which file."""
    text = problem.strerror or str(problem)
    if problem.filename is not None:
        return f"{os.fsdecode(problem.filename)}: {text}"
    return text


def status_of(problem: OSError) -> int:
    if problem.errno in (errno.EPERM, errno.EACCES):
        return NO_PERMISSION
    return USAGE if problem.errno in USAGE_ERRNOS else FAILED


def one_line(text: str) -> str:
    """pystack: text, whatever the text begins with and wherever it is broken."""
    return "pystack: " + " ".join(text.split()).removeprefix("pystack: ")
