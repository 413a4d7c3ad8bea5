"""Samples of the delivery rate (draft-cheng-iccrg-delivery-rate-estimation-02)."""

from __future__ import annotations

import pytest
from scenario.peer import MS
from scenario.tcp_states import accepted

RTT = 100 * MS
SACK = {"mss": 1000, "wscale": 7, "sack_ok": True}


@pytest.fixture
def peer():
    """A connection with segments of 1000 bytes and a window of 20 of them."""
    peer = accepted(rtt=RTT, options=SACK, initial_window=20, slow_start_after_idle=False)
    peer.window = 60_000
    peer.inject("A")
    return peer


def write(peer, segments):
    """What leaves of so many segments' worth."""
    peer.socket.send(bytes(1000 * segments))
    return peer.drop()


def test_the_rate_is_what_arrives_in_a_round_trip(peer):
    """Section 2.2: delivered / elapsed."""
    sent = write(peer, 10)
    peer.advance(RTT)
    peer.inject("A", ack=sent[-1].end)
    assert peer.socket.delivery_rate == 10_000 * 10


def test_each_ack_looks_back_a_round_trip(peer):
    """Section 2.2: from the time of the last delivery before the segment was sent."""
    first = write(peer, 10)
    peer.advance(RTT // 2)
    second = write(peer, 10)
    peer.advance(RTT // 2)
    peer.inject("A", ack=first[-1].end)
    assert peer.socket.delivery_rate == 10_000 * 10
    peer.advance(RTT // 2)
    peer.inject("A", ack=second[-1].end)
    assert peer.socket.delivery_rate == 20_000 * 1000 // 150


def test_acks_that_come_in_a_lump_do_not_raise_the_rate(peer):
    """Section 2.2.2: over a time shorter than that of sending nothing can have been delivered."""
    first = write(peer, 2)
    peer.advance(80 * MS)
    second = write(peer, 2)
    peer.advance(20 * MS)
    peer.inject("A", ack=first[-1].end)
    third = write(peer, 10)
    peer.advance(RTT)
    peer.inject("A", ack=second[-1].end)
    peer.advance(RTT)
    peer.inject("A", ack=third[0].end)
    before = peer.socket.delivery_rate
    peer.inject("A", ack=third[-1].end)
    assert before <= 12_000 * 5
    assert peer.socket.delivery_rate <= 12_000 * 5


def test_selective_acknowledgments_count(peer):
    """Section 3.3: whatever the peer has, counts as delivered."""
    sent = write(peer, 10)
    peer.advance(RTT)
    peer.inject("A", ack=sent[0].seq, sack=[(sent[1].seq, sent[-1].end)])
    assert peer.socket.delivery_rate == 9_000 * 10


def test_what_was_sent_again_is_timed_anew(peer):
    """Section 3.2: transmitting or retransmitting."""
    sent = write(peer, 10)
    peer.advance(RTT)
    peer.inject("A", ack=sent[0].seq, sack=[(sent[1].seq, sent[-1].end)])
    assert peer.drop()[0].seq == sent[0].seq
    peer.advance(RTT)
    peer.inject("A", ack=sent[-1].end)
    # One segment in the second round trip.
    assert peer.socket.delivery_rate == 1000 * 10


def test_a_sample_that_the_application_limits_does_not_lower_the_rate(peer):
    """Sections 2.3 and 3.4, as Linux's tcpi_delivery_rate."""
    sent = write(peer, 20)
    peer.advance(RTT)
    peer.inject("A", ack=sent[-1].end)
    known = peer.socket.delivery_rate
    for _ in range(5):
        sent = write(peer, 1)
        assert peer.socket.app_limited
        peer.advance(RTT)
        peer.inject("A", ack=sent[-1].end)
    assert peer.socket.delivery_rate == known == 20_000 * 10


def test_one_that_the_network_limits_does(peer):
    """Half of a full window arrives in twice the time."""
    peer.socket.send(bytes(60_000))
    sent = peer.drop()
    peer.advance(RTT)
    peer.inject("A", ack=sent[-1].end)
    sent = peer.drop()
    assert not peer.socket.app_limited
    peer.advance(2 * RTT)
    peer.inject("A", ack=sent[9].end)
    assert peer.socket.delivery_rate == 10_000 * 5
    assert not peer.socket.rate_app_limited


def test_a_bubble_ends_when_it_has_arrived(peer):
    """Section 3.3: what is sent after it is not application-limited."""
    sent = write(peer, 1)
    peer.socket.send(bytes(40_000))
    assert peer.socket.app_limited
    sent += peer.drop()
    peer.advance(RTT)
    peer.inject("A", ack=sent[0].end)
    peer.inject("A", ack=sent[1].end)
    assert not peer.socket.app_limited


def test_a_window_that_is_full_is_not_limited_by_the_application(peer):
    """Section 3.4: only if cwnd has room."""
    write(peer, 20)
    first = peer.socket.app_limited
    peer.socket.send(bytes(1000))
    assert peer.socket.app_limited == first


def test_reneging_gives_no_sample(peer):
    """RFC 2018 section 8: what was delivered is not known any more."""
    sent = write(peer, 10)
    peer.advance(RTT)
    peer.inject("A", ack=sent[0].seq, sack=[(sent[0].end, sent[-1].end)])
    peer.drop()
    peer.inject("A", ack=sent[2].end)
    known = peer.socket.delivery_rate
    peer.advance(RTT)
    assert "tcp_sack_reneged" in peer.host.counters
    peer.drop()
    peer.inject("A", ack=sent[3].end)
    assert peer.socket.delivery_rate == known
