"""The interval set against a set of ints, around the point where 32 bits wrap."""

from __future__ import annotations

import pytest
from effort import some
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from native.interval import Intervals

WRAP = 1 << 32
SPAN = 120
NO_LIMIT = 0xFFFF

# Numbers are relative to a base that may lie just below 2^32, or anywhere.
bases = st.one_of(st.integers(WRAP - SPAN, WRAP - 1), st.sampled_from([0, (1 << 31) - 50]))
numbers = st.integers(0, SPAN)
limits = st.one_of(st.just(NO_LIMIT), st.integers(0, 6))


def intervals_of(members: set[int]) -> list[tuple[int, int]]:
    """The maximal runs of a set of ints, sorted, half-open."""
    starts = sorted(n for n in members if n - 1 not in members)
    ends = sorted(n + 1 for n in members if n + 1 not in members)
    return list(zip(starts, ends, strict=True))


class IntervalMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.set = Intervals()
        self.members: set[int] = set()
        self.base = 0

    @initialize(base=bases)
    def set_base(self, base):
        self.base = base

    def at(self, number: int) -> int:
        return (self.base + number) % WRAP

    def interval(self, start: int, end: int) -> tuple[int, int]:
        return self.at(start), self.at(end)

    @rule(start=numbers, length=st.integers(0, 20), limit=limits)
    def add(self, start, length, limit):
        joined = self.members | set(range(start, start + length))
        fits = length == 0 or len(intervals_of(joined)) <= limit
        assert self.set.add(self.at(start), self.at(start + length), limit) == (0 if fits else -1)
        if fits:
            self.members = joined

    @rule(start=numbers)
    def add_backwards_adds_nothing(self, start):
        assert self.set.add(self.at(start + 3), self.at(start), NO_LIMIT) == 0

    @rule(bound=numbers)
    def remove_below(self, bound):
        self.set.remove_below(self.at(bound))
        self.members = {n for n in self.members if n >= bound}

    @rule(value=numbers)
    def find(self, value):
        around = [i for i in intervals_of(self.members) if i[0] <= value < i[1]]
        assert self.set.find(self.at(value)) == (self.interval(*around[0]) if around else None)

    @rule(start=numbers, length=st.integers(-2, 20))
    def overlaps(self, start, length):
        common = self.members & set(range(start, start + length))
        assert self.set.overlaps(self.at(start), self.at(start + length)) == bool(common)

    @rule()
    def release(self):
        self.set.release()
        self.members = set()

    @invariant()
    def intervals_are_maximal_and_sorted(self):
        assert self.set.items == [self.interval(*i) for i in intervals_of(self.members)]

    @invariant()
    def an_empty_set_holds_no_memory(self):
        assert self.set.has_memory == bool(self.members)
        assert len(self.set.items) <= self.set.capacity or not self.members


TestIntervals = IntervalMachine.TestCase
TestIntervals.settings = settings(max_examples=some(50), stateful_step_count=40, deadline=None)


@given(base=st.integers(0, WRAP - 1), order=st.permutations(range(0, 60, 2)))
def test_the_order_of_arrival_does_not_matter(base, order):
    intervals = Intervals()
    for n in order:
        assert intervals.add((base + n) % WRAP, (base + n + 1) % WRAP, NO_LIMIT) == 0
    expected = [((base + n) % WRAP, (base + n + 1) % WRAP) for n in range(0, 60, 2)]
    assert intervals.items == expected


def test_members_may_lie_almost_2_to_the_31_apart():
    intervals = Intervals()
    far = (1 << 31) - 2
    intervals.add(0, 1, NO_LIMIT)
    intervals.add(far, far + 1, NO_LIMIT)
    assert intervals.items == [(0, 1), (far, far + 1)]
    assert intervals.find(far) == (far, far + 1)
    assert not intervals.overlaps(1, far)
    assert intervals.overlaps(1, far + 1)


def test_at_the_limit_joining_succeeds_and_a_new_interval_fails():
    intervals = Intervals()
    intervals.add(0, 10, 2)
    intervals.add(20, 30, 2)
    assert intervals.add(40, 50, 2) == -1
    assert intervals.items == [(0, 10), (20, 30)]
    assert intervals.add(10, 20, 2) == 0
    assert intervals.items == [(0, 30)]


def test_memory_stays_within_the_limit():
    intervals = Intervals()
    for n in range(5):
        assert intervals.add(10 * n, 10 * n + 1, 5) == 0
    assert intervals.capacity == 5


def test_the_largest_limit_can_be_reached():
    intervals = Intervals()
    for n in range(NO_LIMIT):
        assert intervals.add(2 * n, 2 * n + 1, NO_LIMIT) == 0
    assert intervals.add(2 * NO_LIMIT, 2 * NO_LIMIT + 1, NO_LIMIT) == -1
    assert len(intervals.items) == NO_LIMIT
    assert intervals.add(0, 2 * NO_LIMIT, NO_LIMIT) == 0
    assert intervals.items == [(0, 2 * NO_LIMIT)]


@pytest.mark.parametrize("bound", [30, 31, 1000])
def test_removing_everything_frees_the_memory(bound):
    intervals = Intervals()
    intervals.add(10, 30, NO_LIMIT)
    intervals.remove_below(bound)
    assert not intervals.has_memory
    assert intervals.capacity == 0
