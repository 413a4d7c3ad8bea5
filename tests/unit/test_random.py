"""Random numbers: a keyed sequence, the same for the same seed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from native.flow import siphash
from native.random import Generator

words = st.integers(0, (1 << 64) - 1)


@given(k0=words, k1=words)
def test_the_sequence_is_siphash_of_a_counter(k0, k1):
    generator = Generator(k0, k1)
    expected = [siphash(k0, k1, n.to_bytes(8, "little")) for n in range(5)]
    assert [generator.next() for _ in range(5)] == expected


@pytest.mark.parametrize("other", [(1, 3), (2, 2), (2, 1)])
def test_each_word_of_the_seed_counts(other):
    assert Generator(1, 2).next() != Generator(*other).next()


@given(k0=words, bound=st.integers(1, (1 << 32) - 1))
def test_below_is_below_its_bound(k0, bound):
    generator = Generator(k0, 0)
    assert all(generator.below(bound) < bound for _ in range(20))


def test_below_nothing_is_nothing():
    assert Generator(1, 2).below(0) == 0


def test_below_gives_each_number_about_as_often():
    generator = Generator(5, 6)
    seen = Counter(generator.below(10) for _ in range(100_000))
    assert sorted(seen) == list(range(10))
    assert all(9_600 < count < 10_400 for count in seen.values())  # 4 sigma
