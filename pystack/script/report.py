"""Outcomes as text for people, and as JSON for programs.

Called by: the command line, tests.
RFCs: none.
"""

from __future__ import annotations

import json

from pystack.script.runner import Outcome

INDENT = " " * 6


def place(outcome: Outcome) -> str:
    """The script, and the line of what went wrong."""
    if outcome.event is None:
        return outcome.script
    return f"{outcome.script}:{outcome.event.line}"


def text(outcome: Outcome) -> str:
    """One line; of a failure with what was expected and seen, and the last packets."""
    if outcome.result == "invalid":
        return f"invalid  {outcome.problem}"
    if outcome.result == "pass":
        notes = [f"relaxed: {', '.join(outcome.relaxed)}"] if outcome.relaxed else []
        notes += [f"warning: line {warning}" for warning in outcome.warnings]
        return " ".join([f"pass  {outcome.script}", *(f"({note})" for note in notes)])
    line = f"{outcome.result}  {place(outcome)}: {outcome.problem}"
    if outcome.result != "fail" or outcome.event is None:
        return line
    shown = [line]
    expected = outcome.expected or outcome.event.text
    if expected != outcome.event.text:
        shown.append(f"{INDENT}line      {outcome.event.text}")
    shown.append(f"{INDENT}expected  {expected}")
    if outcome.seen:
        shown.append(f"{INDENT}seen      {outcome.seen}")
    if outcome.packets:
        shown.append(f"{INDENT}the last packets:")
        shown += [f"{INDENT}  {packet}" for packet in outcome.packets]
    return "\n".join(shown)


def reason(outcome: Outcome) -> str:
    """All in one line."""
    if outcome.result == "pass":
        notes = [f"relaxed {', '.join(outcome.relaxed)}"] if outcome.relaxed else []
        return "; ".join([*notes, *outcome.warnings])
    parts = [outcome.problem]
    if outcome.event is not None:
        parts[0] = f"line {outcome.event.line}: {outcome.problem}"
        parts.append(f"expected: {outcome.expected or outcome.event.text}")
    if outcome.seen:
        parts.append(f"seen: {outcome.seen}")
    return "; ".join(parts)


def as_json(outcome: Outcome) -> str:
    """One object, in one line."""
    result = "fail" if outcome.result == "invalid" else outcome.result
    return json.dumps({"script": outcome.script, "result": result, "reason": reason(outcome)})
