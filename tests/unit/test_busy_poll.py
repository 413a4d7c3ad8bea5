"""How long a driver looks for packets before it sleeps."""

from __future__ import annotations

from native.busy_poll import Learner

US = 1000
LEAST, MOST = 10 * US, 100 * US


def test_it_looks_twice_as_long_as_the_last_packets_let_it_wait():
    learner = Learner()
    assert learner.learn(15 * US) == 30 * US
    assert learner.learn(20 * US) == 40 * US
    assert learner.learn(1 * US) == LEAST
    assert learner.learn(9 * US) == 18 * US
    assert learner.learn(18 * US) == 36 * US
    assert learner.learn(36 * US) == 72 * US
    assert learner.learn(70 * US) == MOST


def test_it_does_not_look_for_what_is_far_away():
    learner = Learner()
    assert [learner.learn(MOST + 1) for _ in range(10)] == [0] * 10
    assert learner.learn(MOST) == MOST


def test_having_looked_in_vain_it_tries_again_more_and_more_rarely():
    learner = Learner()
    gaps = []
    for _ in range(15):
        waits = 1
        while not learner.learn(15 * US):
            waits += 1
        gaps.append(waits)
        assert learner.learn(31 * US) == 0  # it looked for 30
    assert gaps == [1, *(2**n + 1 for n in range(13)), 2**12 + 1]


def test_one_success_makes_up_for_failures():
    learner = Learner()
    for _ in range(5):
        while not learner.learn(15 * US):
            pass
        learner.learn(1_000 * US)
    while not learner.learn(15 * US):
        pass
    learner.learn(15 * US)
    learner.learn(1_000 * US)
    assert [learner.learn(15 * US) for _ in range(2)] == [0, 30 * US]
