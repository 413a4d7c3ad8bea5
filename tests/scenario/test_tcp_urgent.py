"""Urgent data: delivered in line, pointed at, never a reason to lose anything."""

from __future__ import annotations

import pytest
from scenario.peer import MS, SECOND
from scenario.tcp_states import accepted
from scenario.tcp_wire import FAMILIES

READ, URGENT = 0x01, 0x40

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@both
def test_urgent_text_is_delivered_in_line(family):
    """RFC 6093 section 4: no byte is taken out of the stream; reads end before the last one."""
    peer = accepted(family)
    peer.inject("AU", data=b"before!after", urgent=7)
    peer.expect("A", ack=13)
    assert peer.socket.rcv_up - peer.iss == 8
    assert peer.socket.urgent_in
    assert peer.socket.receive() == b"before"
    assert peer.socket.urgent_in
    assert peer.socket.receive() == b"!after"
    assert not peer.socket.urgent_in


def test_the_reader_is_told_at_once_and_until_it_has_read():
    """RFC 9293 section 3.8.5 (MUST-32, MUST-33): by poll, also before the text itself has come."""
    peer = accepted()
    peer.inject("AU", urgent=3)
    assert peer.socket.poll() & (READ | URGENT) == URGENT
    peer.inject("A", data=b"abcd")
    assert peer.socket.poll() & (READ | URGENT) == READ | URGENT
    assert peer.socket.receive() == b"ab"
    assert peer.socket.poll() & URGENT
    assert peer.socket.receive() == b"cd"
    assert not peer.socket.poll() & URGENT


def test_a_pointer_to_what_was_read_tells_nothing():
    """RFC 9293 section 3.8.5: nothing of it is left."""
    peer = accepted()
    peer.inject("A", data=b"abcd")
    assert peer.socket.receive() == b"abcd"
    peer.inject("AU", seq=1, data=b"abcd", urgent=2)
    assert not peer.socket.poll() & URGENT


def test_a_reader_that_wants_nothing_more_is_told_nothing():
    peer = accepted()
    peer.inject("AU", data=b"abcd", urgent=2)
    peer.socket.shutdown(0)
    assert not peer.socket.poll() & URGENT


def test_the_pointer_without_the_flag_means_nothing():
    """RFC 9293 section 3.1."""
    peer = accepted()
    peer.inject("A", data=b"abc", urgent=2)
    assert not peer.socket.urgent_in


def test_the_pointer_only_moves_forward():
    """RFC 9293 section 3.10.7.4 sixth: RCV.UP <- max(RCV.UP,SEG.UP)."""
    peer = accepted()
    peer.inject("AU", data=b"abc", urgent=100)
    peer.inject("AU", data=b"def", urgent=2)
    assert peer.socket.rcv_up - peer.iss == 101


def test_a_pointer_of_zero_or_beyond_the_segment_is_survived():
    """RFC 6093 section 3: whatever middleboxes did to it."""
    peer = accepted()
    for urgent in (0, 1, 65535):
        peer.inject("AU", data=b"x", urgent=urgent)
    peer.inject("AU", urgent=10)
    assert peer.socket.receive() == b"xxx"  # the mark is beyond


def test_urgent_text_beyond_a_hole_is_held_like_any_other():
    peer = accepted()
    peer.inject("AU", seq=4, data=b"def", urgent=1)
    peer.expect("A", ack=1)
    peer.inject("A", seq=1, data=b"abc")
    assert peer.socket.receive() == b"abc"
    assert peer.socket.receive() == b"def"


@both
def test_we_point_one_past_the_urgent_byte(family):
    """RFC 6093 section 3 and RFC 9293 section 3.8.5: what everybody implements."""
    peer = accepted(family)
    peer.socket.send(b"abc", urgent=True)
    segment = peer.expect("AU", seq=1, data=b"abc")
    assert segment.urgent == 3


def test_urgent_text_is_not_held_back():
    """RFC 9293 section 3.8.5: it is to be seen soon."""
    peer = accepted()
    peer.socket.send(b"a")
    peer.drop()
    peer.socket.send(b"!", urgent=True)
    peer.expect("AU", seq=2, urgent=1)


def test_all_segments_up_to_the_urgent_byte_point_at_it():
    """RFC 9293 section 3.8.5."""
    peer = accepted()
    peer.socket.send(bytes(2500), urgent=True)
    assert [(s.seq, "U" in s.flags, s.urgent) for s in peer.drop()] == [
        (1, True, 2500),
        (1001, True, 1500),
        (2001, True, 500),
    ]


def test_once_acknowledged_nothing_is_urgent_any_more():
    peer = accepted()
    peer.socket.send(b"!", urgent=True)
    peer.drop()
    peer.inject("A")
    peer.socket.send(b"calm")
    assert peer.expect("A", seq=2).urgent == 0


def test_urgent_text_is_repeated_as_urgent():
    peer = accepted(rtt=10 * MS)
    peer.socket.send(b"!", urgent=True)
    peer.drop()
    peer.advance(peer.socket.rto)
    peer.expect("AU", seq=1, urgent=1)


def test_urgent_text_waits_for_a_closed_window():
    """RFC 9293 section 3.8.5: the window holds for it too."""
    peer = accepted()
    peer.inject("A", window=0)
    peer.socket.send(b"!", urgent=True)
    peer.advance(100 * MS)
    assert all(not s.data for s in peer.drop())
    peer.inject("A")
    peer.expect("AU", seq=1, urgent=1)


def test_a_window_probe_tells_of_urgent_text_from_where_it_is_heard():
    """RFC 9293 section 3.8.5, as Linux: what is outside of the window is not looked at."""
    peer = accepted()
    peer.inject("A", window=0)
    peer.socket.send(b"now!", urgent=True)
    peer.step()
    peer.expect("AU", seq=1, urgent=4)
    peer.expect("AU", seq=0, urgent=5)
    peer.expect_nothing()


def test_a_bare_ack_points_at_urgent_text_too():
    """RFC 9293 section 3.8.5: also where the text itself cannot be sent yet."""
    peer = accepted()
    peer.inject("A", window=0)
    peer.socket.send(b"now!", urgent=True)
    peer.inject("A", data=b"text", window=0)
    peer.advance(40 * MS)
    assert peer.expect("AU", seq=1, ack=5).urgent == 4


def test_urgent_text_more_than_64_kib_ahead_is_pointed_at_later():
    """RFC 9293 section 3.8.5: the pointer has 16 bits."""
    peer = accepted(options={"mss": 1000, "wscale": 7}, initial_window=100)
    peer.inject("A", window=60_000)
    peer.socket.send(bytes(70_000), urgent=True)
    segments = peer.drop()
    assert len(segments) == 70
    for segment in segments:
        ahead = 70_001 - segment.seq
        assert ("U" in segment.flags) == (ahead <= 65535)
        if "U" in segment.flags:
            assert segment.urgent == ahead


def test_urgent_flags_after_the_peers_fin_are_ignored():
    """RFC 9293 section 3.10.7.4 sixth: this should not occur."""
    peer = accepted()
    peer.inject("FA")
    peer.drop()
    peer.inject("AU", urgent=5)
    peer.advance(SECOND)
    assert not peer.socket.urgent_in
