"""Undo by timestamps and D-SACK (RFC 3522, 4015, 2883)."""

from __future__ import annotations

from scenario.peer import FULL, MS, SACK
from scenario.tcp_states import accepted

RTT = 100 * MS
OPEN, DISORDER, CWR, RECOVERY, LOSS = range(5)


def sending(segments=10, options=SACK, **config):
    """This many segments of 1,000 bytes (988 with timestamps) are out for a round trip."""
    peer = accepted(rtt=RTT, options=options, **config)
    peer.socket.send(bytes((988 if options is FULL else 1000) * segments))
    peer.drop()
    peer.advance(RTT)
    return peer


def test_a_d_sack_of_all_that_was_sent_again_restores_the_window():
    """RFC 2883 section 5, RFC 4015 section 3.2."""
    peer = sending()
    peer.inject("A", ack=1, sack=[(1001, 4001)])
    peer.expect_data((1, 1001))
    peer.advance(RTT)
    peer.inject("A", ack=10_001)
    assert peer.socket.cwnd < 10_000
    peer.inject("A", ack=10_001, sack=[(1, 1001)])
    assert peer.socket.cwnd == 10_000
    assert peer.host.counters["tcp_undone"] == 1


def test_an_echo_of_the_original_restores_the_window():
    """RFC 3522 section 3.2: the ACK echoes a time before the retransmission."""
    peer = sending(options=FULL)
    echo = peer.ts_recent
    peer.inject("A", ack=1, sack=[(989, 989 + 3 * 988)])
    peer.expect_data((1, 989))
    peer.advance(10 * MS)
    peer.ts_recent = echo
    peer.inject("A", ack=9881)
    assert peer.host.counters["tcp_undone"] == 1
    assert peer.socket.ca_state == OPEN
