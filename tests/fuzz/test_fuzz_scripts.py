"""Spoiled packet scripts, and those that once were a finding. tools/fuzz --scripts runs more."""

from __future__ import annotations

import pytest
from effort import some
from fuzz.scripts import CHANGES, CORPUS, check, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

from pystack.script.parser import DIALECTS

TEXTS = seeds()
FOUND = sorted(CORPUS.glob("*.pkt"))


@pytest.mark.parametrize("path", FOUND, ids=[path.stem for path in FOUND])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_was_found_once(path, dialect):
    check(path.read_text(), dialect)


@settings(max_examples=some(150))
@given(
    st.sampled_from(TEXTS),
    st.lists(st.sampled_from(CHANGES), max_size=6),
    st.randoms(use_true_random=False),
    st.sampled_from(DIALECTS),
)
def test_a_spoiled_script_is_refused_or_runs_to_an_end(text, changes, rng, dialect):
    for change in changes:
        text = change(text, rng, TEXTS)
    check(text, dialect)
