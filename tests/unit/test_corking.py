"""Which answers of an event loop to many connections wait for each other."""

from __future__ import annotations

from native.corking import Cork

US = 1000
FEW, CROWD = 7, 8
TOGETHER = 32
PAUSE = 50 * US


def test_quick_answers_to_many_wait_until_there_are_enough():
    cork = Cork(CROWD)
    waited = [cork.waits(10**9 + at * US) for at in range(1 + 2 * TOGETHER)]
    together = [True] * (TOGETHER - 1) + [False]
    assert waited == [False] + 2 * together


def test_few_are_answered_one_by_one():
    cork = Cork(FEW)
    assert not any(cork.waits(10**9 + at * US) for at in range(100))


def test_an_answer_that_took_its_time_takes_the_others_along():
    cork = Cork(CROWD)
    now = 10**9
    assert not cork.waits(now)
    assert cork.waits(now := now + PAUSE)
    assert cork.waits(now := now + PAUSE)
    assert not cork.waits(now := now + PAUSE + 1)
    assert cork.waits(now := now + PAUSE)
    for _ in range(10):
        assert not cork.waits(now := now + PAUSE + 1)
