"""When small writes go out: Nagle, TCP_NODELAY, TCP_CORK, MSG_MORE; what a full segment is; PSH."""

from __future__ import annotations

import pytest
from scenario.peer import FULL, MS, PLAIN, SACK, SECOND, TIMESTAMPS
from scenario.tcp_states import SHUT_WR, accepted
from scenario.tcp_wire import FAMILIES

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
NODELAY, CORK = (6, 1), (6, 3)


# Nagle


@both
def test_the_first_small_write_goes_at_once(family):
    """RFC 9293 section 3.7.4 (MUST-17, SHLD-7)."""
    peer = accepted(family)
    peer.socket.send(b"a")
    peer.expect_data((1, 2))


@both
def test_a_second_small_write_waits_for_the_ack(family):
    """RFC 9293 section 3.7.4."""
    peer = accepted(family)
    peer.socket.send(b"a")
    peer.expect_data((1, 2))
    for byte in (b"b", b"c", b"d"):
        peer.socket.send(byte)
        peer.expect_nothing()
    peer.inject("A")
    (segment,) = peer.expect_data((2, 5))
    assert segment.data == b"bcd"


def test_waiting_writes_go_as_soon_as_they_fill_a_segment():
    peer = accepted()
    peer.socket.send(b"a")
    peer.drop()
    peer.socket.send(bytes(999))
    peer.expect_nothing()
    peer.socket.send(bytes(2))
    peer.expect_data((2, 1002))
    peer.inject("A")
    peer.expect_data((1002, 1003))


def test_a_small_tail_behind_full_segments_is_not_held():
    """As Linux (Minshall): only behind another small segment, else each write would wait."""
    peer = accepted()
    peer.socket.send(bytes(2500))
    peer.expect_data((1, 1001), (1001, 2001), (2001, 2501))
    peer.socket.send(bytes(2500))
    peer.expect_data((2501, 3501), (3501, 4501))
    peer.inject("A", ack=2501)
    peer.expect_data((4501, 5001))


def test_nodelay_sends_everything_at_once():
    """RFC 9293 section 3.7.4 (MUST-17): the application may turn Nagle off."""
    peer = accepted()
    peer.socket.set_option(*NODELAY, 1)
    for n in range(1, 6):
        peer.socket.send(b"x")
        peer.expect_data((n, n + 1))


def test_turning_nodelay_on_sends_what_waits():
    peer = accepted()
    peer.socket.send(b"a")
    peer.drop()
    peer.socket.send(b"b")
    peer.expect_nothing()
    peer.socket.set_option(*NODELAY, 1)
    peer.expect_data((2, 3))


def test_the_last_write_before_a_close_is_not_held():
    peer = accepted()
    peer.socket.send(b"a")
    peer.drop()
    peer.socket.send(b"b")
    peer.socket.shutdown(SHUT_WR)
    assert peer.expect("FA", seq=2).data == b"b"


def test_nagle_forgets_small_segments_that_are_long_acknowledged():
    peer = accepted(options=FULL)
    peer.inject("A", window=65535)
    for _ in range(3):
        peer.send(10)
        peer.send(988 * 4)
    peer.socket.send(bytes(988 + 5))
    assert [s.length for s in peer.drop()] == [988, 5]


@pytest.mark.parametrize(
    ("options", "payload"), [(PLAIN, 1000), (TIMESTAMPS, 988), (SACK, 1000), (FULL, 988)]
)
def test_a_full_segment_is_the_mss_without_the_options_that_it_carries(options, payload):
    """RFC 6691 section 3.2. Nagle compares with it: a bulk of full segments waits for no ACK."""
    peer = accepted(options=options)
    assert peer.socket.smss == payload
    peer.socket.send(bytes(payload * 5))
    assert [s.length for s in peer.drop()] == [payload] * 5
    peer.socket.send(bytes(payload))
    assert [s.length for s in peer.drop()] == [payload]


def test_sack_blocks_make_segments_smaller_too():
    """RFC 6691 section 3.2."""
    peer = accepted(options=FULL)
    peer.inject("A", seq=1001, data=b"beyond a hole")
    peer.expect("A", sack=[(1001, 1014)])
    peer.socket.send(bytes(988 * 2))
    segments = peer.drop()
    assert [s.length for s in segments] == [976, 976, 24]
    assert all(len(s.raw) <= 1000 + 40 for s in segments)
    assert all(s.sack == [(1001, 1014)] for s in segments)


# Cork and MSG_MORE


def test_cork_holds_what_does_not_fill_a_segment():
    """tcp(7)."""
    peer = accepted()
    peer.socket.set_option(*CORK, 1)
    peer.socket.send(bytes(600))
    peer.expect_nothing()
    peer.socket.send(bytes(600))
    peer.expect_data((1, 1001))
    peer.inject("A")
    peer.expect_nothing()
    peer.socket.set_option(*CORK, 0)
    peer.expect_data((1001, 1201))


def test_cork_wins_over_nodelay():
    """tcp(7): both may be on; cork holds."""
    peer = accepted()
    peer.socket.set_option(*NODELAY, 1)
    peer.socket.set_option(*CORK, 1)
    peer.socket.send(b"x")
    peer.expect_nothing()


@pytest.mark.parametrize("how", ["cork", "more"])
def test_nothing_is_held_longer_than_a_retransmission_timeout(how):
    """tcp(7) says 200 ms; Linux waits at least so long."""
    peer = accepted(rtt=100 * MS)
    if how == "cork":
        peer.socket.set_option(*CORK, 1)
    peer.socket.send(b"forgotten", more=how == "more")
    peer.advance(300 * MS - 1)
    peer.expect_nothing()
    peer.advance(1)
    peer.expect_data((1, 10))
    peer.advance(SECOND)
    assert [(s.seq, s.end) for s in peer.drop()] == [(1, 10)] * 2  # and repeated like any other


def test_close_pulls_the_cork():
    peer = accepted()
    peer.socket.set_option(*CORK, 1)
    peer.socket.send(b"x")
    peer.socket.close()
    assert peer.expect("FA").data == b"x"


def test_more_joins_with_the_next_write():
    """send(2): MSG_MORE."""
    peer = accepted()
    peer.socket.send(b"head", more=True)
    peer.expect_nothing()
    peer.socket.send(b"body")
    assert peer.expect("A", seq=1).data == b"headbody"


def test_more_does_not_hold_full_segments():
    peer = accepted()
    peer.socket.send(bytes(2500), more=True)
    peer.expect_data((1, 1001), (1001, 2001))


# PSH


def test_psh_marks_the_end_of_what_was_written():
    """RFC 9293 section 3.9.1.2 (MUST-61): the last segment of the queue."""
    peer = accepted()
    peer.socket.send(bytes(2500))
    assert ["P" in s.flags for s in peer.drop()] == [False, False, True]


def test_an_ack_and_a_syn_have_no_psh():
    peer = accepted()
    peer.inject("A", data=b"x")
    assert "P" not in peer.expect("A").flags
