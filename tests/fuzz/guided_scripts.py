"""Packet scripts as the target of a campaign that coverage guides; as in scripts.py.

Code blocks are Python, which a fuzzer must not write: a script that has one is parsed only.
"""

from __future__ import annotations

import random
from contextlib import suppress

from fuzz import scripts

from pystack.script.drill import OWN_DIALECT
from pystack.script.errors import ScriptError
from pystack.script.parser import parse

CORPUS = "scripts.zip"
LONGEST = 4000


def dialect_of(text: str) -> str:
    found = OWN_DIALECT.search(text)
    return found[1] if found else "google"


def check(data: bytes) -> None:
    text = data.decode(errors="replace")
    if "%{" not in text:
        scripts.check(text, dialect_of(text))
        return
    with suppress(ScriptError):
        parse(text, "fuzz", dialect_of(text))


def seeds() -> list[bytes]:
    """A campaign's own corpus holds what all of tests/scripts reaches."""
    return [text.encode() for text in scripts.seeds() if len(text.encode()) <= LONGEST]


def mutate(rng: random.Random, data: bytes, pool: list[bytes]) -> bytes:
    text = data.decode(errors="replace")
    others = [rng.choice(pool).decode(errors="replace") if pool else ""]
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        text = rng.choice(scripts.CHANGES)(text, rng, others)[:LONGEST]
    return text.encode(errors="replace")[:LONGEST]
