"""Tail loss probes (RFC 8985 section 7)."""

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


def test_the_last_segment_is_sent_again_after_two_round_trips():
    """Sections 7.2 and 7.3."""
    peer = accepted(rtt=RTT, options=SACK)
    peer.socket.send(bytes(3000))
    start = peer.host.now
    peer.drop()
    peer.step()
    probe = peer.expect("A", seq=2001)
    assert 2 * RTT <= probe.at - start <= 2 * RTT + 10 * MS
    assert peer.host.counters["tcp_tail_probes"] == 1


def test_the_probe_that_repaired_a_loss_reduces_the_window():
    """Section 7.4.2."""
    peer = accepted(rtt=RTT, options=SACK)
    peer.socket.send(bytes(3000))
    peer.drop()
    peer.step()
    peer.expect("A", seq=2001)
    peer.socket.send(bytes(1000))
    peer.drop()
    peer.advance(50 * MS)
    peer.inject("A", ack=4001)
    assert peer.host.counters["tcp_tail_probe_recoveries"] == 1
    assert peer.socket.cwnd < 10_000


def test_without_the_setting_there_is_no_probe():
    """As Linux's tcp_early_retrans."""
    peer = accepted(rtt=RTT, options=SACK, early_retrans=0)
    peer.socket.send(bytes(3000))
    peer.drop()
    peer.step()
    peer.expect("A", seq=1)
    assert "tcp_tail_probes" not in peer.host.counters
