"""When we acknowledge: at once, after every second segment, after 40 ms, or with an answer."""

from __future__ import annotations

import pytest
from scenario.peer import FULL, MS, SECOND
from scenario.tcp_states import accepted, connected
from scenario.tcp_wire import FAMILIES

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
QUICKACK = (6, 12)
DELAY = 40 * MS


def unhurried(family=FAMILIES[0], **config):
    """A connection whose quick ACKs are spent: 20 segments have come, all is read."""
    peer = accepted(family, **config)
    for _ in range(20):
        peer.inject("A", data=bytes(1000))
        peer.advance(100 * MS)
        peer.socket.receive()
    peer.drop()
    return peer


@both
def test_the_first_segments_are_acknowledged_at_once(family):
    """As Linux: a sender in slow start needs its ACKs; up to 16."""
    peer = accepted(family)
    for n in range(1, 17):
        peer.inject("A", data=bytes(100))
        peer.expect("A", ack=1 + 100 * n)
    peer.inject("A", data=bytes(100))
    peer.expect_nothing()


@both
def test_later_a_single_segment_is_acknowledged_after_40_ms(family):
    """RFC 9293 section 3.8.6.3 (MUST-40: below 0.5 s); the time is Linux's."""
    peer = unhurried(family)
    peer.inject("A", data=bytes(1000))
    peer.advance(DELAY - 1)
    peer.expect_nothing()
    peer.advance(1)
    peer.expect("A", ack=peer.snd_nxt)
    assert peer.host.counters["tcp_delayed_acks"] >= 1


def test_the_delay_counts_from_the_first_unacknowledged_byte():
    peer = unhurried()
    peer.inject("A", data=b"a")
    peer.advance(DELAY - 10 * MS)
    peer.inject("A", data=b"b")
    peer.advance(10 * MS)
    peer.expect("A", ack=peer.snd_nxt)
    peer.advance(SECOND)
    peer.expect_nothing()


@both
def test_every_second_full_segment_is_acknowledged_at_once(family):
    """RFC 9293 section 3.8.6.3 (SHLD-19), RFC 5681 section 4.2."""
    peer = unhurried(family)
    for n in range(1, 11):
        peer.inject("A", data=bytes(1000))
        sent = peer.drop()
        assert len(sent) == (n + 1) % 2, n


def test_a_batch_is_acknowledged_once():
    """design.md section 4: output happens once per batch."""
    peer = unhurried()
    for _ in range(10):
        peer.inject("A", data=bytes(1000))
    peer.expect("A", ack=peer.snd_nxt)
    peer.expect_nothing()


def test_an_answer_carries_the_ack():
    """RFC 9293 section 3.8.6.3: that is what the delay is for."""
    peer = unhurried()
    peer.inject("A", data=b"question")
    peer.advance(10 * MS)
    peer.socket.send(b"answer")
    peer.expect("A", ack=peer.snd_nxt, data=b"answer")
    peer.advance(100 * MS)
    peer.expect_nothing()


def test_who_answers_at_once_sends_no_bare_acks():
    """As Linux's ping-pong mode: request and response, one segment each, from the second on."""
    peer = accepted()
    for _ in range(5):
        peer.inject("A", data=b"question")
        peer.socket.receive()
        peer.socket.send(b"answer")
        peer.expect("A", data=b"answer", ack=peer.snd_nxt)
        peer.expect_nothing()
        peer.advance(20 * MS)
    peer.inject("A", data=b"question")
    peer.expect_nothing()


def test_a_question_that_takes_longer_is_acknowledged_after_40_ms_not_more():
    """No 100 or 200 ms for request and response."""
    peer = accepted()
    peer.inject("A", data=b"question")
    peer.socket.send(b"answer")
    peer.drop()
    peer.inject("A", data=b"hard question")
    peer.advance(DELAY)
    peer.expect("A", ack=peer.snd_nxt, data=b"")


def test_a_sender_of_bulk_that_gets_acks_only_still_acknowledges_at_once():
    """It is not interactive: ACKs are not text."""
    peer = accepted()
    for _ in range(5):
        peer.send(5000)
    peer.advance(10 * MS)
    peer.inject("A", data=b"thanks")
    peer.expect("A", ack=peer.snd_nxt)


def test_quickack_sends_the_ack_that_is_delayed():
    """tcp(7): TCP_QUICKACK switches to and from the mode; as in Linux it is not permanent."""
    peer = unhurried()
    peer.socket.set_option(*QUICKACK, 0)
    peer.inject("PA", data=b"x")
    assert peer.socket.receive() == b"x"
    peer.expect_nothing()
    assert peer.socket.get_option(*QUICKACK) == 0
    peer.socket.set_option(*QUICKACK, 1)
    peer.expect("A", ack=peer.snd_nxt)
    assert peer.socket.get_option(*QUICKACK) == 1


def test_a_reader_who_has_everything_acknowledges_a_pushed_segment():
    """RFC 9293 section 3.8.6.3; as Linux, on a connection that is not interactive."""
    peer = unhurried()
    peer.inject("PA", data=bytes(100))
    peer.expect_nothing()
    peer.socket.receive()
    peer.expect("A", ack=peer.snd_nxt)


@both
def test_text_beyond_a_hole_is_acknowledged_at_once(family):
    """RFC 5681 section 4.2 (RFC 9293 MUST-58): the duplicate ACK that the sender waits for."""
    peer = unhurried(family)
    expected = peer.snd_nxt
    for n in range(1, 5):
        peer.inject("A", seq=expected + 1000 * n, data=bytes(1000))
        peer.expect("A", ack=expected)


def test_each_segment_of_a_batch_beyond_a_hole_draws_its_own_duplicate_ack():
    """RFC 5681 section 4.2: a peer without SACK counts them."""
    peer = unhurried()
    expected = peer.snd_nxt
    for n in range(1, 5):
        peer.inject("A", seq=expected + 1000 * n, data=bytes(1000))
    assert [s.ack for s in peer.drop()] == [expected] * 4


def test_text_that_fills_a_hole_is_acknowledged_at_once():
    """RFC 5681 section 4.2."""
    peer = unhurried()
    expected = peer.snd_nxt
    peer.inject("A", seq=expected + 100, data=bytes(100))
    peer.expect("A", ack=expected)
    peer.inject("A", seq=expected, data=bytes(50))
    peer.expect("A", ack=expected + 50)
    peer.inject("A", seq=expected + 50, data=bytes(50))
    peer.expect("A", ack=expected + 200)


def test_a_fin_is_acknowledged_with_what_follows_or_delayed():
    """As Linux; RFC 9293 section 3.10.7.4 eighth does not say when."""
    for data in (b"x", b""):
        peer = unhurried()
        peer.inject("FA", data=data)
        peer.expect_delayed("A", ack=peer.snd_nxt)
    peer = unhurried()
    peer.inject("FA", data=b"x")
    peer.socket.receive()
    peer.socket.close()
    peer.expect("FA", ack=peer.snd_nxt)
    peer.advance(100 * MS)
    peer.expect_nothing()


def test_the_fin_of_a_stream_without_text_is_acknowledged_at_once():
    """As Linux: nothing says yet how long an answer takes."""
    peer = accepted()
    peer.inject("FA")
    peer.expect("A", ack=2)


def test_a_fin_is_acknowledged_at_once_with_more_than_a_full_segment():
    """As Linux: the FIN counts as a byte beyond it."""
    peer = unhurried()
    peer.inject("FA", data=bytes(1460))
    peer.expect("A", ack=peer.snd_nxt)


def test_a_fin_that_fills_a_hole_is_acknowledged_at_once():
    """RFC 5681 section 4.2."""
    peer = unhurried()
    start = peer.snd_nxt
    peer.inject("FA", seq=start + 10, data=b"x")
    peer.expect("A", ack=start)
    peer.inject("A", seq=start, data=bytes(10))
    peer.expect("A", ack=start + 12)


def test_a_duplicate_is_acknowledged_at_once():
    """RFC 9293 section 3.10.7.4: its sender has not seen our ACK."""
    peer = unhurried()
    peer.inject("A", seq=peer.snd_nxt - 1000, data=bytes(1000))
    peer.expect("A", ack=peer.snd_nxt)


def test_an_ack_is_never_acknowledged():
    """RFC 9293 section 3.10.7.4: only what occupies sequence numbers."""
    peer = accepted(options=FULL)
    for window in (65535, 0, 1, 500, 65535):
        peer.inject("A", window=window)
        peer.expect_nothing()
    peer.advance(SECOND)
    peer.expect_nothing()


def test_small_segments_are_acknowledged_as_they_add_up():
    """RFC 9293 section 3.8.6.3: every second full segment's worth."""
    peer = unhurried()
    acks = 0
    for _ in range(60):
        peer.inject("PA", data=bytes(100))
        acks += len(peer.drop())
    assert 3 <= acks <= 6


def test_the_client_acknowledges_the_handshake_once():
    peer = connected()
    peer.advance(10 * SECOND)
    peer.expect_nothing()


def test_a_full_segment_is_no_larger_than_we_have_announced():
    """RFC 9293 section 3.8.6.3: what is longer is several segments, as in Linux."""
    peer = accepted(receive_buffer=1 << 17)
    for _ in range(20):
        peer.inject("A", data=bytes(3000))
        peer.advance(100 * MS)
        peer.socket.receive(3000)
    peer.drop()
    peer.inject("A", data=bytes(3000))
    peer.expect("A", ack=peer.snd_nxt)


def test_what_a_full_segment_is_the_peer_decides():
    """RFC 9293 section 3.8.6.3: as Linux, the largest that has come, though ours are smaller."""
    peer = accepted(options={"mss": 500})
    for _ in range(20):
        peer.inject("A", data=bytes(1000))
        peer.advance(100 * MS)
        peer.socket.receive()
    peer.drop()
    peer.inject("A", data=bytes(1000))
    peer.expect_delayed("A", ack=peer.snd_nxt)
