"""A window that is not in use does not grow, and is forgotten in time (RFC 7661, as Linux)."""

from __future__ import annotations

import pytest
from scenario.peer import MS, SECOND
from scenario.tcp_states import accepted

RTT = 100 * MS


def opened(**config):
    """A connection whose peer takes 7 MB."""
    peer = accepted(rtt=RTT, options={"mss": 1000, "wscale": 7}, send_buffer=1 << 21, **config)
    peer.window = 60_000
    peer.inject("A")
    return peer


def grown(segments=80, **config):
    """The same with a window of so many segments, all used and acknowledged; 10 * 2^n."""
    peer = opened(**config)
    while peer.socket.cwnd < segments * 1000:
        peer.socket.send(bytes(peer.socket.cwnd))
        sent = peer.drop()
        peer.advance(RTT)
        for segment in sent:
            peer.inject("A", ack=segment.end)
    assert peer.socket.cwnd == segments * 1000
    return peer


def trickle(peer, segments, seconds):
    """So many segments in each round trip."""
    for _ in range(int(seconds * SECOND / RTT)):
        peer.socket.send(bytes(1000 * segments))
        peer.drop()
        peer.advance(RTT)
        peer.inject("A")


# --- growth


def test_a_window_that_the_application_does_not_use_does_not_grow():
    """RFC 7661 section 4.2."""
    peer = opened()
    trickle(peer, 1, 5)
    assert peer.socket.cwnd == 10_000


@pytest.mark.parametrize(("segments", "cwnd"), [(5, 10_000), (6, 16_000)])
def test_in_slow_start_half_a_window_in_use_lets_it_grow(segments, cwnd):
    """As Linux, until it is twice what was outstanding; one ACK counts whole."""
    peer = opened()
    trickle(peer, segments, 0.5)
    assert peer.socket.cwnd == cwnd


def test_in_avoidance_only_a_full_window_grows():
    peer = opened()
    peer.socket.send(bytes(10_000))
    peer.drop()
    for _ in range(3):
        peer.inject("A", ack=1)
    peer.drop()
    peer.inject("A", ack=10_001)
    cwnd = peer.socket.cwnd
    assert cwnd >= peer.socket.ssthresh
    segments = cwnd // 1000 - 1
    trickle(peer, segments, 0.5)
    assert peer.socket.cwnd == cwnd
    trickle(peer, segments + 1, 0.5)
    assert peer.socket.cwnd > cwnd


def test_a_window_that_the_peer_limits_does_not_grow_without_end():
    """RFC 7661 section 1: cwnd says what the path takes, which nobody has tried."""
    peer = opened()
    peer.window = 40  # 5,120 bytes
    peer.inject("A")
    peer.socket.send(bytes(500_000))
    for _ in range(50):
        peer.drop()
        peer.inject("A")
        peer.advance(RTT)
    assert peer.socket.cwnd <= 16_000  # twice what was outstanding


# --- idle


@pytest.mark.parametrize(("timeouts", "segments"), [(1, 40), (2, 20), (3, 10), (4, 10), (100, 10)])
def test_each_timeout_without_sending_halves_the_window(timeouts, segments):
    """Down to the restart window (RFC 5681 section 4.1), in steps as Linux (RFC 2861)."""
    peer = grown(80)
    peer.advance(timeouts * peer.socket.rto + 1 - RTT)
    peer.advance(RTT)
    before = peer.socket.cwnd
    peer.socket.send(bytes(200_000))
    assert (before, len(peer.drop())) == (80_000, segments)


def test_slow_start_leads_back_to_three_quarters_of_the_old_window():
    """RFC 2861 section 3.1: that is known to be safe."""
    peer = grown(80)
    # No loss yet: the threshold has no bound anyway.
    peer.advance(10 * SECOND)
    peer.send(1000)
    assert peer.socket.ssthresh > 1 << 20
    peer = grown(80)
    peer.socket.send(bytes(80_000))
    peer.drop()
    for _ in range(3):
        peer.inject("A", ack=80_001 - 10_000)
    for _ in range(20):
        peer.inject("A")
        peer.advance(RTT)
        peer.drop()
    peer.send(1000)
    cwnd = peer.socket.cwnd
    peer.advance(10 * SECOND)
    peer.send(1000)
    assert peer.socket.cwnd == 10_000
    assert peer.socket.ssthresh >= cwnd // 1000 * 3 // 4 * 1000


def test_after_a_pause_shorter_than_the_timeout_nothing_changes():
    peer = grown(80)
    peer.advance(peer.socket.rto // 2)
    peer.socket.send(bytes(80_000))
    assert len(peer.drop()) == 80


def test_the_restart_may_be_switched_off():
    """As Linux's tcp_slow_start_after_idle."""
    peer = grown(80, slow_start_after_idle=False)
    peer.advance(60 * SECOND)
    peer.socket.send(bytes(1000))
    assert peer.socket.cwnd == 80_000


def test_acknowledging_while_nothing_is_to_be_sent_restarts_nothing():
    """A receiver's ACKs are no use of its own window, and no pause in it either."""
    peer = grown(80)
    for _ in range(20):
        peer.advance(SECOND)
        peer.inject("A", data=bytes(1000))
        peer.advance(50 * MS)
        peer.socket.receive()
    peer.drop()
    assert peer.socket.cwnd == 80_000


# --- used in part


def straggle(peer):
    """Something is sent before an RTO without text has passed, more after an RTO without ACKs."""
    peer.advance(peer.socket.rto - RTT - 10 * MS)
    peer.socket.send(bytes(1000))
    peer.advance(RTT + 20 * MS)
    peer.socket.send(bytes(1000))
    peer.drop()
    peer.inject("A", ack=peer.rcv_nxt - 1000)
    peer.advance(RTT)
    peer.inject("A")


def test_what_was_not_used_for_a_timeout_is_forgotten_by_half():
    """RFC 2861 section 3.2, as Linux: the mean of cwnd and what was in use, at least IW."""
    peer = grown(80)
    straggle(peer)
    assert peer.socket.cwnd == 45_000
    straggle(peer)
    assert peer.socket.cwnd == 27_000
    for _ in range(20):
        straggle(peer)
    assert 10_000 <= peer.socket.cwnd <= 11_000


def test_while_acks_come_within_the_timeout_nothing_is_forgotten():
    peer = grown(80)
    trickle(peer, 20, 10)
    assert peer.socket.cwnd == 80_000
