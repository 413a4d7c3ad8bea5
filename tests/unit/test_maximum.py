"""The windowed maximum: a value of the window, and never one that is too old."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from native.maximum import Maximum

samples = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 1000)), min_size=1, max_size=60)


@given(samples, st.integers(1, 20))
def test_it_is_a_value_of_the_window_and_no_less_than_the_last(steps, window):
    maximum, now, seen = Maximum(window), 0, [(0, 0)]
    for step, value in steps:
        now += step
        seen.append((now, value))
        best = maximum.add(now, value)
        recent = [one for at, one in seen if now - at <= window]
        assert value <= best <= max(recent)
        assert best in recent


def test_the_greatest_is_remembered_for_a_window():
    maximum = Maximum(10)
    maximum.add(1, 500)
    assert [maximum.add(now, 100) for now in range(2, 12)] == [500] * 10
    assert maximum.add(12, 100) == 100


def test_the_best_of_the_rest_takes_its_place():
    maximum = Maximum(10)
    for now, value in ((1, 500), (5, 300), (8, 200), (11, 100)):
        maximum.add(now, value)
    assert maximum.add(12, 100) == 300
    assert maximum.add(16, 100) == 200
