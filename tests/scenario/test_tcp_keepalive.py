"""Keepalive: when an idle connection is probed, and when it is given up."""

from __future__ import annotations

import errno

import pytest
from scenario.peer import FULL, MS, PLAIN, SECOND
from scenario.tcp_states import accepted, connected, connecting
from scenario.tcp_wire import FAMILIES

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
KEEPALIVE, IDLE, INTERVAL, COUNT, USER_TIMEOUT = (1, 9), (6, 4), (6, 5), (6, 6), (6, 18)


def kept(family=FAMILIES[0], *, idle=100, interval=10, count=3, **config):
    peer = accepted(family, **config)
    peer.socket.set_option(*IDLE, idle)
    peer.socket.set_option(*INTERVAL, interval)
    peer.socket.set_option(*COUNT, count)
    peer.socket.set_option(*KEEPALIVE, 1)
    return peer


def test_by_default_nothing_is_probed():
    """RFC 9293 section 3.8.4 (MUST-25)."""
    peer = accepted()
    peer.advance(30 * 24 * 3600 * SECOND)
    peer.expect_nothing()
    assert peer.host.deadline is None


def test_the_defaults_are_two_hours_75_seconds_and_nine():
    """RFC 9293 section 3.8.4 (MUST-28); Linux."""
    peer = accepted()
    assert [peer.socket.get_option(*o) for o in (IDLE, INTERVAL, COUNT)] == [7200, 75, 9]
    peer.socket.set_option(*KEEPALIVE, 1)
    start = peer.host.now
    peer.advance(7200 * SECOND - 1)
    peer.expect_nothing()
    peer.advance(10_000 * SECOND)
    *probes, reset = peer.drop()
    assert [(s.at - start) // SECOND for s in probes] == [7200 + 75 * n for n in range(9)]
    assert "R" in reset.flags
    assert peer.socket.error == errno.ETIMEDOUT


@both
@pytest.mark.parametrize("options", [PLAIN, FULL], ids=["plain", "full"])
def test_a_probe_lies_below_the_window_and_carries_nothing(family, options):
    """RFC 9293 section 3.8.4: SEG.SEQ = SND.NXT - 1, so that the peer must answer."""
    peer = kept(family, options=options)
    peer.send(10)
    peer.advance(100 * SECOND)
    peer.expect("A", seq=10, ack=1, data=b"")


def test_an_answer_starts_the_idle_time_anew():
    peer = kept()
    for _ in range(5):
        peer.advance(100 * SECOND)
        peer.expect("A", seq=0)
        peer.inject("A")
    peer.advance(100 * SECOND - 1)
    peer.expect_nothing()


def test_any_segment_starts_the_idle_time_anew():
    peer = kept()
    peer.advance(90 * SECOND)
    peer.inject("A", data=b"alive")
    peer.drop()
    peer.advance(90 * SECOND)
    peer.expect_nothing()
    peer.advance(10 * SECOND)
    peer.expect("A", seq=0)


@both
def test_unanswered_probes_end_the_connection(family):
    """RFC 9293 section 3.8.4 (MUST-29): not the first that is lost."""
    peer = kept(family)
    peer.advance(129 * SECOND)
    assert len(peer.drop()) == 3
    assert peer.state == "ESTABLISHED"
    peer.advance(1 * SECOND)
    peer.expect("RA")
    assert peer.socket.error == errno.ETIMEDOUT
    assert peer.host.protocol_deadline is None


def test_an_answer_to_a_later_probe_is_in_time():
    peer = kept()
    peer.advance(125 * SECOND)
    assert len(peer.drop()) == 3
    peer.inject("A")
    peer.advance(99 * SECOND)
    peer.expect_nothing()
    peer.advance(1 * SECOND)
    peer.expect("A", seq=0)


def test_the_user_timeout_wins_over_the_count():
    """tcp(7): TCP_USER_TIMEOUT."""
    peer = kept(count=100)
    peer.socket.set_option(*USER_TIMEOUT, 115_000)
    peer.advance(119 * SECOND)
    assert peer.state == "ESTABLISHED"
    peer.advance(2 * SECOND)
    assert peer.socket.error == errno.ETIMEDOUT


def test_a_peer_that_lost_its_state_resets():
    """RFC 9293 section 3.8.4: that is what keepalives find out."""
    peer = kept()
    peer.advance(100 * SECOND)
    probe = peer.expect("A", seq=0)
    peer.inject("R", seq=probe.ack)
    assert peer.socket.error == errno.ECONNRESET


def test_no_probe_while_data_is_outstanding():
    """RFC 9293 section 3.8.4 (MUST-26): only when nothing else would find out."""
    peer = kept(idle=1)
    peer.socket.send(b"x" * 100)
    peer.advance(10 * SECOND)
    assert all(s.seq == 1 and s.length for s in peer.drop())
    assert "tcp_keepalives" not in peer.host.counters


def test_turning_it_off_stops_the_probes():
    peer = kept()
    peer.advance(105 * SECOND)
    peer.drop()
    peer.socket.set_option(*KEEPALIVE, 0)
    peer.advance(3600 * SECOND)
    peer.expect_nothing()
    assert peer.state == "ESTABLISHED"


def test_turning_it_on_counts_the_idle_time_from_now():
    """As Linux."""
    peer = accepted()
    peer.advance(60 * SECOND)
    peer.socket.set_option(*IDLE, 100)
    peer.socket.set_option(*KEEPALIVE, 1)
    peer.advance(100 * SECOND - 1)
    peer.expect_nothing()
    peer.advance(1)
    peer.expect("A", seq=0)


@pytest.mark.parametrize(("idle", "wait"), [(60, 10), (50, 0), (10, 0)])
def test_another_idle_time_counts_from_the_last_segment(idle, wait):
    """As Linux."""
    peer = kept(idle=1000)
    peer.advance(50 * SECOND)
    peer.socket.set_option(*IDLE, idle)
    peer.host.advance(wait * SECOND)
    peer.expect("A", seq=0)


def test_it_may_be_chosen_before_the_connection_is_there():
    peer = connecting()
    peer.socket.set_option(*IDLE, 10)
    peer.socket.set_option(*KEEPALIVE, 1)
    peer.answer_syn()
    peer.advance(10 * SECOND)
    peer.expect("A", seq=0)


def test_a_half_closed_connection_is_probed_too():
    """As Linux: FIN-WAIT-2 that somebody holds, and CLOSE-WAIT."""
    peer = kept()
    peer.inject("FA")
    peer.expect("A", ack=2)
    peer.advance(100 * SECOND)
    peer.expect("A", seq=0, ack=2)
    peer = kept()
    peer.socket.shutdown(1)
    peer.drop()
    peer.inject("A")
    peer.advance(100 * SECOND)
    peer.expect("A", seq=1)
    assert peer.state == "FIN-WAIT-2"


@both
def test_the_peers_probes_are_answered(family):
    """RFC 9293 section 3.8.4 and 3.10.7.4: with a byte of garbage or without."""
    for data in (b"", b"\0"):
        peer = connected(family)
        peer.inject("A", data=b"text")
        peer.drop()
        for _ in range(3):
            peer.advance(SECOND)
            peer.inject("A", seq=4, data=data)
            peer.expect("A", seq=1, ack=5)
        assert peer.socket.receive() == b"text"


def test_no_connection_is_probed_more_often_than_it_wants():
    """No timer in the past: a thousand wake-ups a second are a bug."""
    peer = kept(idle=1, interval=1, count=127)
    peer.send(100)
    wakes = 0
    end = peer.host.now + 100 * SECOND
    while peer.host.deadline is not None and peer.host.deadline < end:
        peer.step()
        wakes += 1
        if peer.drop():
            peer.advance(5 * MS)
            peer.inject("A")
    assert wakes < 250
