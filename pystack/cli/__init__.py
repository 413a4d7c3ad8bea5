"""The command `pystack`.

Called by: the console scripts, `python -m pystack`.
RFCs: none.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from pystack.cli import signals


def main() -> NoReturn:
    """Run the command; exit with its status."""
    try:
        signals.install()
        from pystack.cli.command import pystack

        pystack.main(prog_name="pystack")
    except KeyboardInterrupt:  # before the handlers were there
        sys.exit(stopped_status(2))
    except signals.Stop:
        sys.exit(stopped_status(signals.asked_by))


def stopped_status(number: int) -> int:
    """To end `serve` is no failure, however early."""
    return 0 if sys.argv[1:2] == ["serve"] else 128 + number
