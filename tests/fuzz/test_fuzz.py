"""Two stacks, a wire that spoils packets, applications that do anything. tools/fuzz runs more."""

from __future__ import annotations

import pytest
from fuzz.conversation import Conversation


@pytest.mark.parametrize("seed", range(100))
def test_nothing_breaks_and_nothing_is_left(seed):
    Conversation(seed).run()
