"""HyStart++: the first slow start ends when round trips become longer (RFC 9406)."""

from __future__ import annotations

import pytest
from scenario.peer import MS
from scenario.tcp_states import CUBIC, accepted

RTT = 100 * MS


def sender(rtt=RTT, **config):
    config.setdefault("congestion", CUBIC)
    peer = accepted(rtt=rtt, options={"mss": 1000, "wscale": 7}, send_buffer=1 << 24, **config)
    peer.window = 60_000
    peer.inject("A")
    peer.socket.send(bytes(5_000_000))
    return peer


def round_trip(peer, rtt=RTT, every=1):
    """A window leaves and is acknowledged a round trip later; by how much cwnd grew."""
    before = peer.socket.cwnd
    sent = peer.drop()
    peer.advance(rtt)
    for segment in sent[every - 1 :: every]:
        peer.inject("A", ack=segment.end)
    if len(sent) % every:
        peer.inject("A")
    return peer.socket.cwnd / before


def in_slow_start(peer):
    return peer.socket.cwnd < peer.socket.ssthresh


def test_a_steady_round_trip_doubles_the_window_each_time():
    """Section 4.2: standard slow start."""
    peer = sender()
    for _ in range(6):
        assert round_trip(peer) == 2


def test_a_longer_round_trip_leads_to_conservative_slow_start():
    """Section 4.2: an eighth more than the last one's minimum; growth is a quarter of what it was,
    CSS_GROWTH_DIVISOR.
    """
    peer = sender()
    for _ in range(3):
        round_trip(peer)
    round_trip(peer, RTT + 13 * MS)
    assert round_trip(peer, RTT + 13 * MS) == pytest.approx(1.25, abs=0.05)
    assert in_slow_start(peer)


def test_five_rounds_of_it_end_slow_start():
    """Section 4.2: CSS_ROUNDS, the round in which it began among them."""
    peer = sender()
    for _ in range(3):
        round_trip(peer)
    for _ in range(5):
        assert in_slow_start(peer)
        round_trip(peer, RTT + 13 * MS)
    assert not in_slow_start(peer)
    assert peer.socket.ssthresh <= peer.socket.cwnd < 10_000 * 2**8
    assert "tcp_retransmitted_segments" not in peer.host.counters


def test_a_round_trip_that_was_long_by_chance_is_forgiven():
    """Section 4.2: below the baseline again, slow start goes on."""
    peer = sender()
    for _ in range(3):
        round_trip(peer)
    round_trip(peer, RTT + 13 * MS)
    round_trip(peer, RTT + 5 * MS)
    assert round_trip(peer, RTT + 5 * MS) == 2
    assert in_slow_start(peer)


@pytest.mark.parametrize(("rtt", "more", "leaves"), [(10, 3, False), (10, 5, True)])
def test_less_than_four_milliseconds_are_noise(rtt, more, leaves):
    """Section 4.3: MIN_RTT_THRESH."""
    peer = sender(rtt * MS)
    for _ in range(3):
        round_trip(peer, rtt * MS)
    for _ in range(5):
        round_trip(peer, (rtt + more) * MS)
    assert in_slow_start(peer) != leaves


@pytest.mark.parametrize(("more", "leaves"), [(15, False), (17, True)])
def test_more_than_sixteen_milliseconds_are_always_too_much(more, leaves):
    """Section 4.3: MAX_RTT_THRESH."""
    peer = sender(800 * MS)
    for _ in range(3):
        round_trip(peer, 800 * MS)
    for _ in range(5):
        round_trip(peer, (800 + more) * MS)
    assert in_slow_start(peer) != leaves


def test_fewer_than_eight_samples_say_nothing():
    """Section 4.3: N_RTT_SAMPLE."""
    peer = sender()
    for _ in range(3):
        round_trip(peer, every=50)
    for more in (20, 40, 60):
        round_trip(peer, RTT + more * MS, every=50)
    assert in_slow_start(peer)


def test_an_ack_of_many_segments_counts_whole():
    """Section 4.3 would limit the growth per ACK to L = 8 segments; as Linux, we do not."""
    peer = sender()
    assert round_trip(peer, every=10) == 2
    assert round_trip(peer, every=20) == 2


def test_it_is_for_the_first_slow_start_only():
    """Section 4.3: ssthresh says enough after a loss."""
    peer = sender()
    round_trip(peer)
    peer.drop()
    while peer.socket.cwnd > 1000:
        peer.step()
    peer.drop()
    peer.inject("A")
    ssthresh = peer.socket.ssthresh
    for rtt in (RTT, RTT + 30 * MS, RTT + 60 * MS, RTT + 90 * MS):
        round_trip(peer, rtt)
    assert peer.socket.ssthresh == ssthresh


def test_it_may_be_switched_off():
    peer = sender(hystart=False)
    for _ in range(3):
        round_trip(peer)
    for _ in range(4):
        assert round_trip(peer, RTT + 30 * MS) == 2


def test_reno_does_without():
    """As Linux."""
    peer = sender(congestion=0)
    for _ in range(3):
        round_trip(peer)
    for _ in range(4):
        assert round_trip(peer, RTT + 30 * MS) == 2


def test_the_classic_one_ends_slow_start_when_the_round_trip_has_grown():
    """Linux's HyStart (`hystart_classic`): by an eighth, after eight samples of a round."""
    peer = sender(hystart_classic=True)
    for _ in range(2):
        assert round_trip(peer) == 2
    assert in_slow_start(peer)
    round_trip(peer, RTT + 14 * MS)
    assert not in_slow_start(peer)


def test_the_classic_one_ends_slow_start_when_a_train_of_acks_is_long():
    """Half of the least round trip, in ACKs that are no more than 2 ms apart."""
    peer = sender(hystart_classic=True)
    for _ in range(3):
        round_trip(peer)
    sent = peer.drop()
    peer.advance(RTT)
    for segment in sent[:40]:
        peer.inject("A", ack=segment.end)
        peer.drop()
        peer.advance(1500 * MS // 1000)
    assert not in_slow_start(peer)


def test_the_classic_one_begins_anew_after_a_timeout():
    peer = sender(hystart_classic=True, frto=0)
    for _ in range(2):
        round_trip(peer)
    round_trip(peer, RTT + 14 * MS)
    assert not in_slow_start(peer)
    peer.drop()
    while peer.socket.cwnd > 1000:
        peer.step()
    assert in_slow_start(peer)
