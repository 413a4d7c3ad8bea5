"""Packet scripts spoiled as a writer or an attacker might: parsed, and run in virtual time.

What is claimed: whatever the text is, it is a script or a ScriptError with its place; and whatever
the script is, it passes, fails, or is unsupported, with a reason. Findings stay in
tests/fuzz/corpus.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

from pystack.script.drill import Plan, run_script
from pystack.script.errors import ScriptError
from pystack.script.nodes import Script
from pystack.script.parser import DIALECTS, parse
from pystack.script.settings import settings_for

TESTS = Path(__file__).resolve().parents[1]
CORPUS = Path(__file__).with_name("corpus")
TOKEN = re.compile(r"\s+|\w+|\.\.\.|.", re.DOTALL)
NUMBERS = ("0", "1", "-1", "+0", "65535", "65536", "4294967295", "4294967296", "2147483648",
           "0x7fffffffffffffff", "99999999999999999999", "1e9", "0.000001", "*", "...")  # fmt: skip
WORDS = (
    "S", "F.", "SE", "mss", "sackOK", "wscale", "TS", "val", "ecr", "sack", "nop", "eol", "win",
    "ack", "urg", "<", ">", "(", ")", "[", "]", "{", "}", '"', "`", "/*", "*/", "//", "%{", "}%",
    "socket", "close", "read", "write", "accept", "icmp", "unreachable", "udp", "...", "=", ":",
    ",", "~", "--tolerance_usecs=", "fast_path", "TOS", "\0", "é", "\n", "+.1", "3", "MSG_PEEK",
    "IPPROTO_TCP", "FO", "md5", "[ect0]", "raw", "ipv4", "gre",
)  # fmt: skip
LONGEST = 20_000  # characters


def seeds() -> list[str]:
    """The scripts that others are made of."""
    paths = sorted([*TESTS.glob("scripts/**/*.pkt"), *CORPUS.glob("*.pkt")])
    return [path.read_text(errors="replace") for path in paths]


def spoil(rng: random.Random, texts: list[str]) -> str:
    """One of the texts, or two in one, with a few changes."""
    text = rng.choice(texts)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        text = rng.choice(CHANGES)(text, rng, texts)[:LONGEST]
    return text


def change_token(text: str, rng: random.Random, texts: list[str]) -> str:
    tokens = TOKEN.findall(text)
    if tokens:
        at = rng.randrange(len(tokens))
        tokens[at] = rng.choice(NUMBERS if tokens[at].isdigit() else WORDS)
    return "".join(tokens)


def drop_token(text: str, rng: random.Random, texts: list[str]) -> str:
    tokens = TOKEN.findall(text)
    if tokens:
        at = rng.randrange(len(tokens))
        del tokens[at : at + rng.choice((1, 1, 2, 5))]
    return "".join(tokens)


def repeat_token(text: str, rng: random.Random, texts: list[str]) -> str:
    tokens = TOKEN.findall(text)
    if tokens:
        at = rng.randrange(len(tokens))
        tokens[at:at] = tokens[at : at + rng.choice((1, 3))] * rng.choice((1, 2, 60))
    return "".join(tokens)


def move_lines(text: str, rng: random.Random, texts: list[str]) -> str:
    lines = text.split("\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    if rng.random() < 0.5:
        lines[a], lines[b] = lines[b], lines[a]
    else:
        lines.insert(a, lines[b])
    return "\n".join(lines)


def drop_line(text: str, rng: random.Random, texts: list[str]) -> str:
    lines = text.split("\n")
    del lines[rng.randrange(len(lines))]
    return "\n".join(lines)


def cross(text: str, rng: random.Random, texts: list[str]) -> str:
    ours, theirs = text.split("\n"), rng.choice(texts).split("\n")
    return "\n".join(ours[: rng.randrange(len(ours) + 1)] + theirs[rng.randrange(len(theirs)) :])


def change_character(text: str, rng: random.Random, texts: list[str]) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + chr(rng.choice((0, 9, 10, 34, 40, 96, 127, 233, 0x1F600))) + text[at + 1 :]


CHANGES = (change_token, change_token, change_token, drop_token, repeat_token, move_lines,
           drop_line, cross, change_character)  # fmt: skip


def check(text: str, dialect: str = "google") -> str:
    """Parse, and run what can be run: how it ended, in a word."""
    script: Script | None
    place = (1, 1)
    try:
        script = parse(text, "fuzz", dialect)
        settings = settings_for(script, None, frozenset(), False)
    except ScriptError as problem:
        place = (problem.line, problem.column)
        script = None
    assert min(place) >= 1
    if script is None:
        return "invalid"
    outcome = run_script(script, settings, Plan(dialect=dialect))
    assert outcome.result in ("pass", "fail", "unsupported")
    assert outcome.result == "pass" or outcome.problem
    return outcome.result


def example(seed: int, texts: list[str]) -> str:
    rng = random.Random(seed)
    text = spoil(rng, texts)
    return check(text, rng.choice(DIALECTS))
