"""TIME-WAIT: how long, what it answers, what may replace it, how many there are."""

from __future__ import annotations

import errno

import pytest
from native.core import CallError
from scenario.peer import FULL, SECOND, TIMESTAMPS
from scenario.tcp_states import SHUT_WR, accepted, close, connected, in_state
from scenario.tcp_wire import FAMILIES, IPV4

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
PLAIN = {"mss": 1000}


def test_it_lasts_two_maximum_segment_lifetimes():
    """RFC 9293 section 3.6.1; 60 s as Linux."""
    peer = in_state("TIME-WAIT")
    peer.advance(60 * SECOND - 1)
    assert peer.state == "TIME-WAIT"
    peer.advance(1)
    assert peer.state == "CLOSED"
    peer.expect_nothing()


def test_it_costs_its_control_block_and_nothing_else():
    peer = in_state("TIME-WAIT")
    assert (peer.socket.ring_memory, peer.socket.busy) == (0, False)


def test_a_repeated_fin_starts_it_anew():
    """RFC 9293 section 3.10.7.4 eighth."""
    peer = in_state("TIME-WAIT")
    peer.advance(59 * SECOND)
    peer.inject("FA", seq=1)
    peer.expect("A", seq=2, ack=2)
    peer.advance(59 * SECOND)
    assert peer.state == "TIME-WAIT"
    peer.advance(1 * SECOND)
    assert peer.state == "CLOSED"


@pytest.mark.parametrize("seq", [0, 2, 500, 70000, -5])
def test_any_other_fin_does_not(seq):
    """Nobody keeps it alive who does not know where the stream ended."""
    peer = in_state("TIME-WAIT")
    peer.advance(59 * SECOND)
    peer.inject("FA", seq=seq)
    peer.drop()
    peer.advance(1 * SECOND)
    assert peer.state == "CLOSED"


@both
@pytest.mark.parametrize("seq", [2, 3, 1, 100])
def test_resets_are_ignored(family, seq):
    """RFC 1337 section 3: else an old one would end it early."""
    peer = in_state("TIME-WAIT", family)
    peer.inject("R", seq=seq)
    peer.inject("RA", seq=seq)
    peer.expect_nothing()
    assert peer.state == "TIME-WAIT"


@both
def test_without_rfc1337_a_reset_ends_it_at_the_right_place_only(family):
    """RFC 1337 section 3 is TcpConfig.rfc1337; RFC 5961 section 3.2 for the place."""
    peer = in_state("TIME-WAIT", family, rfc1337=False)
    for seq in (1, 3, 100):
        peer.inject("R", seq=seq)
    assert peer.state == "TIME-WAIT"
    peer.inject("R", seq=2)
    peer.expect_nothing()
    assert peer.state == "CLOSED"


def test_an_icmp_error_does_not_end_it():
    peer = accepted()
    peer.socket.shutdown(SHUT_WR)
    fin = peer.expect("FA")
    peer.inject("A")
    peer.inject("FA")
    peer.error("port unreachable", fin)
    assert peer.state == "TIME-WAIT"


# Reopening


@both
def test_a_newer_timestamp_reopens_the_four_tuple(family):
    """RFC 6191 section 2, whatever the sequence number."""
    peer = in_state("TIME-WAIT", family, options=TIMESTAMPS)
    before = peer.irs
    peer.ts_val += 1
    peer.inject("S", seq=-500_000)
    answer = peer.expect("SA", ack=-499_999 % 2**32)
    assert answer.ts[1] == peer.ts_val
    assert peer.state == "SYN-RECEIVED"
    assert peer.host.counters["tcp_time_wait_reused"] == 1
    # RFC 9293 section 3.6.1: beyond what the old connection used
    assert 0 < (peer.irs - before - 2) % 2**32 < 2**31
    peer.inject("A", seq=-499_999, ack=1)
    assert peer.state == "ESTABLISHED"


@pytest.mark.parametrize("seq", [-500_000, 3, 500_000])
def test_an_older_timestamp_does_not_reopen(seq):
    """RFC 6191 section 2, whatever the sequence number."""
    peer = in_state("TIME-WAIT", options=TIMESTAMPS)
    peer.ts_val -= 1
    peer.inject("S", seq=seq)
    peer.expect("A", seq=2, ack=2)
    assert peer.state == "TIME-WAIT"


@pytest.mark.parametrize(("seq", "reopens"), [(3, True), (2, False), (1, False), (-9, False)])
@pytest.mark.parametrize("options", [PLAIN, TIMESTAMPS], ids=["plain", "equal timestamps"])
def test_else_a_greater_sequence_number_reopens(options, seq, reopens):
    """RFC 6191 section 2, RFC 1122 section 4.2.2.13."""
    peer = in_state("TIME-WAIT", options=options)
    peer.inject("S", seq=seq)
    peer.expect("SA" if reopens else "A")
    assert (peer.state == "SYN-RECEIVED") == reopens


@pytest.mark.parametrize("seq", [-500_000, 2, 500_000])
def test_timestamps_where_there_were_none_reopen(seq):
    """RFC 6191 section 2: they tell the two connections apart."""
    peer = in_state("TIME-WAIT", options=PLAIN)
    peer.inject("S", seq=seq, options={"mss": 1000, "ts": (0x9000_0000, 0)})
    assert "ts" in peer.expect("SA").options


@pytest.mark.parametrize(("seq", "reopens"), [(500, True), (-500, False)])
def test_a_syn_without_the_timestamps_that_there_were_needs_a_greater_number(seq, reopens):
    """RFC 6191 section 2."""
    peer = in_state("TIME-WAIT", options=TIMESTAMPS)
    peer.timestamps = False
    peer.inject("S", seq=seq)
    peer.expect("SA" if reopens else "A")


@pytest.mark.parametrize("flags", ["SA", "SF", "SR", "SRA"])
def test_only_a_plain_syn_reopens(flags):
    peer = in_state("TIME-WAIT", options=TIMESTAMPS)
    peer.ts_val += 1
    peer.inject(flags, seq=5000)
    assert peer.state == "TIME-WAIT"


def test_nobody_listens_so_nothing_is_reopened():
    """As Linux: a SYN is no way to kill a TIME-WAIT."""
    peer = in_state("TIME-WAIT", options=TIMESTAMPS)
    peer.listener.close()
    peer.ts_val += 1
    peer.inject("S", seq=5000)
    peer.expect("A", seq=2, ack=2)
    assert peer.state == "TIME-WAIT"


def test_who_still_holds_the_old_connection_sees_it_end():
    peer = in_state("TIME-WAIT")
    old = peer.socket
    peer.host.take_ready()
    peer.inject("S", seq=5000)
    peer.expect("SA")
    assert old.state == "CLOSED"
    assert old.receive() == b""
    old.close()
    peer.inject("A", seq=5001, ack=1)
    assert peer.listener.accept().state == "ESTABLISHED"


def test_a_syn_flood_at_a_time_wait_is_answered_by_cookies_too():
    peer = in_state("TIME-WAIT", options=FULL, max_syn_backlog=8)
    for port in range(8):
        peer.sibling(1024 + port).inject("S", seq=0)
    peer.ts_val += 1
    peer.inject("S", seq=5000, options={"mss": 1000})
    peer.expect("SA")
    assert peer.host.counters["tcp_syn_cookies_sent"] == 1


# Numbers


def test_there_are_at_most_so_many_and_the_oldest_goes():
    """design.md, idea 5: everything a peer can grow has a bound."""
    peer = accepted(max_time_wait=3)
    others = [peer.sibling(port) for port in range(1, 6)]
    for other in others:
        other.handshake()
        other.socket = peer.listener.accept()
        close(other, "TIME-WAIT")
        other.socket.close()
    assert peer.host.time_wait == 3
    assert [other.state for other in others] == ["CLOSED"] * 2 + ["TIME-WAIT"] * 3
    assert peer.host.counters["tcp_time_wait_recycled"] == 2
    peer.advance(60 * SECOND)
    assert peer.host.time_wait == 0


def test_a_time_wait_that_was_renewed_is_not_the_oldest():
    peer = accepted(max_time_wait=2)
    others = [peer.sibling(port) for port in range(1, 4)]
    for other in others:
        other.handshake()
        other.socket = peer.listener.accept()
    for other in others[:2]:
        close(other, "TIME-WAIT")
    others[0].inject("FA", seq=1)
    close(others[2], "TIME-WAIT")
    assert [other.state for other in others] == ["TIME-WAIT", "CLOSED", "TIME-WAIT"]


# connect() into TIME-WAIT (TcpConfig.time_wait_reuse)


def waiting(family=IPV4, options=TIMESTAMPS, **config):
    """A connection of ours that we have closed, and its port."""
    peer = connected(family, options=options, **config)
    close(peer, "TIME-WAIT")
    peer.socket.close()
    return peer


def again(peer):
    """The same four-tuple once more."""
    socket = peer.host.tcp(peer.family.v6)
    socket.bind(peer.local, peer.local_port)
    socket.connect(peer.remote, peer.port)
    return socket


@both
def test_a_port_in_time_wait_may_be_taken_again(family):
    """RFC 6191 section 2 seen from the other end; as Linux's tcp_tw_reuse with 1."""
    peer = waiting(family, time_wait_reuse=1)
    old_end = peer.tcb.snd_nxt
    peer.advance(SECOND + 1)
    before = peer.ts_recent
    socket = again(peer)
    syn = peer.expect("S")
    assert (peer.irs - old_end) % 2**32 < 2**31  # RFC 9293 section 3.4.1
    assert syn.options["ts"][0] > before
    assert peer.host.counters["tcp_time_wait_reused"] == 1
    assert peer.host.time_wait == 0
    assert socket.state == "SYN-SENT"


@pytest.mark.parametrize(
    ("options", "reuse", "wait"),
    [
        (TIMESTAMPS, 0, 30),  # switched off
        (TIMESTAMPS, 2, 30),  # not an address of our own
        (TIMESTAMPS, 1, 0.9),  # too soon
        (PLAIN, 1, 30),  # nothing tells the two apart
    ],
)
def test_otherwise_it_is_in_use(options, reuse, wait):
    peer = waiting(options=options, time_wait_reuse=reuse)
    peer.advance(int(wait * SECOND))
    with pytest.raises(CallError) as error:
        again(peer)
    assert error.value.errno == errno.EADDRNOTAVAIL
    assert peer.state == "TIME-WAIT"


@pytest.mark.parametrize(("wait", "is_free"), [(4.9, False), (5.1, True)])
def test_how_soon_it_may_be_taken_is_configured(wait, is_free):
    peer = waiting(time_wait_reuse=1, time_wait_reuse_delay=5 * SECOND)
    peer.advance(int(wait * SECOND))
    if is_free:
        assert again(peer).state == "SYN-SENT"
        return
    with pytest.raises(CallError) as error:
        again(peer)
    assert error.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize("reuse", [1, 0])
def test_ports_in_time_wait_are_chosen_again_when_they_may_be(reuse):
    """RFC 6056 section 3.3.4 looks for a port that is free; one such is, with tcp_tw_reuse."""
    peer = waiting(time_wait_reuse=reuse, first_port=5000, port_count=1)
    assert peer.local_port == 5000
    peer.advance(2 * SECOND)
    socket = peer.host.tcp()
    if reuse:
        socket.connect(peer.remote, peer.port)
        assert socket.port == 5000
    else:
        with pytest.raises(CallError) as error:
            socket.connect(peer.remote, peer.port)
        assert error.value.errno == errno.EADDRNOTAVAIL
    peer.host.take()
