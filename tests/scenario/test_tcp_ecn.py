"""Explicit congestion notification: agreed on, marked, echoed, obeyed (RFC 3168 section 6.1)."""

from __future__ import annotations

import pytest
from scenario.peer import FULL, MS, PLAIN
from scenario.tcp_states import alone, connecting, listening
from scenario.tcp_wire import FAMILIES

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
NOT_ECT, ECT_1, ECT_0, CE = range(4)
RTT = 100 * MS


def ecn(segment):
    return segment.tos & 3


def accepted(family=FAMILIES[0], *, rtt=RTT, **config):
    """Opened by a peer that asks for ECN, which is agreed to."""
    peer = listening(family, **config)
    peer.inject("SEC", seq=0, options=peer.syn_options())
    peer.timestamps = "ts" in peer.expect("SAE", ack=1).options
    peer.advance(rtt)
    peer.inject("A")
    peer.expect_nothing()
    peer.socket = peer.listener.accept()
    return peer


def connected(family=FAMILIES[0], **config):
    """The host asks for ECN, and the peer agrees."""
    peer = connecting(family, ecn=1, **config)
    peer.expect("SEC")
    peer.inject("SAE", seq=0, ack=1, options=peer.syn_options())
    peer.expect("A", ack=1)
    return peer


def busy(**config):
    """With 900 kB to send and an open window."""
    peer = accepted(options={"mss": 1000, "wscale": 7, "sack_ok": True}, **config)
    peer.window = 60_000
    peer.inject("A")
    peer.socket.send(bytes(900_000))
    return peer


# --- the handshake: section 6.1.1


@both
def test_a_syn_asks_only_if_told_to(family):
    """Linux's tcp_ecn of 2, the default: agree, but do not ask."""
    connecting(family).expect("S")
    connecting(family, ecn=0).expect("S")
    assert ecn(connecting(family, ecn=1).expect("SEC")) == NOT_ECT


@both
@pytest.mark.parametrize("setting", [1, 2])
def test_an_ecn_setup_syn_draws_an_ecn_setup_syn_ack(family, setting):
    """Section 6.1.1: ECE without CWR, and itself not capable (section 6.1.1)."""
    peer = listening(family, ecn=setting)
    peer.inject("SEC", seq=0, options=peer.syn_options())
    assert ecn(peer.expect("SAE", ack=1)) == NOT_ECT


@both
def test_who_does_not_want_it_answers_as_if_nothing_had_been_asked(family):
    """Section 6.1.1: a SYN-ACK without ECE; never a reset."""
    peer = listening(family, ecn=0)
    peer.inject("SEC", seq=0, options=peer.syn_options())
    peer.expect("SA", ack=1)
    peer.inject("A")
    peer.listener.accept().send(bytes(1000))
    assert ecn(peer.expect("A", seq=1)) == NOT_ECT


@pytest.mark.parametrize("flags", ["S", "SE", "SC"])
def test_only_both_flags_ask(flags):
    """Section 6.1.1: any other SYN is a non-ECN-setup SYN."""
    peer = listening()
    peer.inject(flags, seq=0, options=peer.syn_options())
    peer.expect("SA", ack=1)


@pytest.mark.parametrize("mark", [ECT_1, ECT_0, CE])
def test_a_marked_syn_is_not_believed(mark):
    """Section 6.1.1: a SYN must not be capable; as Linux, who sends one anyway gets no ECN."""
    peer = listening()
    peer.inject("SEC", seq=0, options=peer.syn_options(), tos=mark)
    peer.expect("SA", ack=1)


@pytest.mark.parametrize("flags", ["SA", "SAC", "SAEC"])
def test_only_ece_alone_agrees(flags):
    """Section 6.1.1: both flags in a SYN-ACK were reflected by somebody who ignores them."""
    peer = connecting(ecn=1)
    peer.expect("SEC")
    peer.inject(flags, seq=0, ack=1, options=peer.syn_options())
    peer.expect("A", ack=1)
    peer.socket.send(bytes(1000))
    assert ecn(peer.expect("A", seq=1)) == NOT_ECT


def test_a_syn_sent_again_does_not_ask():
    """Section 6.1.1.1: what lost the first one may be somebody who does not like the flags."""
    peer = connecting(ecn=1)
    peer.expect("SEC")
    peer.step()
    peer.expect("S")


def test_the_answer_to_the_first_of_two_syns_still_agrees():
    peer = connecting(ecn=1)
    peer.expect("SEC")
    peer.step()
    peer.expect("S")
    peer.inject("SAE", seq=0, ack=1, options=peer.syn_options())
    peer.expect("A", ack=1)
    peer.socket.send(bytes(1000))
    assert ecn(peer.expect("A", seq=1)) == ECT_0


def test_the_fallback_may_be_switched_off():
    peer = connecting(ecn=1, ecn_fallback=0)
    peer.expect("SEC")
    peer.step()
    peer.expect("SEC")


def test_a_syn_ack_sent_again_still_agrees():
    """As Linux: the agreement stands."""
    peer = listening()
    peer.inject("SEC", seq=0, options=peer.syn_options())
    peer.expect("SAE", ack=1)
    peer.step()
    peer.expect("SAE", ack=1)


def test_both_ends_may_ask_at_once():
    """Simultaneous open (RFC 9293 figure 8) of two who ask."""
    peer = connecting(ecn=1)
    peer.expect("SEC")
    peer.inject("SEC", seq=0, options=peer.syn_options())
    peer.expect("SAE", seq=0, ack=1)
    peer.inject("A", seq=1, ack=1)
    peer.socket.send(bytes(1000))
    assert ecn(peer.expect("A", seq=1)) == ECT_0


@pytest.mark.parametrize("asked", [True, False])
def test_a_syn_cookie_remembers_the_agreement(asked):
    """As Linux, in the timestamp."""
    peer = listening(backlog=1, max_syn_backlog=1, options=FULL)
    other = peer.sibling(40001)
    other.open()
    peer.inject("SEC" if asked else "S", seq=0, options=peer.syn_options())
    peer.timestamps = True
    peer.expect("SAE" if asked else "SA", ack=1)
    assert peer.host.counters["tcp_syn_cookies_sent"] == 1
    peer.inject("A")
    peer.listener.accept().send(bytes(1000))
    assert ecn(peer.expect("A", seq=1)) == (ECT_0 if asked else NOT_ECT)


# --- what is marked as capable


@both
def test_new_text_is_capable(family):
    """Section 6.1.2: ECT(0)."""
    for peer in (accepted(family), connected(family)):
        peer.socket.send(bytes(3000))
        assert [ecn(s) for s in peer.drop()] == [ECT_0] * 3


def test_a_pure_ack_is_not():
    """Section 6.1.4."""
    peer = accepted()
    peer.inject("A", data=bytes(1000), tos=ECT_0)
    assert ecn(peer.expect("A", ack=1001)) == NOT_ECT


def test_a_retransmission_is_not():
    """Section 6.1.5."""
    peer = accepted()
    peer.socket.send(bytes(1000))
    assert ecn(peer.expect("A", seq=1)) == ECT_0
    peer.step()
    peer.drop()
    peer.advance(RTT * 10)
    again = peer.drop()
    assert again
    assert {ecn(s) for s in again} == {NOT_ECT}


def test_a_window_probe_is_not():
    """Section 6.1.6."""
    peer = accepted()
    peer.window = 0
    peer.inject("A")
    peer.socket.send(bytes(1000))
    peer.expect_nothing()
    peer.step()
    assert ecn(peer.expect("A", seq=0)) == NOT_ECT


def test_a_bare_fin_and_a_reset_are_not():
    """As Linux: they carry no text."""
    peer = accepted()
    peer.socket.shutdown(1)
    assert ecn(peer.expect("FA")) == NOT_ECT
    peer = accepted()
    peer.socket.abort()
    assert ecn(peer.expect("RA")) == NOT_ECT


def test_without_agreement_nothing_is():
    peer = alone(ecn=1)
    peer = listening(ecn=1)
    peer.handshake()
    peer.listener.accept().send(bytes(1000))
    assert ecn(peer.expect("A", seq=1)) == NOT_ECT


# --- the receiver: section 6.1.3


@both
def test_a_mark_is_echoed_until_cwr_comes(family):
    """Section 6.1.3: in every ACK, also those of segments that are not marked."""
    peer = accepted(family)
    peer.inject("A", data=bytes(1000), tos=CE)
    peer.expect("AE", ack=1001)
    for _ in range(3):
        peer.inject("A", data=bytes(1000), tos=ECT_0)
        peer.advance(50 * MS)
        peer.expect("AE")
    peer.inject("AC", data=bytes(1000), tos=ECT_0)
    peer.expect("A")
    peer.inject("A", data=bytes(1000), tos=ECT_0)
    peer.advance(50 * MS)
    peer.expect("A")
    assert peer.host.counters["tcp_ecn_marks_in"] == 1


def test_text_echoes_too():
    peer = accepted()
    peer.inject("A", data=bytes(1000), tos=CE)
    peer.socket.send(bytes(1000))
    segment = peer.expect("AE", ack=1001)
    assert segment.length == 1000


def test_cwr_on_a_marked_segment_begins_anew():
    """Section 6.1.3: the mark is younger than what CWR answers."""
    peer = accepted()
    peer.inject("A", data=bytes(1000), tos=CE)
    peer.expect("AE")
    peer.inject("AC", data=bytes(1000), tos=CE)
    peer.expect("AE")


def test_cwr_without_text_is_believed():
    """As Linux: some stacks put it on ACKs."""
    peer = accepted()
    peer.inject("A", data=bytes(1000), tos=CE)
    peer.expect("AE")
    peer.inject("AC")
    peer.inject("A", data=bytes(1000), tos=ECT_0)
    peer.advance(50 * MS)
    peer.expect("A")


def test_a_mark_on_a_pure_ack_is_nothing():
    """Section 6.1.4: it cannot come from an honest router."""
    peer = accepted()
    peer.inject("A", tos=CE)
    peer.inject("A", data=bytes(1000), tos=ECT_0)
    peer.advance(50 * MS)
    peer.expect("A", ack=1001)


def test_a_mark_on_text_outside_the_window_is_nothing():
    """Section 6.1.5: or anybody could slow the peer down."""
    peer = accepted()
    peer.inject("A", seq=900_000, data=bytes(1000), tos=CE)
    peer.expect("A", ack=1)


def test_a_mark_beyond_a_hole_is_echoed():
    peer = accepted()
    peer.inject("A", seq=1001, data=bytes(1000), tos=CE)
    peer.expect("AE", ack=1)


def test_a_mark_on_a_train_is_a_mark():
    """Segments that a device has merged had the same codepoint."""
    peer = accepted()
    peer.inject("A", data=bytes(10_000), gso_size=1000, tos=CE)
    peer.expect("AE", ack=10_001)


def test_a_mark_is_acknowledged_at_once():
    """As Linux: the peer's window may be very small soon."""
    peer = accepted()
    for _ in range(30):  # past the quick ACKs of the beginning, and interactive
        peer.inject("A", data=bytes(100), tos=ECT_0)
        peer.send(100)
        peer.advance(50 * MS)
    peer.drop()
    peer.inject("A", data=bytes(100), tos=CE)
    peer.expect("AE")


def test_without_agreement_a_mark_is_not_echoed():
    peer = listening()
    peer.handshake()
    peer.inject("A", data=bytes(1000), tos=CE)
    peer.expect("A", ack=1001)


# --- the sender: section 6.1.2


CWR = 2  # of Linux's states


def echo(peer, ack):
    peer.inject("AE", ack=ack)


def test_an_echo_reduces_the_window_and_cwr_says_so():
    """Section 6.1.2: CWR on the first new text after the reduction, and only there."""
    peer = busy()
    peer.drop()
    echo(peer, 1001)
    assert peer.socket.ssthresh < 10_000
    assert peer.socket.ca_state == CWR
    peer.inject("A", ack=10_001)
    flags = ["".join(sorted(set(s.flags) - {"P"})) for s in peer.drop()]
    assert flags[0] == "AC"
    assert set(flags[1:]) == {"A"}


def test_further_echoes_in_the_same_window_reduce_nothing():
    """Section 6.1.2: at most once per window of data."""
    peer = busy()
    peer.drop()
    echo(peer, 1001)
    ssthresh = peer.socket.ssthresh
    for ack in range(2001, 11_000, 1000):
        echo(peer, ack)
        peer.collect()
    assert peer.socket.ssthresh == ssthresh
    peer.drop()
    echo(peer, 12_001)  # sent after the reduction: CWR has arrived
    assert peer.socket.ssthresh < ssthresh


def test_the_window_does_not_grow_before_cwr_has_arrived():
    peer = busy()
    peer.drop()
    echo(peer, 1001)
    peer.collect()
    peer.inject("A", ack=10_001)
    assert peer.socket.cwnd <= peer.socket.ssthresh


def test_a_loss_in_a_window_that_a_mark_has_reduced_reduces_no_further():
    """Section 6.1.2."""
    peer = busy()
    peer.drop()
    echo(peer, 1001)
    ssthresh = peer.socket.ssthresh
    for edge in (5001, 6001, 7001, 8001):
        peer.inject("A", ack=1001, sack=[(4001, edge)])
    assert peer.socket.ca_state == 3
    assert peer.socket.ssthresh == ssthresh


def test_a_loss_too_is_told_by_cwr():
    """Section 6.1.2: whatever the reason for which the window was reduced."""
    peer = busy()
    peer.drop()
    for edge in (3001, 4001, 5001):
        peer.inject("A", ack=1, sack=[(2001, edge)])
    peer.drop()
    peer.inject("A", ack=10_001)
    fresh = [s for s in peer.drop() if s.seq >= 10_001]
    assert "C" in fresh[0].flags
    assert not any("C" in s.flags for s in fresh[1:])


def test_an_echo_during_recovery_reduces_no_further():
    peer = busy()
    peer.drop()
    for edge in (3001, 4001, 5001):
        peer.inject("A", ack=1, sack=[(2001, edge)])
    ssthresh = peer.socket.ssthresh
    peer.inject("AE", ack=1, sack=[(2001, 6001)])
    assert peer.socket.ssthresh == ssthresh


def test_an_echo_that_nobody_agreed_to_is_nothing():
    peer = listening(options=PLAIN)
    peer.handshake()
    peer.listener.accept().send(bytes(900_000))
    peer.drop()
    echo(peer, 1001)
    assert peer.tcb.ssthresh > 1 << 20


def test_an_echo_in_an_old_ack_is_nothing():
    peer = busy()
    peer.drop()
    peer.inject("A", ack=5001)
    echo(peer, 1001)
    assert peer.socket.ssthresh > 1 << 20
