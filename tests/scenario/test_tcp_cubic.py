"""CUBIC against a model of RFC 9438 in floating point, and what losses, marks and pauses do."""

from __future__ import annotations

import math

import pytest
from scenario.peer import MS, SECOND
from scenario.tcp_states import CUBIC, RENO, accepted

C, BETA = 0.4, 0.7
SACK = {"mss": 1000, "wscale": 7, "sack_ok": True}
RTT = 100 * MS


def sender(window, rtt=RTT, **config):
    """A connection with this window, in segments, and a peer that takes 7 MB."""
    config.setdefault("congestion", CUBIC)
    peer = accepted(
        rtt=rtt, options=SACK, initial_window=window, send_buffer=1 << 24, hystart=False, **config
    )
    peer.window = 60_000
    peer.inject("A")
    return peer


def acknowledge(peer, segments):
    for segment in segments:
        peer.inject("A", ack=segment.end)


def round_trip(peer, rtt=RTT):
    """A window's worth leaves, and is acknowledged segment by segment a round trip later."""
    peer.socket.send(bytes(peer.socket.cwnd + 2000))
    sent = peer.drop()
    peer.advance(rtt)
    acknowledge(peer, sent)


def lose(peer, rtt=RTT):
    """The first segment of a window is lost and repaired; then all of it is acknowledged."""
    peer.socket.send(bytes(peer.socket.cwnd))
    sent = [s for s in peer.drop() if s.data]
    peer.advance(rtt)
    start = sent[0].end
    for segment in sent[1:]:
        peer.inject("A", ack=sent[0].seq, sack=[(start, segment.end)])
    more = [segment for segment in peer.drop() if segment.seq > sent[-1].seq]
    peer.advance(rtt)
    acknowledge(peer, [sent[-1], *more])


def settle(peer, rtt=RTT):
    """After a loss: until congestion avoidance begins."""
    for _ in range(20):
        if peer.socket.in_epoch:
            return
        round_trip(peer, rtt)
    raise AssertionError("no congestion avoidance")


class Model:
    """RFC 9438 section 4, in segments and seconds, one acknowledged segment at a time.

    cwnd_prior: infinity if Reno is to keep the pace that it has below, as in Linux.
    """

    def __init__(self, cwnd, w_max, cwnd_prior, now, rtt):
        self.cwnd, self.w_max, self.cwnd_prior = cwnd, w_max, cwnd_prior
        self.start, self.rtt = now, rtt
        self.k = ((w_max - cwnd) / C) ** (1 / 3) if w_max > cwnd else 0.0
        self.origin = max(w_max, cwnd)
        self.w_est = cwnd

    def w_cubic(self, t):
        return C * (t - self.k) ** 3 + self.origin

    def acknowledge(self, now):
        t = now - self.start
        alpha = 1 if self.w_est >= self.cwnd_prior else 3 * (1 - BETA) / (1 + BETA)
        self.w_est += alpha / self.cwnd
        if self.w_cubic(t) < self.w_est:
            self.cwnd = max(self.cwnd, self.w_est)
            return
        target = min(max(self.w_cubic(t + self.rtt), self.cwnd), 1.5 * self.cwnd)
        self.cwnd += (target - self.cwnd) / self.cwnd


@pytest.mark.parametrize("own_pace", [True, False])
@pytest.mark.parametrize(
    ("window", "rtt_ms", "rounds"),
    [(100, 100, 70), (400, 50, 30), (200, 200, 45), (40, 20, 60), (200, 10, 40)],
)
def test_the_window_follows_the_curve(window, rtt_ms, rounds, own_pace):
    """Section 4.2 (concave, flat, convex), 4.3 (Reno-friendly), 4.4, 4.5."""
    rtt = rtt_ms * MS
    peer = sender(window, rtt, cubic_reno_pace=own_pace)
    lose(peer, rtt)
    settle(peer, rtt)
    cwnd, prior = peer.socket.cwnd / 1000, window if own_pace else math.inf
    model = Model(cwnd, window, prior, peer.host.now / SECOND, rtt_ms / 1000)
    for _ in range(rounds):
        acked = peer.tcb.snd_nxt
        round_trip(peer, rtt)
        acked = (peer.tcb.snd_nxt - acked) // 1000
        for _ in range(acked):
            model.acknowledge(peer.host.now / SECOND)
        assert peer.socket.cwnd / 1000 == pytest.approx(model.cwnd, rel=0.05, abs=2)
    assert peer.socket.cwnd > 1000 * window * 0.7


def test_a_loss_leaves_seven_tenths():
    """Section 4.6."""
    peer = sender(100)
    lose(peer)
    assert peer.socket.ssthresh == 70_000


def test_the_threshold_is_never_below_two_segments():
    peer = sender(2)
    peer.socket.send(bytes(2000))
    peer.drop()
    peer.advance(5 * SECOND)
    assert peer.socket.ssthresh == 2000


def test_the_curve_is_flat_where_the_loss_was():
    """Section 4.2: W_max, and K = cbrt((W_max - cwnd_epoch) / C)."""
    peer = sender(100)
    lose(peer)
    settle(peer)
    assert peer.socket.w_max == 100
    assert peer.socket.cubic_k == pytest.approx((30 / C) ** (1 / 3), rel=0.05)


def test_a_loss_below_the_last_one_makes_room_for_others():
    """Section 4.7: W_max = cwnd * (1 + beta) / 2."""
    peer = sender(100)
    lose(peer)
    settle(peer)
    cwnd = peer.socket.cwnd // 1000
    assert cwnd < 100
    lose(peer)
    assert peer.socket.w_max == pytest.approx(cwnd * (1 + BETA) / 2, abs=1)


def test_a_loss_above_the_last_one_does_not():
    peer = sender(20)
    lose(peer)
    settle(peer)
    for _ in range(100):
        round_trip(peer)
    cwnd = peer.socket.cwnd // 1000
    assert cwnd > 20
    lose(peer)
    assert peer.socket.w_max == cwnd


def timed_out(window, rtt=RTT):
    """All of a window was lost, and seven tenths of it reached in slow start. (With F-RTO the ACK
    of all would show the timeout spurious.)
    """
    peer = sender(window, rtt, frto=0)
    peer.socket.send(bytes(window * 1000))
    peer.drop()
    while peer.socket.cwnd > 1000:
        peer.step()
    assert peer.socket.ssthresh == window * 700
    peer.drop()
    peer.inject("A", ack=window * 1000 + 1)
    settle(peer, rtt)
    return peer


def test_after_a_timeout_the_curve_begins_where_slow_start_ends():
    """Section 4.8: K = 0, W_max = cwnd."""
    peer = timed_out(100)
    assert peer.socket.cubic_k == 0
    assert peer.socket.cwnd >= 70_000


def test_after_a_timeout_reno_keeps_its_slower_pace_up_to_the_window_of_the_loss():
    """Section 4.3: alpha is 1 only when W_est has reached cwnd_prior."""
    rtt = 20 * MS
    peer = timed_out(10, rtt)
    for _ in range(6):
        round_trip(peer, rtt)
    assert peer.socket.cwnd / 1000 == pytest.approx(7 + 6 * 0.53, abs=1.2)


def test_growth_is_never_faster_than_half_a_window_a_round_trip():
    """Section 4.2: target is at most 1.5 cwnd."""
    peer = sender(50, 400 * MS)
    lose(peer, 400 * MS)
    settle(peer, 400 * MS)
    for _ in range(25):
        before = peer.socket.cwnd
        round_trip(peer, 400 * MS)
        assert peer.socket.cwnd <= before * 1.5 + 1000


def test_a_pause_is_no_time_on_the_curve():
    """Section 5.8: otherwise cwnd would jump to where the curve has gone without us."""
    peer = sender(100, slow_start_after_idle=False)
    lose(peer)
    settle(peer)
    round_trip(peer)
    before = peer.socket.cwnd
    peer.advance(30 * SECOND)
    round_trip(peer)
    assert peer.socket.cwnd <= before + 12_000


@pytest.mark.parametrize(
    ("algorithm", "abe", "threshold"),
    [(CUBIC, True, 84_000), (CUBIC, False, 70_000), (RENO, True, 80_000), (RENO, False, 50_000)],
)
def test_a_mark_costs_less_than_a_loss(algorithm, abe, threshold):
    """RFC 8511 sections 3 and 3.1: beta_ecn 0.85 and 0.8."""
    peer = sender(100, congestion=algorithm, abe=abe)
    other = peer.sibling(41000)
    other.inject("SEC", seq=0, options=other.syn_options())
    other.expect("SAE")
    other.inject("A", window=60_000)
    other.advance(RTT)
    socket = peer.listener.accept()
    socket.send(bytes(100_000))
    other.drop()
    other.inject("AE", ack=1001)
    assert socket.ssthresh == threshold


def test_an_idle_connection_without_a_loss_keeps_no_state():
    peer = sender(10)
    for _ in range(4):
        round_trip(peer)
    peer.drop()
    peer.inject("A")
    assert peer.socket.w_max is None


def test_another_algorithm_takes_over_the_window():
    """tcp(7), TCP_CONGESTION: as Linux, cwnd and ssthresh stay."""
    peer = sender(100)
    lose(peer)
    settle(peer)
    before = (peer.socket.cwnd, peer.socket.ssthresh)
    peer.socket.set_option(6, 13, RENO)
    assert (peer.socket.cwnd, peer.socket.ssthresh) == before
    assert peer.socket.w_max is None
    growth = []
    for _ in range(3):
        cwnd = peer.socket.cwnd
        round_trip(peer)
        growth.append(peer.socket.cwnd - cwnd)
    assert set(growth) <= {0, 1000, 2000}
    peer.socket.set_option(6, 13, CUBIC)
    round_trip(peer)
    assert peer.socket.in_epoch


def test_a_mistaken_reduction_gives_the_window_back():
    """Section 4.9: cwnd and ssthresh are what they were; as in Linux a new curve begins there."""
    peer = sender(100)
    lose(peer)
    settle(peer)
    round_trip(peer)
    before = (peer.socket.cwnd, peer.socket.ssthresh)
    peer.socket.reduce()
    peer.socket.undo()
    assert (peer.socket.cwnd, peer.socket.ssthresh) == before
    assert not peer.socket.in_epoch
