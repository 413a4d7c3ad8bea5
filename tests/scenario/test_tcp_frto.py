"""F-RTO (RFC 5682)."""

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


def timed_out(segments=10, **config):
    peer = sending(segments, options=SACK, early_retrans=0, **config)
    while "tcp_timeouts" not in peer.host.counters:
        peer.step()
    peer.drop()
    return peer


def test_an_original_that_arrives_shows_the_timeout_spurious():
    """Section 3.1 step 3.b with section 3.2 (SACK)."""
    peer = timed_out()
    peer.inject("A", ack=3001)
    assert peer.host.counters["tcp_spurious_timeouts"] == 1
    assert (peer.socket.ca_state, peer.socket.cwnd >= 10_000) == (OPEN, True)


def test_new_data_goes_before_anything_is_sent_again():
    """Section 3.1 step 2.b."""
    peer = timed_out(20)
    peer.inject("A", ack=1001)
    assert all(s.seq >= 10_001 for s in peer.drop())
    assert peer.socket.frto


def test_without_the_setting_everything_follows():
    """As Linux's tcp_frto."""
    peer = timed_out(20, frto=0)
    peer.inject("A", ack=1001)
    assert peer.drop()[0].seq == 1001
