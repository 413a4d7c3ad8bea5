"""The comparison with Linux: every explanation is on the page that it refers to."""

from __future__ import annotations

import re
from pathlib import Path

from differential import explained, packets_explained
from differential.dialogue import STATES, dialogue
from differential.packets import volley

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "differences-from-linux.md"


def test_every_explanation_is_a_heading_of_the_page():
    headings = re.findall(r"^## (.+)$", PAGE.read_text(), re.MULTILINE)
    assert explained.EXPLANATIONS.keys() | packets_explained.EXPLANATIONS.keys() <= set(headings)


def test_a_seed_is_one_dialogue_and_one_volley():
    for make in (dialogue, volley):
        assert [make(seed) for seed in range(50)] == [make(seed) for seed in range(50)]


def test_every_state_and_both_families_occur():
    dialogues = [dialogue(seed) for seed in range(500)]
    assert {each.state for each in dialogues} == set(STATES)
    assert {each.family for each in dialogues} == {4, 6}


def test_volleys_are_of_both_families_and_of_all_kinds():
    volleys = [volley(seed) for seed in range(500)]
    assert {each.family for each in volleys} == {4, 6}
    words = " ".join(shot.words for each in volleys for shot in each.shots)
    for kind in ("echo", "datagram", "ICMP", "ICMP error", "protocol", "fragment", "options"):
        assert kind in words
