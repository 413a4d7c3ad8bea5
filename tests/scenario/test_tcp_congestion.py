"""The congestion window: how it begins and grows. What losses do to it: test_tcp_recovery."""

from __future__ import annotations

from itertools import pairwise

import pytest
from scenario.peer import MS
from scenario.tcp_states import accepted
from scenario.tcp_wire import FAMILIES

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
RTT = 100 * MS


def busy(family=FAMILIES[0], **config):
    """A connection with more to send than its windows allow."""
    peer = accepted(family, rtt=RTT, options={"mss": 1000, "wscale": 7}, **config)
    peer.window = 60_000  # 7.68 MB
    peer.inject("A")
    peer.socket.send(bytes(900_000))
    return peer


@both
def test_the_initial_window_is_ten_segments(family):
    """RFC 6928 section 2."""
    peer = busy(family)
    assert [s.length for s in peer.drop()] == [1000] * 10


def test_slow_start_doubles_the_window_every_round_trip():
    """RFC 5681 section 3.1."""
    peer = busy()
    for window in (10, 20, 40, 80):
        sent = peer.drop()
        assert len(sent) == window
        peer.advance(RTT)
        for segment in sent:
            peer.inject("A", ack=segment.end)


def test_avoidance_adds_a_segment_every_round_trip():
    """RFC 5681 section 3.1, bytes counted (equation 3 is for who cannot)."""
    peer = busy()
    sent = peer.drop()
    for _ in range(3):
        peer.inject("A", ack=1)
    peer.drop()
    peer.inject("A", ack=10_001)
    sent = peer.drop()
    peer.inject("A", ack=sent[0].end)
    assert peer.socket.ca_state == 0
    sent = sent[1:] + peer.drop()
    grown = []
    for _ in range(6):
        peer.advance(RTT)
        for segment in sent:
            peer.inject("A", ack=segment.end)
        sent = peer.drop()
        grown.append(peer.socket.cwnd)
    steps = {later - earlier for earlier, later in pairwise(grown[1:])}
    assert steps == {1000}


def test_one_ack_of_many_segments_counts_for_all_of_them():
    """RFC 3465, as Linux: receivers that coalesce do not slow us down."""
    peer = busy()
    peer.drop()
    peer.inject("A", ack=10_001)
    assert len(peer.drop()) == 20


def test_an_ack_of_text_that_was_never_sent_grows_nothing():
    """RFC 5961 section 5: optimistic ACKs."""
    peer = busy()
    peer.drop()
    peer.inject("A", ack=50_001)
    peer.expect("A", seq=10_001)
    assert peer.socket.cwnd == 10_000


def test_dividing_acks_gains_nothing():
    """RFC 3465 section 2: bytes are counted, not ACKs."""
    peer = busy()
    peer.drop()
    for ack in range(101, 1002, 100):
        peer.inject("A", ack=ack)
    assert peer.socket.cwnd == 11_000


@pytest.mark.parametrize("segments", [1, 4, 20])
def test_the_initial_window_is_a_setting(segments):
    assert len(busy(initial_window=segments).drop()) == segments
