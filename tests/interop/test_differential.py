"""The kernel and pystack are told the same, and say the same. tools/differential says more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from differential.dialogue import dialogue
from differential.exchange import SETTINGS, exchange
from differential.exchange import show as show_hits
from differential.explained import explanation
from differential.hosts import Kernel, Virtual
from differential.packets import volley
from differential.packets_explained import explanation as packet_explanation
from differential.play import Player, show

if TYPE_CHECKING:
    from interop.harness import Namespace

SEEDS = 400
VOLLEYS = 600


@pytest.fixture
def player(namespace: Namespace) -> Iterator[Player]:
    made = Player(Kernel(namespace), Virtual())
    yield made
    made.kernel.close()


@pytest.fixture
def kernel(namespace: Namespace) -> Iterator[Kernel]:
    made = Kernel(namespace, SETTINGS)
    yield made
    made.close()


def test_both_answer_alike_but_for_what_is_explained(player):
    """docs/reference/differences-from-linux.md."""
    found = []
    for seed in range(SEEDS):
        moments = player.differs(dialogue(seed))
        if moments and not explanation(moments):
            found.append(show(dialogue(seed), moments))
    assert not found, "\n\n".join(found)


def test_a_difference_would_be_seen(player):
    """Told that it has no timestamps, pystack says something else."""
    import pystack

    player.virtual.config = pystack.TcpConfig(timestamps=0)
    assert any(player.differs(dialogue(seed)) for seed in range(20))


def test_both_answer_packets_alike_but_for_what_is_explained(kernel):
    found = []
    for seed in range(VOLLEYS):
        hits = exchange(kernel, Virtual(), volley(seed))
        if hits[-1].differs and not packet_explanation(hits):
            found.append(show_hits(volley(seed), hits))
    assert not found, "\n\n".join(found)


def test_a_host_that_hears_nothing_would_be_seen(kernel):
    class Deaf(Virtual):
        def inject(self, packet: bytes, now: int) -> None:
            pass

    differ = [exchange(kernel, Deaf(), volley(seed))[-1].differs for seed in range(20)]
    assert sum(differ) > 10
