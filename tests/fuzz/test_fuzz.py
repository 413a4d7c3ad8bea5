"""Stacks that speak over a wire that spoils packets, and what tools/fuzz --guided has kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from effort import some
from fuzz import guided_scripts, session
from fuzz.conversation import Conversation
from fuzz.feedback import read_corpus

CORPUS = Path(__file__).with_name("corpus")


@pytest.mark.parametrize("seed", range(some(100)))
def test_nothing_breaks_and_nothing_is_left(seed):
    Conversation(seed).run()


@pytest.mark.parametrize("target", [session, guided_scripts], ids=["sessions", "scripts"])
def test_nothing_breaks_in_the_inputs_that_reach_most(target):
    """What campaigns have kept, their findings included. tools/fuzz --guided looks for more."""
    inputs = read_corpus(CORPUS / target.CORPUS)
    assert len(inputs) > 100
    for number, data in enumerate(inputs):
        try:
            target.check(data)
        except Exception as problem:
            raise AssertionError(f"input {number} of {target.CORPUS}") from problem
