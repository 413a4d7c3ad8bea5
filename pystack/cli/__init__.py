"""The command `pystack`.

Called by: the console scripts, `python -m pystack`.
RFCs: none.
"""

from __future__ import annotations


def main() -> None:
    """Run the command; exit with its status."""
    try:  # what is imported here is imported late, so that Ctrl-C ends it without a traceback
        from pystack.cli import signals

        signals.install()
        from pystack.cli.command import pystack

        try:
            pystack.main(prog_name="pystack")
        except signals.Stop:
            exit_stopped(signals.asked_by)
    except KeyboardInterrupt:  # before the handlers were there
        exit_stopped(2)
    except ImportError as problem:
        exit_incomplete(problem)


def exit_stopped(number: int) -> None:
    """Exit as one whom a signal has ended; to end `serve` is no failure, however early."""
    import sys

    sys.exit(0 if sys.argv[1:2] == ["serve"] else 128 + number)


def exit_incomplete(problem: ImportError) -> None:
    """Exit where click is missing, for example: pystack was copied here, not installed."""
    import sys

    sys.exit(f"pystack: {problem}. Install it with what it needs: pip install pystack-net")
