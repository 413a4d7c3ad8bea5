"""What we say about text that arrived out of order: SACK blocks, D-SACK; and its bounds."""

from __future__ import annotations

import pytest
from native.core import CallError
from scenario.peer import FULL, PLAIN, SACK
from scenario.tcp_states import accepted
from scenario.tcp_wire import FAMILIES

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def arrive(peer, *starts, size=100):
    """Text at these places, and what the last of it was answered with."""
    for start in starts:
        peer.inject("A", seq=start, data=bytes(size))
    return peer.drop()[-1]


# SACK blocks


@both
@pytest.mark.parametrize("options", [SACK, FULL], ids=["sack", "full"])
def test_text_beyond_a_hole_is_reported(family, options):
    """RFC 2018 section 3."""
    answer = arrive(accepted(family, options=options), 501)
    assert (answer.ack, answer.sack) == (1, [(501, 601)])


def test_without_the_permission_nothing_is_reported():
    """RFC 2018 section 2."""
    answer = arrive(accepted(options=PLAIN), 501)
    assert (answer.ack, answer.sack) == (1, [])


def test_the_newest_arrival_comes_first():
    """RFC 2018 section 4 (a)."""
    peer = accepted(options=SACK)
    assert arrive(peer, 1001).sack == [(1001, 1101)]
    assert arrive(peer, 2001).sack == [(2001, 2101), (1001, 1101)]
    assert arrive(peer, 501).sack == [(501, 601), (2001, 2101), (1001, 1101)]
    assert arrive(peer, 1101).sack == [(1001, 1201), (501, 601), (2001, 2101)]


def test_the_block_of_the_newest_is_whole():
    """RFC 2018 section 4 (a): contiguous with everything that is held beside it."""
    peer = accepted(options=SACK)
    assert arrive(peer, 501, 701, 601).sack == [(501, 801)]


def test_what_was_reported_is_repeated():
    """RFC 2018 section 4 (c): so that lost ACKs do no harm."""
    peer = accepted(options=SACK)
    arrive(peer, 1001, 2001)
    for n in range(6):
        answer = arrive(peer, 3001 + 100 * n)
        assert answer.sack == [(3001, 3101 + 100 * n), (2001, 2101), (1001, 1101)], n


def test_as_many_blocks_as_fit_are_reported():
    """RFC 2018 section 4 (b): four, or three beside timestamps."""
    starts = [1001, 2001, 3001, 4001, 5001, 6001]
    blocks = [(start, start + 100) for start in reversed(starts)]
    assert arrive(accepted(options=SACK), *starts).sack == blocks[:4]
    assert arrive(accepted(options=FULL), *starts).sack == blocks[:3]


def test_blocks_that_were_filled_make_room_for_others():
    """RFC 2018 section 4 (b)."""
    peer = accepted(options=SACK)
    arrive(peer, 1001, 2001, 501)
    answer = arrive(peer, 1, size=500)
    assert (answer.ack, answer.sack) == (601, [(2001, 2101), (1001, 1101)])


@both
def test_nothing_below_the_ack_is_reported(family):
    """RFC 2018 section 4; but for what has come twice (RFC 2883)."""
    peer = accepted(family, options=FULL)
    arrive(peer, 501, 1001)
    answer = arrive(peer, 1, size=550)
    assert (answer.ack, answer.sack) == (601, [(501, 551), (1001, 1101)])
    answer = arrive(peer, 601, size=400)
    assert (answer.ack, answer.sack) == (1101, [])


def test_data_segments_carry_blocks_too():
    """RFC 2018 section 4: in all segments while there are holes."""
    peer = accepted(options=SACK)
    arrive(peer, 501)
    peer.socket.send(b"text")
    assert peer.expect("A", data=b"text").sack == [(501, 601)]
    peer.inject("A")
    peer.socket.shutdown(1)
    assert peer.expect("FA").sack == [(501, 601)]


# D-SACK


@both
def test_text_that_came_twice_is_reported_first(family):
    """RFC 2883 section 4: below the ACK."""
    peer = accepted(family, options=SACK)
    arrive(peer, 1)
    answer = arrive(peer, 1)
    assert (answer.ack, answer.sack) == (101, [(1, 101)])
    assert arrive(peer, 101).sack == []


def test_a_duplicate_beside_a_hole_is_followed_by_what_is_held():
    """RFC 2883 section 4.1.1: the first block is the duplicate, the others as ever."""
    peer = accepted(options=SACK)
    arrive(peer, 1, 501)
    answer = arrive(peer, 1)
    assert (answer.ack, answer.sack) == (101, [(1, 101), (501, 601)])


def test_a_duplicate_beyond_a_hole_is_followed_by_the_block_around_it():
    """RFC 2883 section 4.2.1, example 4."""
    peer = accepted(options=SACK)
    arrive(peer, 501, 601, 701)
    answer = arrive(peer, 601)
    assert answer.sack == [(601, 701), (501, 801)]


def test_only_the_part_that_came_twice_is_reported_below_the_ack():
    """RFC 2883 section 4.2.2."""
    peer = accepted(options=SACK)
    arrive(peer, 1)
    answer = arrive(peer, 51)
    assert (answer.ack, answer.sack) == (151, [(51, 101)])


@pytest.mark.parametrize(
    ("start", "duplicate"), [(551, (551, 601)), (451, (501, 551)), (451, (501, 601))]
)
def test_only_the_part_that_came_twice_is_reported_beyond_a_hole(start, duplicate):
    """RFC 2883 section 4.2.2."""
    peer = accepted(options=SACK)
    arrive(peer, 501)
    size = 100 if duplicate[1] != 601 or start == 551 else 200
    answer = arrive(peer, start, size=size)
    whole = (min(start, 501), max(start + size, 601))
    assert answer.sack == [duplicate, whole]


def test_a_segment_over_two_blocks_reports_the_first_duplicate():
    """RFC 2883 section 4: at most one D-SACK block."""
    peer = accepted(options=SACK)
    arrive(peer, 501, 701)
    answer = arrive(peer, 451, size=400)
    assert answer.sack == [(501, 601), (451, 851)]


def test_a_segment_over_old_text_and_a_block_reports_the_first_duplicate():
    """RFC 2883 section 4, as Linux: the one below the ACK that was."""
    peer = accepted(options=SACK)
    arrive(peer, 1, 501)
    answer = arrive(peer, 51, size=600)
    assert (answer.ack, answer.sack) == (651, [(51, 101)])


def test_a_duplicate_is_reported_once():
    """RFC 2883 section 4: in the one ACK that it draws."""
    peer = accepted(options=SACK)
    arrive(peer, 1)
    assert arrive(peer, 1).sack == [(1, 101)]
    peer.socket.send(b"x")
    assert peer.expect("A").sack == []


def test_no_more_than_three_blocks_beside_timestamps_even_with_a_duplicate():
    peer = accepted(options=FULL)
    arrive(peer, 1001, 2001, 3001, 4001)
    assert arrive(peer, 2001).sack == [(2001, 2101), (2001, 2101), (4001, 4101)]


# Reassembly


@both
def test_shuffled_text_arrives_in_order(family):
    peer = accepted(family, options=SACK)
    data = bytes(n % 251 for n in range(5000))
    for start in (4000, 1000, 3000, 2000, 0):
        peer.inject("A", seq=1 + start, data=data[start : start + 1000])
    assert peer.drop()[-1].ack == 5001
    assert peer.socket.receive() == data
    assert not peer.socket.busy


def test_overlapping_text_is_taken_once():
    peer = accepted(options=SACK)
    data = bytes(n % 251 for n in range(1000))
    for start, end in ((300, 600), (500, 900), (100, 400), (850, 1000), (0, 150)):
        peer.inject("A", seq=1 + start, data=data[start:end])
    assert peer.socket.receive() == data
    assert peer.drop()[-1].ack == 1001


def test_nothing_beyond_a_hole_is_readable():
    peer = accepted()
    peer.inject("A", seq=501, data=bytes(100))
    with pytest.raises(CallError):
        peer.socket.receive()
    assert not peer.socket.poll() & 1


def test_held_text_survives_reading_and_growing():
    """The ring grows and wraps around with text beyond a hole in it."""
    peer = accepted(receive_buffer=65536)
    data = bytes(n % 251 for n in range(60_000))
    peer.inject("A", seq=1, data=data[:1000])
    peer.inject("A", seq=3001, data=data[3000:4000])
    assert peer.socket.receive(500) == data[:500]
    peer.inject("A", seq=20_001, data=data[20_000:21_000])
    peer.inject("A", seq=1001, data=data[1000:3000])
    assert peer.socket.receive() == data[500:4000]
    peer.inject("A", seq=4001, data=data[4000:20_000])
    assert peer.socket.receive() == data[4000:21_000]


def test_the_number_of_holes_is_bounded():
    """design.md, idea 5; what does not fit is dropped and comes again."""
    peer = accepted(options=SACK, max_out_of_order=4)
    for n in range(1, 11):
        peer.inject("A", seq=1 + 20 * n, data=bytes(10))
    assert peer.host.counters["tcp_drop_out_of_order_full"] == 6
    answers = peer.drop()
    assert len(answers) == 10
    assert answers[-1].sack[0] == (81, 91)
    # What touches a block still fits, and filling the holes makes room.
    peer.inject("A", seq=91, data=bytes(10))
    assert (81, 101) in peer.expect("A").sack
    peer.inject("A", seq=1, data=bytes(100))
    assert peer.expect("A").ack == 101
    peer.inject("A", seq=201, data=bytes(10))
    assert peer.expect("A").sack == [(201, 211)]


def test_memory_for_held_text_is_bounded_by_the_window():
    peer = accepted(receive_buffer=8192)
    window = peer.socket.rcv_edge - peer.socket.rcv_nxt
    for n in range(window // 10):
        peer.inject("A", seq=1 + 10 * n + 5, data=bytes(5))
    assert peer.socket.ring_memory <= 2 * 8192
    peer.drop()


@pytest.mark.parametrize("hole", [0, 100], ids=["in order", "beyond a hole"])
def test_text_beyond_the_window_is_cut_off(hole):
    """RFC 9293 section 3.10.7.4: "trimming off any portions that lie outside the window"."""
    peer = accepted(receive_buffer=8192, options=SACK)
    window = peer.socket.rcv_edge - peer.socket.rcv_nxt
    peer.inject("A", seq=1 + hole, data=bytes(window + 20_000))
    assert peer.socket.ring_memory <= 2 * 8192
    answer = peer.expect("A", ack=1 if hole else 1 + window)
    if hole:
        assert answer.sack == [(1 + hole, 1 + window)]
        peer.inject("A", seq=1, data=bytes(hole))
        peer.drop()
    assert len(peer.socket.receive(1 << 20)) == window


def test_the_fin_is_part_of_a_duplicate():
    """RFC 2883: it has a sequence number of its own."""
    peer = accepted(options=SACK)
    peer.inject("FA", data=b"text")
    peer.drop()
    peer.inject("FA", seq=1, data=b"text")
    assert peer.expect("A", ack=6).sack == [(1, 6)]
    peer.inject("FA", seq=5)
    assert peer.expect("A", ack=6).sack == [(5, 6)]


def test_what_lies_half_the_numbers_away_is_no_duplicate():
    peer = accepted(options=SACK)
    peer.inject("A", seq=(1 << 31) - 10, data=bytes(1000))
    assert peer.expect("A", ack=1).sack == []


@pytest.mark.parametrize(("length", "duplicate"), [(1460, (1001, 1461)), (3000, (1001, 2001))])
def test_what_fills_a_hole_and_more_is_in_part_a_duplicate(length, duplicate):
    """RFC 2883 section 4.2."""
    peer = accepted(options=SACK)
    peer.inject("A", seq=1001, data=bytes(1000))
    peer.drop()
    peer.inject("A", seq=1, data=bytes(length))
    answer = peer.expect("A", ack=max(2001, 1 + length))
    assert answer.sack == [duplicate]


def test_nothing_is_reported_beyond_the_fin():
    """RFC 9293 section 3.10.7.4 eighth: the stream ends there, whatever came before."""
    peer = accepted(options=SACK)
    peer.inject("A", seq=1001, data=bytes(1000))
    peer.drop()
    peer.inject("FA", seq=1)
    assert peer.expect("A", ack=2).sack == []
    assert peer.state == "CLOSE-WAIT"
