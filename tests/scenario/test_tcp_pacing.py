"""Pacing: a window leaves spread over the round trip (SO_MAX_PACING_RATE, as Linux)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from scenario.peer import MS, SECOND
from scenario.tcp_states import accepted

SOL_SOCKET, SO_MAX_PACING_RATE = 1, 47
RTT = 100 * MS
UNLIMITED = -1


def paced(rate, rtt=RTT, **config):
    """A connection of this rate in bytes per second, and a peer that takes 7 MB."""
    peer = accepted(rtt=rtt, options={"mss": 1000, "wscale": 7}, send_buffer=1 << 21, **config)
    peer.window = 60_000
    peer.inject("A")
    peer.socket.set_option(SOL_SOCKET, SO_MAX_PACING_RATE, rate)
    return peer


def departures(peer, ns, rtt=RTT):
    """(time, bytes) of what leaves within so long; each segment is acknowledged an RTT later."""
    start = peer.host.now
    flying, out = peer.__dict__.setdefault("flying", []), {}
    while True:
        for segment in peer.drop():
            flying.append((segment.at + rtt, segment.end))
            out[segment.at - start] = out.get(segment.at - start, 0) + segment.length
        times = [start + ns, peer.host.deadline or start + ns, *(due for due, _ in flying[:1])]
        if min(times) >= start + ns:
            peer.host.advance(start + ns - peer.host.now)
            return sorted(out.items())
        peer.host.advance(max(min(times) - peer.host.now, 0))
        while flying and flying[0][0] <= peer.host.now:
            peer.inject("A", ack=flying.pop(0)[1])


def gaps(sent):
    return [later[0] - earlier[0] for earlier, later in pairwise(sent)]


def test_without_being_asked_a_window_leaves_at_once():
    """As Linux without a pacing queue: cubic and reno send what cwnd allows."""
    peer = accepted(rtt=RTT)
    peer.socket.send(bytes(10_000))
    assert len(peer.drop()) == 10


def test_the_first_ten_segments_are_not_held():
    """As Linux: an initial window is harmless."""
    peer = paced(10_000)
    peer.socket.send(bytes(9000))
    assert sum(segment.length for segment in peer.drop()) == 9000


def test_the_rate_is_kept():
    """To the byte, over a second: 100 kB/s in trains of two segments."""
    peer = paced(100_000, initial_window=200)
    peer.socket.send(bytes(200_000))
    sent = departures(peer, 500 * MS)
    assert sent[0] == (0, 10_000)
    sent = departures(peer, SECOND)
    assert 98_000 <= sum(size for _, size in sent) <= 102_000
    assert set(gaps(sent)) == {20 * MS}
    assert {size for _, size in sent} == {2000}


def test_a_high_rate_sends_a_milliseconds_worth_at_once():
    """As Linux: rate >> 10 bytes, in whole segments."""
    peer = paced(20_000_000, initial_window=1000, rtt=20 * MS)
    peer.socket.send(bytes(900_000))
    sizes = {size for _, size in departures(peer, 10 * MS)}
    assert 19_000 in sizes


def test_a_limit_above_what_cwnd_gives_spreads_the_window_over_the_round_trip():
    """In slow start at twice cwnd per SRTT (tcp_pacing_ss_ratio)."""
    peer = paced(1 << 40)
    peer.socket.send(bytes(1_000_000))
    assert departures(peer, RTT)[0][0] == 0
    sent = departures(peer, RTT)
    # 20 segments of the second round trip, in trains of two.
    assert [size for _, size in sent] == [2000] * 10
    assert set(gaps(sent)[1:]) == {5 * MS}


def test_the_ratio_is_a_setting():
    peer = paced(1 << 40, pacing_ss_ratio=100)
    peer.socket.send(bytes(1_000_000))
    departures(peer, RTT)
    assert set(gaps(departures(peer, RTT))[1:]) == {10 * MS}


def test_in_avoidance_a_window_takes_most_of_the_round_trip():
    """At 120 % of cwnd per SRTT (tcp_pacing_ca_ratio)."""
    peer = paced(1 << 40)
    peer.socket.send(bytes(1_000_000))
    departures(peer, 3 * RTT + RTT // 2)
    for _ in range(3):
        peer.inject("A", ack=peer.flying[0][1] - 1000)
    departures(peer, 10 * RTT)
    sent = departures(peer, 2 * RTT)
    rate = sum(size for _, size in sent) / 2
    assert peer.socket.cwnd * 9 // 10 <= rate <= peer.socket.cwnd * 12 // 10
    assert max(gaps(sent)) <= RTT // 5


def test_an_idle_time_earns_half_a_gap():
    """As Linux: a late timer is made up for, not a pause."""
    peer = paced(100_000, initial_window=200, slow_start_after_idle=False)
    peer.socket.send(bytes(30_000))
    departures(peer, SECOND)
    peer.inject("A")
    peer.advance(10 * SECOND)
    peer.socket.send(bytes(10_000))
    sent = departures(peer, SECOND)
    assert [when for when, _ in sent] == [0, 10 * MS, 30 * MS, 50 * MS, 70 * MS]


def test_retransmissions_are_paced_too():
    peer = accepted(rtt=RTT, options={"mss": 1000, "sack_ok": True}, initial_window=60)
    peer.socket.send(bytes(60_000))
    assert len(peer.drop()) == 60
    peer.socket.set_option(SOL_SOCKET, SO_MAX_PACING_RATE, 100_000)
    peer.advance(RTT)
    peer.inject("A", ack=1, sack=[(40_001, 60_001)])
    start = peer.host.now
    peer.advance(100 * MS)
    again = peer.drop()
    assert 4 <= len(again) <= 12
    assert again[-1].at - start >= 50 * MS


def test_a_new_limit_counts_after_the_wait_for_the_old_one():
    peer = paced(10_000, initial_window=200)
    peer.socket.send(bytes(150_000))
    departures(peer, SECOND)
    peer.socket.set_option(SOL_SOCKET, SO_MAX_PACING_RATE, UNLIMITED)
    departures(peer, SECOND)
    assert peer.tcb.snd_nxt - peer.tcb.iss == 150_001


def test_what_waits_does_not_look_like_a_closed_window():
    """No probe, no timer in the past."""
    peer = paced(1000, initial_window=20)
    peer.socket.send(bytes(12_000))
    peer.drop()
    peer.inject("A")
    peer.advance(30 * SECOND)
    peer.drop()
    peer.inject("A")
    assert peer.tcb.snd_una == peer.tcb.snd_nxt
    assert "tcp_zero_window_probes" not in peer.host.counters


def test_the_end_of_a_connection_ends_the_wait():
    peer = paced(100)
    peer.socket.send(bytes(20_000))
    peer.drop()
    peer.inject("R")
    assert peer.host.protocol_deadline is None


@pytest.mark.parametrize("rate", [0, 1])
def test_an_absurd_rate_harms_nobody(rate):
    peer = paced(rate)
    peer.socket.send(bytes(20_000))
    peer.drop()
    peer.inject("A")
    peer.advance(60 * SECOND)
    peer.drop()
