"""RACK (RFC 8985 section 6)."""

from __future__ import annotations

from scenario.peer import MS, SACK
from scenario.tcp_states import accepted

RTT = 100 * MS
OPEN, DISORDER, CWR, RECOVERY, LOSS = range(5)


def sending(segments=10, options=SACK, **config):
    """This many segments of 1,000 bytes are out for a round trip."""
    peer = accepted(rtt=RTT, options=options, **config)
    peer.socket.send(bytes(1000 * segments))
    peer.drop()
    peer.advance(RTT)
    return peer


def test_what_was_sent_before_an_arrival_is_lost_after_a_reordering_window():
    """Section 6.2 steps 4 and 5: a quarter of the least round trip; nothing counts duplicates."""
    peer = sending()
    peer.inject("A", ack=1, sack=[(1001, 2001)])
    peer.expect_nothing()
    peer.advance(RTT // 4)
    peer.expect_nothing()
    peer.advance(10 * MS)
    peer.expect_data((1, 1001))
    assert peer.socket.ca_state == RECOVERY


def test_three_arrivals_leave_no_window_if_nothing_was_ever_reordered():
    """Section 6.2 step 4."""
    peer = sending()
    peer.inject("A", ack=1, sack=[(1001, 4001)])
    peer.expect_data((1, 1001))


def test_reordering_within_the_window_sends_nothing_again():
    """Section 6.2 step 3 and 4: the hole is filled in time, and the path is known to reorder."""
    peer = sending()
    peer.inject("A", ack=1, sack=[(1001, 2001)])
    peer.advance(20 * MS)
    peer.inject("A", ack=2001)
    assert peer.socket.reordering_seen == 1
    for _ in range(2):
        peer.inject("A", ack=2001, sack=[(3001, 8001)])
    peer.expect_nothing()
    peer.advance(20 * MS)
    peer.inject("A", ack=10_001)
    peer.expect_nothing()
    assert "tcp_retransmitted_segments" not in peer.host.counters


def test_a_lost_retransmission_is_found_by_what_was_sent_later():
    """Section 3.3, 6.2 step 5."""
    peer = sending(20)
    peer.inject("A", ack=1, sack=[(1001, 4001)])
    first = [s.seq for s in peer.drop()]
    assert first[0] == 1
    assert 10_001 in first
    peer.advance(RTT)
    peer.inject("A", ack=1, sack=[(1001, 4001), (10_001, 11_001)])
    peer.advance(RTT)
    assert 1 in [s.seq for s in peer.drop()]
    assert "tcp_timeouts" not in peer.host.counters
