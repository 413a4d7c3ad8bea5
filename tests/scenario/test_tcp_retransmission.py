"""The retransmission timer: its arithmetic, back-off, Karn, restarts, giving up."""

from __future__ import annotations

import errno
from itertools import pairwise

import pytest
from native.core import CallError
from scenario.peer import MS, PLAIN, SACK, SECOND, TIMESTAMPS
from scenario.tcp_states import accepted
from scenario.tcp_wire import FAMILIES, IPV4

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
USER_TIMEOUT = (6, 18)
RTT = 100 * MS


def measured(family=IPV4, **config):
    """A connection with one round trip measured, of 100 ms."""
    return accepted(family, rtt=RTT, **config)


def round_trip(peer, rtt, size=1000):
    peer.socket.send(bytes(size))
    peer.drop()
    peer.advance(rtt)
    peer.inject("A")


def formula(samples, floor=200 * MS):
    """RFC 6298 section 2, as Linux: the largest deviation of a round trip counts, and decays by a
    quarter in each; a shorter round trip adds an eighth of what it deviates.
    """
    srtt, mdev = samples[0], 2 * samples[0]
    largest = rttvar = max(mdev, floor)
    for sample in samples[1:]:
        error = sample - srtt
        change = abs(error) - mdev // 4
        mdev += change // 8 if error < 0 < change else change
        srtt += error // 8
        if mdev > largest:
            largest = mdev
            rttvar = max(rttvar, largest)
        rttvar -= max(rttvar - largest, 0) // 4
        largest = floor
    return srtt, mdev // 4, srtt + rttvar


# The arithmetic


@both
def test_the_first_sample(family):
    """RFC 6298 section 2.2."""
    peer = measured(family)
    assert (peer.socket.srtt, peer.socket.rttvar) == (RTT, RTT // 2)
    assert peer.socket.rto == RTT + 4 * (RTT // 2)


def test_later_samples():
    """RFC 6298 section 2.3, in Linux's way."""
    peer = measured()
    samples = [RTT]
    for rtt in (160 * MS, 40 * MS, 250 * MS, 100 * MS, 301 * MS):
        round_trip(peer, rtt)
        samples.append(rtt)
        srtt, rttvar, rto = formula(samples)
        assert abs(peer.socket.srtt - srtt) <= 2
        assert abs(peer.socket.rttvar - rttvar) <= 4000
        assert abs(peer.socket.rto - rto) <= 16_000


def test_a_steady_path_keeps_200_ms_above_its_round_trip():
    """RFC 6298 section 2.4 asks for a second; as Linux 200 ms, above SRTT."""
    peer = measured()
    for _ in range(60):
        round_trip(peer, RTT)
    assert RTT + 200 * MS <= peer.socket.rto <= RTT + 200 * MS + 10


def test_the_timeout_is_at_most_two_minutes():
    """RFC 6298 section 2.5."""
    peer = measured()
    round_trip(peer, 100 * SECOND)
    peer.advance(SECOND)
    assert peer.socket.rto <= 120 * SECOND


def test_before_any_sample_it_is_a_second():
    """RFC 6298 section 2.1."""
    peer = accepted()
    fresh = peer.host.tcp()
    assert fresh.rto == 1 * SECOND
    fresh.close()


# The timer


@both
def test_what_is_not_acknowledged_is_repeated(family):
    """RFC 6298 section 5.4."""
    peer = measured(family)
    data = peer.send(1000, ack=False)
    peer.drop()
    peer.advance(peer.socket.rto - 1)
    peer.expect_nothing()
    peer.advance(1)
    assert peer.expect("A", seq=1, ack=1).data == data


def test_the_timeout_doubles_up_to_two_minutes():
    """RFC 6298 section 5.5."""
    peer = measured()
    rto = peer.socket.rto
    peer.socket.send(bytes(1000))
    start = peer.host.now
    peer.drop()
    peer.advance(3600 * SECOND)
    times = [start] + [s.at for s in peer.drop()]
    assert [b - a for a, b in pairwise(times)] == [min(rto << n, 120 * SECOND) for n in range(15)]


def test_only_the_first_segment_is_repeated_at_a_timeout():
    """RFC 6298 section 5.4, RFC 5681 section 3.1: the loss window is one segment."""
    peer = measured()
    peer.socket.send(bytes(5000))
    peer.drop()
    peer.advance(peer.socket.rto)
    peer.expect_data((1, 1001))
    assert peer.socket.cwnd == 1000


def test_an_ack_of_new_data_restarts_the_timer():
    """RFC 6298 section 5.3."""
    peer = measured()
    peer.socket.send(bytes(3000))
    peer.drop()
    peer.advance(RTT)
    peer.inject("A", ack=1001)
    rto = peer.socket.rto
    peer.advance(rto - 1)
    peer.expect_nothing()
    peer.advance(1)
    peer.expect_data((1001, 2001))


@pytest.mark.parametrize("options", [PLAIN], ids=["plain"])
def test_a_duplicate_ack_does_not_restart_the_timer(options):
    """RFC 6298 section 5.3: only an ACK of new data does."""
    peer = measured(options=options)
    peer.socket.send(bytes(3000))
    peer.drop()
    rto = peer.socket.rto
    for n in range(2):
        peer.advance(RTT)
        peer.inject("A", ack=1, sack=[(1001, 2001 + 500 * n)] if "sack_ok" in options else None)
        peer.drop()
    peer.advance(rto - 2 * RTT)
    assert peer.expect("A", seq=1).length == 1000


def test_an_ack_of_everything_stops_the_timer():
    """RFC 6298 section 5.2."""
    peer = measured()
    peer.send(3000)
    peer.advance(100 * SECOND)
    peer.expect_nothing()
    assert peer.host.deadline is None


def test_new_data_does_not_restart_a_running_timer():
    """RFC 6298 section 5.1: if it is not running, start it."""
    peer = measured()
    peer.socket.send(bytes(1000))
    peer.drop()
    rto = peer.socket.rto
    peer.advance(rto - 10 * MS)
    peer.socket.send(bytes(1000))
    peer.expect_data((1001, 2001))
    peer.advance(10 * MS)
    peer.expect_data((1, 1001))


# Karn


def test_a_repeated_segment_gives_no_sample():
    """RFC 6298 section 3."""
    peer = measured()
    before = peer.socket.srtt
    peer.socket.send(bytes(1000))
    peer.drop()
    peer.advance(peer.socket.rto)
    peer.drop()
    peer.advance(10 * MS)
    peer.inject("A")
    assert peer.socket.srtt == before


def test_the_back_off_stays_until_a_sample():
    """RFC 6298 section 5.5 with Karn's second half: the next new segment is timed leniently."""
    peer = measured()
    rto = peer.socket.rto
    peer.socket.send(bytes(1000))
    peer.drop()
    peer.advance(rto)
    peer.drop()
    peer.inject("A")
    assert peer.socket.backoff == 1
    peer.socket.send(bytes(1000))
    start = peer.host.now
    peer.drop()
    peer.advance(2 * rto)
    assert peer.expect("A", seq=1001).at - start == 2 * rto
    peer.inject("A")
    round_trip(peer, RTT)
    assert peer.socket.backoff == 0


def test_an_ack_over_repeated_and_new_segments_gives_no_sample():
    """RFC 6298 section 3: the new one has waited at the receiver for the repeated one."""
    peer = measured()
    srtt = peer.socket.srtt
    peer.socket.send(bytes(3000))
    peer.expect_data((1, 1001), (1001, 2001), (2001, 3001))
    peer.advance(peer.socket.rto)
    peer.expect_data((1, 1001))
    peer.advance(10 * MS)
    peer.inject("A", ack=3001)
    assert peer.socket.srtt == srtt


def test_timestamps_give_a_sample_even_of_a_repeated_segment():
    """RFC 7323 section 4.1: the echo tells which transmission it answers."""
    peer = measured(options=TIMESTAMPS)
    peer.socket.send(bytes(988))
    peer.drop()
    peer.advance(peer.socket.rto)
    peer.drop()
    before = peer.socket.srtt
    peer.advance(20 * MS)
    peer.inject("A")
    assert peer.socket.srtt == before + (20 * MS - before) // 8
    assert peer.socket.backoff == 0


# Recovery after a timeout


def test_after_a_timeout_everything_outstanding_follows_in_slow_start():
    """RFC 5681 section 3.1; go back, but not twice."""
    peer = measured()
    peer.socket.send(bytes(4000))
    peer.drop()
    peer.advance(peer.socket.rto)
    peer.expect_data((1, 1001))
    peer.inject("A", ack=1001)
    peer.expect_data((1001, 2001), (2001, 3001))
    peer.inject("A", ack=3001)
    peer.expect_data((3001, 4001))
    peer.inject("A", ack=4001)
    peer.expect_nothing()


def test_what_the_peer_holds_is_not_repeated():
    """RFC 2018 section 5.1, RFC 6675 section 5.1."""
    peer = measured(options=SACK)
    peer.socket.send(bytes(4000))
    peer.drop()
    peer.inject("A", ack=1, sack=[(1001, 3001)])
    peer.drop()
    peer.advance(peer.socket.rto)
    peer.expect_data((1, 1001))
    peer.inject("A", ack=3001)
    peer.expect_data((3001, 4001))


def test_an_ack_of_the_first_transmission_spares_the_rest():
    """The timeout was spurious: what is acknowledged meanwhile is not sent again."""
    peer = measured()
    peer.socket.send(bytes(4000))
    peer.drop()
    peer.advance(peer.socket.rto)
    peer.drop()
    peer.inject("A", ack=4001)
    peer.expect_nothing()
    assert peer.socket.lost_out == peer.socket.retrans_out == 0


def test_the_threshold_is_halved_once_for_one_segment():
    """RFC 5681 section 3.1: it is held constant when a segment is repeated again."""
    peer = measured()
    peer.socket.send(bytes(10_000))
    peer.drop()
    for _ in range(4):
        peer.step()
        assert peer.socket.ssthresh == 5000
        assert peer.socket.cwnd == 1000


def test_the_threshold_is_set_anew_when_another_segment_times_out():
    """RFC 5681 section 3.1: that has not yet been repeated by the timer."""
    peer = measured()
    peer.socket.send(bytes(10_000))
    peer.drop()
    peer.step()
    peer.drop()
    peer.inject("A", ack=2001)
    peer.drop()
    peer.step()
    assert peer.socket.ssthresh == 2000


def test_the_threshold_is_never_below_two_segments():
    """RFC 5681 equation 4."""
    peer = measured(initial_window=3)
    peer.socket.send(bytes(1000))
    peer.drop()
    peer.step()
    assert peer.socket.ssthresh == 2000


# Giving up


@both
def test_fifteen_repetitions_and_no_answer_end_the_connection(family):
    """RFC 1122 section 4.2.3.5, R2 (RFC 9293 MUST-20: at least 100 s); the number is Linux's."""
    peer = measured(family)
    peer.socket.send(bytes(1000))
    peer.drop()
    start = peer.host.now
    peer.advance(3600 * SECOND)
    assert len(peer.drop()) == 15
    with pytest.raises(CallError) as timed_out:
        peer.socket.receive()
    assert timed_out.value.errno == errno.ETIMEDOUT
    assert peer.host.now - start > 100 * SECOND
    assert peer.host.counters["tcp_connections_timed_out"] == 1
    assert peer.host.connections == 2


def test_progress_starts_the_count_anew():
    peer = measured(options=TIMESTAMPS)
    for _ in range(20):
        peer.socket.send(bytes(988))
        peer.drop()
        for _ in range(10):
            peer.step()
        peer.drop()
        peer.inject("A")
    assert peer.state == "ESTABLISHED"


def test_the_user_timeout_ends_it_sooner():
    """RFC 5482 section 3, RFC 9293 section 3.9.1.8: counted from when the data was first sent."""
    peer = measured()
    peer.socket.set_option(*USER_TIMEOUT, 5000)
    peer.advance(100 * SECOND)
    peer.socket.send(bytes(1000))
    peer.drop()
    peer.advance(5 * SECOND - 1)
    assert peer.state == "ESTABLISHED"
    peer.advance(1)
    assert peer.socket.error == errno.ETIMEDOUT


def test_the_user_timeout_wins_over_the_number_of_repetitions():
    """RFC 5482: it may be longer too."""
    peer = measured()
    peer.socket.set_option(*USER_TIMEOUT, 7200_000)
    peer.socket.send(bytes(1000))
    peer.advance(7199 * SECOND)
    assert peer.state == "ESTABLISHED"
    peer.advance(1 * SECOND)
    assert peer.state == "CLOSED"


def test_the_user_timeout_counts_from_the_last_progress():
    """RFC 5482 section 3: data remains unacknowledged for that long."""
    peer = measured()
    peer.socket.set_option(*USER_TIMEOUT, 5000)
    peer.socket.send(bytes(3000))
    peer.drop()
    for ack in (1001, 2001):
        peer.advance(4 * SECOND)
        peer.inject("A", ack=ack)
    peer.advance(4 * SECOND)
    assert peer.state == "ESTABLISHED"
    peer.advance(1 * SECOND)
    assert peer.socket.error == errno.ETIMEDOUT


def test_the_user_timeout_holds_for_a_closed_window_too():
    """As Linux: probes that are answered are no progress."""
    peer = measured()
    peer.socket.set_option(*USER_TIMEOUT, 5000)
    peer.inject("A", window=0)
    peer.socket.send(bytes(1000))
    start = peer.host.now
    while peer.state != "CLOSED":
        peer.step()
        peer.drop()
        peer.inject("A", window=0)
    assert 5 * SECOND <= peer.host.now - start <= 11 * SECOND
    assert peer.socket.error == errno.ETIMEDOUT


def test_the_user_timeout_holds_for_a_syn_too():
    """As Linux."""
    peer = accepted()
    socket = peer.host.tcp()
    socket.set_option(*USER_TIMEOUT, 2500)
    socket.connect("192.0.2.99", 80)
    peer.advance(2499 * MS)
    assert socket.state == "SYN-SENT"
    peer.advance(1 * MS)
    assert socket.error == errno.ETIMEDOUT


def test_an_idle_connection_never_times_out():
    """RFC 1122 section 4.2.3.6 (MUST-25): without keepalive nothing ends it."""
    peer = measured()
    peer.socket.set_option(*USER_TIMEOUT, 5000)
    peer.send(1000)
    peer.advance(30 * 24 * 3600 * SECOND)
    assert peer.state == "ESTABLISHED"
