"""BBR and the rest of TCP: recovery, timeouts, pacing, memory. What it is for: virtual/test_bbr."""

from __future__ import annotations

import pytest
from scenario.peer import MS, SECOND
from scenario.tcp_states import BBR, CUBIC, accepted, listening

SACK = {"mss": 1000, "wscale": 7, "sack_ok": True}
RTT = 100 * MS
OPEN, CWR, RECOVERY, LOSS = 0, 2, 3, 4


def sender(**config):
    """A connection that uses BBR, and a peer that takes 7 MB."""
    config.setdefault("congestion", BBR)
    peer = accepted(rtt=RTT, options=SACK, send_buffer=1 << 22, **config)
    peer.window = 60_000
    peer.inject("A")
    return peer


def flight(peer, ns=RTT):
    """What leaves within so long."""
    peer.advance(ns)
    return [segment for segment in peer.drop() if segment.data]


def acknowledge(peer, segments):
    for segment in segments:
        peer.inject("A", ack=segment.end)


@pytest.fixture
def busy():
    """Has sent for some round trips, and always has something more."""
    peer = sender()
    peer.socket.send(bytes(3_000_000))
    for _ in range(3):
        acknowledge(peer, flight(peer))
    return peer


def test_only_who_uses_it_pays_for_it():
    """Its state is allocated, and goes with it."""
    peer = sender(congestion=CUBIC)
    assert peer.socket.bbr is None
    peer.socket.set_option(6, 13, BBR)
    assert peer.socket.bbr.mode == "STARTUP"
    peer.socket.set_option(6, 13, CUBIC)
    assert peer.socket.bbr is None


def test_it_starts_at_the_initial_window_per_round_trip():
    """Draft section 4.2.1: times 2/ln(2), less the margin of one percent."""
    peer = sender()
    assert peer.socket.bbr.pacing_gain == pytest.approx(2.885, rel=0.01)
    assert peer.socket.bbr.pacing_rate == pytest.approx(2.885 * 100_000 * 0.99, rel=0.01)


def test_startup_doubles_in_a_round_trip(busy):
    """Draft section 4.3.2."""
    first = len(flight(busy, 0) + flight(busy))
    assert first >= 40
    assert busy.socket.bbr.mode == "STARTUP"


def test_trains_leave_one_after_the_other(busy):
    """Draft section 4.2.1: paced, without having been asked."""
    sent = flight(busy)
    assert len({segment.at for segment in sent}) >= len(sent) // 2 - 1


def test_in_the_first_round_of_a_recovery_as_much_leaves_as_arrives(busy):
    """Draft section 4.2.3.4: packet conservation."""
    sent = flight(busy)
    window = busy.socket.cwnd
    for segment in sent[1:6]:
        busy.inject("A", ack=sent[0].seq, sack=[(sent[1].seq, segment.end)])
    assert busy.socket.ca_state == RECOVERY
    assert busy.socket.bbr.conserving
    assert busy.socket.cwnd <= 1000 * (len(sent) + 1)
    assert busy.drop()[0].seq == sent[0].seq
    # The repair arrives, and with it everything: the window is what it was.
    busy.inject("A", ack=sent[0].seq, sack=[(sent[1].seq, sent[-1].end)])
    more = flight(busy)
    busy.inject("A", ack=more[-1].end)
    assert busy.socket.ca_state == OPEN
    assert busy.socket.cwnd >= window


def test_a_loss_is_no_reason_to_slow_down(busy):
    """The model of the path does not know losses: the rate stays."""
    rate = busy.socket.bbr.pacing_rate
    sent = flight(busy)
    for segment in sent[1:]:
        busy.inject("A", ack=sent[0].seq, sack=[(sent[1].seq, segment.end)])
    assert busy.socket.ca_state == RECOVERY
    assert busy.socket.bbr.pacing_rate >= rate


def test_a_mark_is_answered_but_does_not_slow_it_down():
    """RFC 3168 section 6.1.2, as Linux: version 1 knows no marks, but the peer hears CWR."""
    peer = listening(options=SACK, congestion=BBR, send_buffer=1 << 22)
    peer.inject("SEC", seq=0, options=peer.syn_options())
    peer.expect("SAE", ack=1)
    peer.advance(RTT)
    peer.window = 60_000
    peer.inject("A")
    peer.socket = peer.listener.accept()
    peer.socket.send(bytes(500_000))
    for _ in range(2):
        acknowledge(peer, flight(peer))
    sent = flight(peer)
    window, rate = peer.socket.cwnd, peer.socket.bbr.pacing_rate
    peer.inject("EA", ack=sent[0].end)
    assert peer.socket.ca_state == CWR
    assert peer.socket.cwnd >= window
    assert peer.socket.bbr.pacing_rate >= rate
    assert "C" in peer.drop()[0].flags


def test_a_timeout_sends_one_segment_and_the_window_comes_back(busy):
    """Draft section 4.2.3.4: BBROnEnterRTO(), BBRRestoreCwnd()."""
    flight(busy)
    window = busy.socket.cwnd
    while busy.socket.ca_state != LOSS:
        busy.advance(50 * MS)
    assert busy.socket.cwnd <= 1000 * (1 + busy.socket.packets_out - busy.socket.lost_out)
    assert busy.socket.cwnd < window // 4
    for _ in range(6):
        again = flight(busy, 3 * RTT)
        acknowledge(busy, again)
    assert busy.socket.ca_state == OPEN
    assert busy.socket.cwnd >= window


def test_a_pause_ends_at_the_known_rate():
    """Draft section 4.3.4.4; RFC 5681's restart window is not for it."""
    peer = sender()
    peer.socket.send(bytes(200_000))
    for _ in range(12):
        acknowledge(peer, flight(peer))
    window, bandwidth = peer.socket.cwnd, peer.socket.bbr.bandwidth
    peer.advance(5 * SECOND)
    peer.socket.send(bytes(1000))
    assert peer.socket.cwnd == window
    assert peer.socket.bbr.bandwidth == bandwidth
    acknowledge(peer, flight(peer))


def test_the_applications_limit_is_kept():
    """socket(7), SO_MAX_PACING_RATE."""
    peer = sender()
    peer.socket.set_option(1, 47, 50_000)
    peer.socket.send(bytes(1_000_000))
    for _ in range(5):
        acknowledge(peer, flight(peer))
    sent = sum(len(segment.data) for segment in flight(peer, SECOND))
    assert sent <= 60_000
