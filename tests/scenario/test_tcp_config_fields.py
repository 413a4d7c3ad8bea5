"""Fields of TcpConfig that no other test turns: each changes what is seen on the wire."""

from __future__ import annotations

from itertools import pairwise

import pytest
from scenario.peer import FULL, MS, PLAIN, SECOND, TIMESTAMPS
from scenario.tcp_states import accepted, alone, listening

DAY = 86400 * SECOND


def timeouts(peer) -> list[int]:
    """Between the transmissions of what is never acknowledged, until nothing is left to do."""
    first = peer.drop()[-1].at
    times = [first]
    while peer.host.deadline is not None and len(times) < 40:
        peer.step()
        times += [segment.at for segment in peer.drop() if "R" not in segment.flags]
    return [(after - before) // MS for before, after in pairwise(times)]


@pytest.mark.parametrize("retries", [2, 4])
def test_retries2_bounds_the_timeouts_of_a_connection(retries):
    """RFC 1122 section 4.2.3.5, R2."""
    peer = accepted(retries2=retries, early_retrans=0)
    peer.socket.send(b"x")
    assert len(timeouts(peer)) == retries
    assert peer.state == "CLOSED"


@pytest.mark.parametrize("retries", [2, 4])
def test_orphan_retries_bounds_those_of_one_that_nobody_holds(retries):
    peer = accepted(orphan_retries=retries, early_retrans=0)
    peer.socket.send(b"x")
    peer.socket.close()
    assert len(timeouts(peer)) == retries
    assert peer.state == "CLOSED"


@pytest.mark.parametrize("thin", [False, True])
def test_thin_linear_timeouts_do_not_back_off(thin):
    """As Linux, six times; then they do."""
    peer = accepted(rtt=100 * MS, thin_linear_timeouts=thin, early_retrans=0)
    peer.socket.send(b"x")
    waits = timeouts(peer)
    assert (len(set(waits[:6])) == 1) is thin
    assert waits[10] > waits[5]


@pytest.mark.parametrize(("delay", "most", "waits"), [(40, 200, 40), (90, 200, 90), (40, 15, 15)])
def test_an_ack_is_delayed_as_configured(delay, most, waits):
    """delayed_ack, delayed_ack_max (RFC 9293 section 3.8.6.3)."""
    peer = accepted(delayed_ack=delay * MS, delayed_ack_max=most * MS)
    peer.socket.set_option(6, 12, 0)  # TCP_QUICKACK
    peer.inject("A", data=b"x")
    peer.advance((waits - 1) * MS)
    peer.expect_nothing()
    peer.advance(1 * MS)
    peer.expect("A", ack=2)


@pytest.mark.parametrize("threshold", [1, 3])
def test_pingpong_threshold_says_what_is_interactive(threshold):
    """So many answers to text, and ACKs are delayed."""
    peer = accepted(pingpong_threshold=threshold)
    for number in range(1, threshold + 1):
        assert peer.socket.get_option(6, 12) == 1
        peer.inject("A", data=b"?")
        peer.socket.send(b"!")
        peer.drop()
        peer.inject("A")
        assert peer.socket.get_option(6, 12) == (number < threshold)


@pytest.mark.parametrize("hold", [200, 700])
def test_cork_holds_a_small_segment_back(hold):
    peer = accepted(cork=hold * MS, rto_min=10 * MS)
    peer.socket.set_option(6, 3, 1)
    peer.socket.send(b"x")
    peer.advance((hold - 1) * MS)
    peer.expect_nothing()
    peer.advance(1 * MS)
    peer.expect("A", data=b"x")


@pytest.mark.parametrize("degree", [3, 6])
def test_reordering_is_how_many_may_overtake(degree):
    """DupThresh (RFC 6675) without RACK."""
    peer = accepted(options=FULL, recovery=0, reordering=degree, early_retrans=0)
    peer.socket.send(bytes(9000))
    sent = peer.drop()
    start = next(segment.end for segment in sent)
    size = start - 1
    for count in range(1, degree + 1):
        peer.expect_nothing()
        peer.inject("A", ack=1, sack=[(start, start + count * size)])
        again = [segment for segment in peer.drop() if segment.seq == 1]
        assert bool(again) is (count == degree)


@pytest.mark.parametrize("most", [4, 300])
def test_max_reordering_bounds_what_is_learnt(most):
    peer = accepted(options=FULL, max_reordering=most)
    peer.socket.send(bytes(14000))
    sent = peer.drop()
    ends = sorted(segment.end for segment in sent)
    size = ends[0] - 1
    peer.inject("A", ack=1, sack=[(1 + 7 * size, 1 + 8 * size)])
    peer.inject("A", ack=1 + 8 * size)
    assert peer.tcb.reordering == (4 if most == 4 else 8)


@pytest.mark.parametrize("window", [10, 300])
def test_min_rtt_window_forgets(window):
    """The least round trip of so many seconds."""
    peer = accepted(rtt=20 * MS, options=TIMESTAMPS, min_rtt_window=window * SECOND)
    for _ in range(20):
        peer.advance(SECOND)
        peer.socket.send(bytes(4000))  # an ACK of one segment may be delayed
        peer.drop()
        peer.advance(50 * MS)
        peer.inject("A")
    assert peer.tcb.min_rtt == (50 if window == 10 else 20) * MS


@pytest.mark.parametrize("dsack", [False, True])
def test_dsack_reports_duplicates(dsack):
    """RFC 2883."""
    peer = accepted(options=FULL, dsack=dsack)
    peer.inject("A", seq=1, data=b"abc")
    peer.drop()
    peer.inject("A", seq=1, data=b"abc")
    assert ("sack" in peer.expect("A").options) is dsack


@pytest.mark.parametrize("most", [0, 1])
def test_max_backlog_bounds_what_listen_asks_for(most):
    """net.core.somaxconn: one more than that waits to be accepted, as in Linux."""
    peer = listening(backlog=50, max_backlog=most)
    others = [peer.sibling(port) for port in range(1, 5)]
    for other in others:
        other.inject("S", seq=0, options=PLAIN)
        other.inject("A", seq=1, ack=1) if other.collect() else None
    assert [other.state for other in others].count("ESTABLISHED") == most + 1


def test_keepalive_is_configured():
    """keepalive_time, keepalive_interval, keepalive_probes: RFC 1122 section 4.2.3.6."""
    peer = accepted(keepalive_time=10 * SECOND, keepalive_interval=2 * SECOND, keepalive_probes=3)
    peer.socket.set_option(1, 9, 1)
    start = peer.host.now
    peer.advance(60 * SECOND)
    seen = [((one.at - start) // SECOND, one.flags) for one in peer.drop()]
    assert [at for at, _ in seen] == [10, 12, 14, 16]
    assert "R" in seen[-1][1]


@pytest.mark.parametrize("seconds", [5, 30])
def test_fin_timeout_ends_a_wait_for_a_fin(seconds):
    peer = accepted(fin_timeout=seconds * SECOND)
    peer.socket.close()
    peer.expect("FA")
    peer.inject("A")
    assert peer.state == "FIN-WAIT-2"
    peer.advance((seconds - 1) * SECOND)
    assert peer.state != "CLOSED"
    peer.advance(1 * SECOND)
    assert peer.state == "CLOSED"


@pytest.mark.parametrize("seconds", [1, 60])
def test_time_wait_is_two_msl(seconds):
    """RFC 9293 section 3.6.1."""
    peer = accepted(time_wait=seconds * SECOND)
    peer.socket.close()
    peer.expect("FA")
    peer.inject("FA")
    peer.expect("A")
    peer.advance(seconds * SECOND - 1)
    assert peer.state == "TIME-WAIT"
    peer.advance(1)
    assert peer.state == "CLOSED"


def test_challenge_period_is_between_two_of_a_connection():
    """RFC 5961 section 7."""
    peer = accepted(challenge_period=3 * SECOND)
    answers = 0
    for _ in range(10):
        peer.advance(SECOND)
        peer.inject("S", seq=100)
        answers += len(peer.drop())
    assert answers == 4


def test_ports_are_of_the_range():
    """RFC 6056 section 3.2; a range that is used up is EADDRNOTAVAIL."""
    peer = alone(first_port=5000, port_count=3)
    ports = set()
    for _ in range(3):
        one = peer.host.tcp()
        one.connect(peer.remote, 40000)
        ports.add(peer.expect_syn() and peer.local_port)
    assert ports == {5000, 5001, 5002}


@pytest.mark.parametrize(("share", "window"), [(1, 20_000), (2, 30_000), (-2, 10_000)])
def test_window_share_is_what_of_a_receive_buffer_is_window(share, window):
    peer = alone(window_share=share)
    one = peer.host.tcp()
    one.set_option(1, 8, 20_000)  # SO_RCVBUF, doubled
    one.connect(peer.remote, 40000)
    assert 0 <= window - peer.expect_syn().window < 1460


@pytest.mark.parametrize("grows", [False, True])
def test_auto_receive_buffer_lets_windows_grow(grows):
    peer = accepted(
        options=FULL,
        receive_buffer=65536,
        receive_buffer_max=1 << 24,
        window_scale=10,
        auto_receive_buffer=grows,
    )
    for _ in range(6):
        left = peer.tcb.rcv_edge - peer.tcb.rcv_nxt
        while left >= 988:
            peer.inject("A", data=bytes(988))
            left -= 988
            peer.socket.receive()
        peer.ts_val += 20
        peer.advance(20 * MS)
        peer.drop()
    assert (peer.tcb.rcv_edge - peer.tcb.rcv_nxt > 100_000) is grows


def test_a_shift_above_14_is_taken_as_14():
    """RFC 7323 section 2.3."""
    peer = accepted(options={"mss": 1460, "wscale": 15})
    assert peer.tcb.snd_scale == 14
