"""`pystack doctor`: what this machine allows, and what to do about what it does not.

Called by: command.
RFCs: none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pystack.device.probe import Fact

# The names of facts, as the probe has them, without which a command cannot work.
DEVICE = {"TUN device", "pyroute2", "/dev/net/tun", "TUN interface"}
SERVE_NEEDS = DEVICE | {"CAP_NET_ADMIN"}
RUN_NEEDS = DEVICE | {"namespaces"}


@dataclass(frozen=True)
class Verdict:
    """What can work here."""

    serve: bool
    run: bool

    @property
    def text(self) -> str:
        if self.serve and self.run:
            return "`pystack serve` and `pystack run` can work here."
        if self.serve:
            return "`pystack serve` can work here, `pystack run` cannot."
        if self.run:
            return "Only `pystack run` and `pystack serve --rootless` can work here."
        return "Neither `pystack serve` nor `pystack run` can work here."


def verdict(facts: Sequence[Fact]) -> Verdict:
    missing = {fact.name for fact in facts if not fact.ok}
    return Verdict(serve=not missing & SERVE_NEEDS, run=not missing & RUN_NEEDS)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def doctor(as_json: bool) -> int:
    """Say what this machine allows, and what to do about the rest.

    The status is 0 if `pystack serve` can work, 1 if not.
    """
    from pystack.device.probe import probe

    facts = probe()
    found = verdict(facts)
    click.echo(json_text(facts, found) if as_json else text(facts, found))
    return 0 if found.serve else 1


def json_text(facts: Sequence[Fact], found: Verdict) -> str:
    return json.dumps({**asdict(found), "facts": [asdict(fact) for fact in facts]})


def text(facts: Sequence[Fact], found: Verdict) -> str:
    """A line for each fact; a second one says what to do."""
    width = max(len(fact.name) for fact in facts)
    lines = []
    for fact in facts:
        lines.append(f"{'ok' if fact.ok else 'no':4}{fact.name:{width}}  {fact.detail}")
        if not fact.ok and fact.remedy:
            lines.append(f"{'':{width + 6}}-> {fact.remedy}")
    return "\n".join([*lines, "", found.text])
