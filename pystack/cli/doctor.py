"""`pystack doctor`: what this machine allows, and what to do about what it does not.

Called by: command.
RFCs: none.
"""

from __future__ import annotations

import click


@click.command()
@click.option("--json", is_flag=True, help="One JSON object.")
def doctor(json: bool) -> int:
    """Say what this machine allows, and what to do about what it does not."""
    return 1
