"""Proportional rate reduction (RFC 6937, RFC 9937)."""

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


def test_one_leaves_for_each_two_that_arrive():
    """RFC 6937 section 3: ssthresh is half of what was outstanding."""
    peer = sending(30)
    out = []
    for n in range(3, 11):
        peer.inject("A", ack=1, sack=[(1001, 1000 * n + 1)])
        out.append(len(peer.drop()))
    assert out[0] >= 1
    assert 4 <= sum(out) <= 6


def test_at_the_end_the_window_is_the_threshold():
    """RFC 9937 section 6.2."""
    peer = sending()
    peer.inject("A", ack=1, sack=[(1001, 10_001)])
    peer.drop()
    peer.advance(RTT)
    peer.inject("A", ack=10_001)
    assert (peer.socket.ca_state, peer.socket.cwnd) == (OPEN, peer.socket.ssthresh)
