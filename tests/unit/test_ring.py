"""The byte ring against a list of bytes, of which some are not known."""

from __future__ import annotations

import pytest
from effort import some
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from native.ring import ByteRing


class RingMachine(RuleBasedStateMachine):
    """`known[i]` is the byte at offset i from head, None where nothing was ever put."""

    def __init__(self):
        super().__init__()
        self.ring = ByteRing()
        self.known: list[int | None] = []
        self.length = 0

    @rule(size=st.integers(0, 9000))
    def reserve(self, size):
        assert self.ring.reserve(size) == 0
        assert self.ring.capacity >= size
        self.known += [None] * (self.ring.capacity - len(self.known))

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def put_anywhere(self, data):
        offset = data.draw(st.integers(0, len(self.known)), label="offset")
        self.put(offset, data.draw(st.integers(0, len(self.known) - offset), label="count"))

    @precondition(lambda self: self.length < len(self.known))
    @rule(data=st.data())
    def append(self, data):
        count = data.draw(st.integers(0, len(self.known) - self.length), label="count")
        self.put(self.length, count)
        self.ring.extend(count)
        self.length += count

    def put(self, offset, count):
        content = bytes((offset * 7 + i * 3 + count) & 0xFF for i in range(count))
        self.ring.put(offset, content)
        self.known[offset : offset + count] = content

    @rule(data=st.data())
    def consume(self, data):
        count = data.draw(st.integers(0, self.length), label="count")
        self.ring.consume(count)
        self.length -= count
        self.known = self.known[count:] + [None] * count

    @rule()
    def release(self):
        self.ring.release()
        self.known = []
        self.length = 0

    @rule(data=st.data())
    def spans_hold_what_get_returns(self, data):
        offset = data.draw(st.integers(0, len(self.known)), label="offset")
        count = data.draw(st.integers(0, len(self.known) - offset), label="count")
        first, second = self.ring.spans(offset, count)
        assert (first is None) == (count == 0)
        assert second is None or second
        assert (first or b"") + (second or b"") == self.ring.get(offset, count)

    @invariant()
    def bytes_are_as_put(self):
        stored = self.ring.get(0, len(self.known))
        assert all(k is None or k == s for k, s in zip(self.known, stored, strict=True))

    @invariant()
    def size_is_that_of_the_model(self):
        assert self.ring.length == self.length
        assert self.ring.capacity == len(self.known)


TestRing = RingMachine.TestCase
TestRing.settings = settings(max_examples=some(30), stateful_step_count=30, deadline=None)


def test_a_new_ring_has_no_memory_and_empty_operations_are_harmless():
    ring = ByteRing()
    ring.put(0, b"")
    ring.consume(0)
    assert ring.get(0, 0) == b""
    assert ring.spans(0, 0) == [None, None]
    assert ring.reserve(0) == 0
    assert ring.capacity == 0


@pytest.mark.parametrize(
    ("size", "capacity"),
    [(1, 2048), (2048, 2048), (2049, 4096), (65536, 65536), (64 << 20, 64 << 20)],
)
def test_capacity_is_the_next_power_of_two_from_2048(size, capacity):
    ring = ByteRing()
    assert ring.reserve(size) == 0
    assert ring.capacity == capacity


def test_reserving_less_than_there_is_changes_nothing():
    ring = ByteRing()
    ring.reserve(5000)
    ring.reserve(10)
    assert ring.capacity == 8192


def test_growing_keeps_out_of_order_bytes_across_the_seam():
    ring = ByteRing()
    ring.reserve(2048)
    ring.extend(2000)
    ring.consume(2000)
    ring.put(0, b"stored")
    ring.extend(6)
    ring.put(100, b"out of order")  # lies at the start of the memory, before head
    assert ring.reserve(2049) == 0
    assert ring.get(0, 6) == b"stored"
    assert ring.get(100, 12) == b"out of order"
    assert ring.length == 6


@pytest.mark.parametrize("size", [(1 << 30) + 1, 1 << 31, 0xFFFFFFFF])
def test_an_absurd_size_fails_and_leaves_the_ring_alone(size):
    ring = ByteRing()
    ring.reserve(2048)
    ring.put(0, b"kept")
    assert ring.reserve(size) == -1
    assert ring.capacity == 2048
    assert ring.get(0, 4) == b"kept"


def test_a_released_ring_has_no_memory_and_works_again():
    ring = ByteRing()
    ring.reserve(2048)
    ring.extend(10)
    ring.consume(5)
    ring.release()
    assert (ring.capacity, ring.length) == (0, 0)
    ring.reserve(1)
    ring.put(0, b"again")
    assert ring.get(0, 5) == b"again"


@pytest.mark.parametrize("head", [0, 3, 6, 7, 2**32 - 1])
def test_a_lent_pattern_repeats_for_ever(head):
    ring = ByteRing()
    pattern = b"abcdefg"
    ring.lend(pattern, 20, head)
    position = head % 7
    for _ in range(30):
        ring.extend(40)
        for offset in (0, 6, 20, 39):
            start = (position + offset) % 7
            assert ring.spans(offset, 20) == [(pattern * 5)[start : start + 20], None]
        ring.consume(40)
        position += 40
    ring.release()
    assert (ring.length, ring.capacity) == (0, 0)
    ring.reserve(10)
    ring.put(0, b"its own")
    assert ring.get(0, 7) == b"its own"


def test_a_large_ring_leaves_its_memory_to_the_next_one_that_fits():
    ring = ByteRing()
    ring.reserve(100_000)
    ring.put(0, b"of the one before")
    ring.release()
    assert ring.capacity == 0
    assert ring.kept == [131072]
    ring.reserve(2048)
    assert ring.capacity == 2048  # rather than all that
    ring.put(0, b"stays")
    ring.reserve(40_000)
    assert ring.capacity == 131072
    assert ring.get(0, 5) == b"stays"
    assert ring.kept == []


def test_of_several_the_one_given_last_is_taken_first():
    ring = ByteRing()
    for size in (32768, 65536, 262144):
        ring.reserve(size)  # grows, and leaves what it had
    ring.release()
    assert ring.kept == [32768, 65536, 262144]
    ring.reserve(32768)
    assert ring.capacity == 262144
    assert ring.kept == [32768, 65536]


def test_growing_leaves_the_smaller_memory():
    ring = ByteRing()
    ring.reserve(32768)
    ring.put(0, b"stays")
    ring.reserve(65536)
    assert ring.kept == [32768]
    assert ring.get(0, 5) == b"stays"


def test_the_smallest_are_kept_too():
    ring = ByteRing()
    for _ in range(3):
        ring.reserve(2048)
        ring.put(0, b"new")
        ring.release()
        assert ring.kept_small == 1
    ring.reserve(2048)
    assert ring.kept_small == 0
    ring.put(0, b"stays")
    ring.reserve(4096)
    assert ring.get(0, 5) == b"stays"
    ring.release()
    assert ring.kept_small == 1
    for _ in range(100):
        ring.give(2048)
    assert ring.kept_small == 64
    assert ring.kept == []


def test_what_is_kept_is_bounded_and_the_oldest_goes():
    rings = ByteRing()
    rings.reserve(8 << 20)
    rings.release()
    assert rings.kept == [8 << 20]
    rings.reserve(16 << 20)
    rings.release()
    assert rings.kept == [8 << 20]  # too much for the pool: freed
    rings.reserve(65536)
    assert rings.kept == []
    rings.release()
    assert rings.kept == [8 << 20]
    for size in (32768, 65536, 131072, 262144, 524288, 1 << 20, 2 << 20):
        rings.give(size)
    assert rings.kept == [32768, 65536, 131072, 262144, 524288, 1 << 20, 2 << 20]
    rings.give(32768)
    assert len(rings.kept) == 8
    rings.give(65536)
    assert rings.kept == [65536, 131072, 262144, 524288, 1 << 20, 2 << 20, 32768, 65536]
