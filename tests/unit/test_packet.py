"""Packets against bytes: no packet is lost, none is shared, and none carries its past along."""

from __future__ import annotations

import pytest
from effort import some
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from native.packet import HEADROOM, MAX, Queue, Slab

SIZES = st.one_of(
    st.integers(0, 4000),
    st.sampled_from([255, 256, 257, 2047, 2048, 2049, 65535, 66048, 66049, 100_000]),
)
CLEARED = (False, 0, 0, 0, 0, 0, False, False, 0, 0, bytes(64))


def content(seed: int, count: int) -> bytes:
    return bytes((seed + i * 5) & 0xFF for i in range(count))


class PacketMachine(RuleBasedStateMachine):
    """Each packet, out or queued, with the bytes that it should hold, its own and the lent."""

    def __init__(self):
        super().__init__()
        self.slab = Slab()
        self.queue = Queue()
        self.out: list = []  # (handle, own bytes, [lent, lent], mark)
        self.queued: list = []  # (own bytes, [lent, lent], mark)

    def pick(self, data):
        return self.out.pop(data.draw(st.integers(0, len(self.out) - 1), label="packet"))

    @rule(size=SIZES, fill=st.integers(0, 300), mark=st.integers(1, 255))
    def new(self, size, fill, mark):
        packet = self.slab.new(size)
        assert packet.tailroom >= size
        assert (packet.headroom, packet.length, packet.metadata) == (HEADROOM, 0, CLEARED)
        packet.scribble()
        own = content(mark, min(fill, size))
        packet.append(own)
        packet.mark(mark)
        self.out.append((packet, own, [b"", b""], mark))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), count=st.integers(1, HEADROOM))
    def prepend(self, data, count):
        packet, own, lent, mark = self.pick(data)
        header = content(count, min(count, packet.headroom))
        packet.prepend(header)
        self.out.append((packet, header + own, lent, mark))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), part=st.integers(0, 1), count=st.integers(0, 3000))
    def lend(self, data, part, count):
        packet, own, lent, mark = self.pick(data)
        lent[part] = content(count, count)
        packet.lend(part, lent[part])
        self.out.append((packet, own, lent, mark))

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def linearize(self, data):
        packet, own, lent, mark = self.pick(data)
        address, room = packet.address, packet.tailroom
        whole = self.slab.linearize(packet)
        assert (whole.address == address) == (len(lent[0] + lent[1]) <= room)
        self.out.append((whole, own + lent[0] + lent[1], [b"", b""], mark))

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def free(self, data):
        self.slab.free(self.pick(data)[0])

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def push(self, data):
        packet, *rest = self.pick(data)
        self.queue.push(packet)
        self.queued.append(rest)

    @rule()
    def pop(self):
        packet = self.queue.pop()
        assert (packet is None) == (not self.queued)
        if packet is not None:
            self.out.append((packet, *self.queued.pop(0)))

    @rule()
    def release_queue(self):
        self.queue.release(self.slab)
        self.queued = []

    @rule()
    def release_slab(self):
        self.slab.release()
        assert self.slab.free_count == [0, 0, 0]

    @invariant()
    def packets_hold_their_bytes(self):
        for packet, own, lent, mark in self.out:
            assert packet.data == own
            assert packet.total == len(own) + len(lent[0]) + len(lent[1])
            assert packet.headroom + packet.length + packet.tailroom == packet.capacity
            assert packet.metadata[1:6] == (mark,) * 5
            assert packet.metadata[-1] == bytes([mark]) * 64

    @invariant()
    def no_packet_is_lost(self):
        assert self.slab.live == len(self.out) + len(self.queued)
        assert self.queue.count == len(self.queued)

    @invariant()
    def no_packet_is_shared(self):
        assert len({packet.address for packet, *_ in self.out}) == len(self.out)

    def teardown(self):
        for packet, *_ in self.out:
            self.slab.free(packet)
        self.queue.release(self.slab)
        assert self.slab.live == 0


TestPackets = PacketMachine.TestCase
TestPackets.settings = settings(max_examples=some(30), stateful_step_count=40, deadline=None)


@pytest.fixture
def slab():
    return Slab()


@pytest.mark.parametrize(
    ("size", "room"),
    [(0, 256), (256, 256), (257, 2048), (2048, 2048), (2049, 66048), (66048, 66048)],
)
def test_the_room_is_that_of_the_smallest_class_that_fits(slab, size, room):
    packet = slab.new(size)
    assert packet.capacity == HEADROOM + room
    slab.free(packet)


def test_the_longest_train_fits_a_cached_packet(slab):
    """An IPv6 train of 40 + 65535 bytes behind a virtio-net header."""
    slab.free(slab.new(12 + 40 + MAX))
    assert sum(slab.free_count) == 1


def test_a_larger_packet_has_exactly_the_room_asked_for_and_is_not_kept(slab):
    packet = slab.new(66049)
    assert packet.capacity == HEADROOM + 66049
    slab.free(packet)
    assert slab.free_count == [0, 0, 0]
    assert slab.live == 0


@pytest.mark.parametrize(
    ("size", "room"), [(0, 256), (257, 2048), (2049, 2049), (66048, 66048), (66049, 66049)]
)
def test_a_snug_packet_has_little_more_room_than_asked_for(slab, size, room):
    packet = slab.new_snug(size)
    assert packet.capacity == HEADROOM + room
    assert packet.headroom == HEADROOM
    slab.free(packet)
    assert slab.live == 0


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0xFFFFFFFF - HEADROOM + 1])
def test_a_size_beyond_32_bits_fails(slab, size):
    assert slab.new(size) is None
    assert slab.new_snug(size) is None
    assert slab.live == 0


def test_a_freed_packet_is_the_next_of_its_class_with_nothing_left_but_its_bytes(slab):
    packet = slab.new(100)
    packet.append(b"old")
    packet.lend(0, b"lent")
    packet.mark(0xFF)
    packet.prepend(b"header")
    address = packet.address
    slab.free(packet)
    again = slab.new(200)
    assert again.address == address
    assert (again.headroom, again.length, again.metadata) == (HEADROOM, 0, CLEARED)
    slab.free(again)


@pytest.mark.parametrize(("size", "kept"), [(1, 256), (2000, 256), (60_000, 64)])
def test_the_packets_kept_after_a_flood_are_bounded(slab, size, kept):
    flood = [slab.new(size) for _ in range(300)]
    for packet in flood:
        slab.free(packet)
    assert sum(slab.free_count) == kept
    assert slab.live == 0
    slab.release()
    assert slab.free_count == [0, 0, 0]


@pytest.mark.parametrize(("lent", "moves"), [(156, False), (157, True)])
def test_linearizing_moves_a_packet_only_when_it_must(slab, lent, moves):
    packet = slab.new(256)
    packet.append(content(1, 100))
    packet.lend(0, content(2, 6))
    packet.lend(1, content(3, lent - 6))
    address = packet.address
    whole = slab.linearize(packet)
    assert (whole.address != address) == moves
    assert whole.data == content(1, 100) + content(2, 6) + content(3, lent - 6)
    slab.free(whole)
    assert slab.free_count == ([1, 1, 0] if moves else [1, 0, 0])


def test_control_is_aligned_for_any_struct(slab):
    packet = slab.new(1)
    assert packet.control_offset % 8 == 0
    slab.free(packet)


def test_a_packet_pushed_twice_leaves_nothing_of_its_first_queue(slab):
    first, second = Queue(), Queue()
    for _ in range(2):
        first.push(slab.new(1))
    second.push(first.pop())
    slab.free(second.pop())
    assert second.pop() is None
    first.release(slab)
    assert slab.live == 0


def test_slabs_that_hand_packets_over_in_a_circle_allocate_none(slab):
    """What one stack sends and another frees: the free one comes back the way it went."""
    wire, other = Slab(), Slab()
    seen = set()
    for _ in range(50):
        packet = slab.new(1500)
        seen.add(packet.address)
        slab.hand_over(wire, packet)
        wire.hand_over(other, packet)
        assert (slab.live, wire.live, other.live) == (0, 0, 1)
        other.free(packet)
    assert len(seen) <= 3


@pytest.mark.parametrize(("size", "kept"), [(100, 256), (100_000, 0)])
def test_what_comes_back_for_packets_handed_over_is_bounded(slab, size, kept):
    taker = Slab()
    for _ in range(2):
        packets = [slab.new(size) for _ in range(600)]
        for packet in [taker.new(size) for _ in range(300)]:
            taker.free(packet)
        for packet in packets:
            slab.hand_over(taker, packet)
        assert sum(slab.free_count) == kept
        assert (slab.live, taker.live) == (0, 600)
        for packet in packets:
            taker.free(packet)
