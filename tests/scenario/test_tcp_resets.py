"""Blind attacks, stray segments, segments that are wrong: what must not hurt."""

from __future__ import annotations

import errno

import pytest
from native.core import CallError
from scenario.peer import FULL, MS, PLAIN, SECOND
from scenario.tcp_states import SYNCHRONIZED, accepted, alone, in_state, listening
from scenario.tcp_wire import FAMILIES

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


# RFC 5961


@both
def test_only_the_exact_sequence_number_resets(family):
    """RFC 5961 section 3.2."""
    for seq in (0, 2, 100, 65535, 65536, 65537, 1 << 31):
        peer = accepted(family)
        peer.inject("R", seq=seq)
        assert peer.state == "ESTABLISHED", seq
    peer.inject("R", seq=1)
    assert peer.state == "CLOSED"
    with pytest.raises(CallError) as reset:
        peer.socket.receive()
    assert reset.value.errno == errno.ECONNRESET


def test_a_closed_window_lets_the_exact_reset_in_and_no_other():
    """RFC 9293 section 3.4 (MUST-66)."""
    peer = accepted(receive_buffer=4096)
    peer.fill()
    edge = peer.snd_nxt
    peer.inject("R", seq=edge + 1)
    peer.expect_nothing()
    assert peer.state == "ESTABLISHED"
    peer.inject("R", seq=edge)
    assert peer.state == "CLOSED"


@pytest.mark.parametrize("state", SYNCHRONIZED)
def test_a_real_reset_gets_through_after_the_challenge(state):
    """RFC 5961 section 3.2: who lost its state resets exactly when it sees the challenge."""
    if state == "TIME-WAIT":
        return
    peer = in_state(state)
    peer.inject("R", seq=peer.snd_nxt + 7)
    challenge = peer.expect("A")
    peer.inject("R", seq=challenge.ack)
    assert peer.state == "CLOSED"


def test_a_rebooted_peer_is_led_to_a_new_connection():
    """RFC 9293 section 3.5.1, figure 10, with RFC 5961 section 4.2."""
    peer = accepted()
    peer.inject("S", seq=300)
    challenge = peer.expect("A", ack=1)
    peer.inject("R", seq=challenge.ack)
    assert peer.state == "CLOSED"
    peer.inject("S", seq=300)
    peer.expect("SA", ack=301)


def test_text_with_an_ack_of_nowhere_is_not_taken():
    """RFC 5961 section 5.2: blind injection has to guess the ACK too."""
    for ack in (2, 1 << 31, -65536):
        peer = accepted()
        peer.inject("A", ack=ack, data=b"evil")
        peer.expect("A", seq=1, ack=1)
        with pytest.raises(CallError):
            peer.socket.receive()


def test_text_with_an_old_ack_is_taken():
    """RFC 5961 section 5.2: as old as the largest window is possible."""
    peer = accepted()
    peer.send(1000)
    peer.inject("A", ack=1, data=b"late")
    peer.expect("A", ack=5)
    assert peer.socket.receive() == b"late"


# Challenge ACKs are limited


@pytest.mark.parametrize("flags", ["R", "S", "SA"])
def test_one_connection_sends_two_challenges_a_second(flags):
    """RFC 5961 section 7; the rate is Linux's."""
    peer = accepted()
    for _ in range(30):
        peer.inject(flags, seq=50)
        peer.host.advance(100 * MS)
    assert len(peer.drop()) == 6
    assert peer.host.counters["tcp_challenge_acks"] == 6
    assert peer.host.counters["tcp_challenge_acks_suppressed"] == 24


def test_the_whole_stack_is_limited_too_and_tells_nobody_how_far():
    """RFC 5961 section 7; a fixed limit would let an outsider count (CVE-2016-5696)."""
    answers = []
    for seed in range(4):
        peer = listening(challenge_limit=20, seed=(seed, 3), backlog=64)
        others = [peer.sibling(port) for port in range(1, 61)]
        for other in others:
            other.handshake()
        for other in others:
            other.inject("R", seq=50)
        answers.append(sum(len(other.drop()) for other in others))
    assert all(10 <= count < 30 for count in answers)
    assert len(set(answers)) > 1


def test_the_budget_comes_back_every_second():
    peer = listening(challenge_limit=4, backlog=64)
    others = [peer.sibling(port) for port in range(1, 21)]
    for other in others:
        other.handshake()
    for _ in range(3):
        peer.advance(SECOND)
        for other in others:
            other.inject("R", seq=50)
        assert 0 < sum(len(other.drop()) for other in others) < 7


def test_bare_segments_outside_of_the_window_draw_a_limited_number_of_acks():
    """Two stacks that disagree about a window must not acknowledge each other for ever."""
    peer = accepted()
    for _ in range(100):
        peer.inject("A", seq=100_000)
    assert len(peer.drop()) == 1


def test_text_outside_of_the_window_always_draws_an_ack():
    """RFC 9293 section 3.10.7.4: a peer that retransmits must learn what we have."""
    peer = accepted()
    peer.inject("A", data=b"abc")
    peer.drop()
    for _ in range(10):
        peer.inject("A", seq=1, data=b"abc")
        peer.expect("A", ack=4)


# A reset is never answered by anything


@both
def test_a_reset_is_never_answered_by_a_reset(family):
    """RFC 9293 section 3.10.7.1."""
    for state in ("CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", *SYNCHRONIZED):
        for flags in ("R", "RA", "RF", "RAUP"):
            for seq in (0, 1, 2, 70_000):
                peer = in_state(state, family)
                peer.inject(flags, seq=seq, ack=77)
                assert all("R" not in s.flags for s in peer.drop()), (state, flags, seq)


def test_a_reset_to_nobody_costs_nothing():
    peer = alone()
    peer.inject("R", seq=1)
    peer.inject("RA", seq=1, ack=5)
    peer.expect_nothing()
    assert peer.host.connections == 0


@both
@pytest.mark.parametrize(
    ("flags", "answer", "seq", "ack"),
    [
        ("S", "RA", 0, 8),
        ("F", "RA", 0, 8),
        ("", "RA", 0, 7),
        ("SF", "RA", 0, 9),
        ("A", "R", 99, 0),
        ("SA", "R", 99, 0),
        ("FA", "R", 99, 0),
        ("FPU", "RA", 0, 8),
    ],
)
def test_what_belongs_to_nobody_is_reset(family, flags, answer, seq, ack):
    """RFC 9293 section 3.10.7.1: believable to whoever sent it."""
    peer = alone(family)
    peer.inject(flags, seq=0, ack=99, data=b"1234567")
    segment = peer.expect(answer, seq=seq, data=b"", window=0, options={})
    if "A" in answer:
        assert segment.ack == ack
    else:
        assert segment.raw[family.header + 8 : family.header + 12] == bytes(4)


def test_a_reset_goes_back_the_way_the_segment_came():
    """From the address and port that were meant, not from any other of ours."""
    peer = alone()
    peer.local, peer.local_port = "10.0.0.77", 4711
    peer.inject("S", seq=0)
    peer.expect("RA", ack=1)


# Wrong on the wire


@both
def test_a_bad_checksum_is_dropped(family):
    """RFC 9293 section 3.1 (MUST-3)."""
    peer = accepted(family)
    peer.inject("A", data=b"evil", bad_checksum=True)
    peer.inject("R", seq=1, bad_checksum=True)
    peer.expect_nothing()
    assert peer.state == "ESTABLISHED"
    assert peer.host.counters["tcp_drop_bad_checksum"] == 2


@both
@pytest.mark.parametrize("offset", [0, 1, 4, 7, 15])
def test_a_data_offset_outside_of_the_segment_is_dropped(family, offset):
    """RFC 9293 section 3.1."""
    peer = accepted(family)
    peer.inject("R", seq=1, data=b"1234567", offset=offset)
    peer.expect_nothing()
    assert peer.state == "ESTABLISHED"
    assert peer.host.counters["tcp_drop_too_short"] == 1


@pytest.mark.parametrize("flags", ["", "F", "P", "U", "FPU", "EC"])
def test_without_ack_nothing_is_taken(flags):
    """RFC 9293 section 3.10.7.4 fifth."""
    for state in SYNCHRONIZED:
        peer = in_state(state)
        peer.inject(flags, data=b"evil")
        peer.expect_nothing()
        assert peer.state == state


def test_reserved_and_ecn_bits_are_passed_over():
    """RFC 9293 section 3.1: ignored by who does not know them."""
    peer = accepted()
    peer.inject("AEC", data=b"x")
    assert peer.expect("A", ack=2).flags == "A"


def test_one_connections_segment_is_not_anothers():
    peer = listening(options=FULL)
    one, two = peer.sibling(1), peer.sibling(2)
    one.handshake()
    two.handshake()
    first, second = peer.listener.accept(), peer.listener.accept()
    one.inject("A", data=b"one", window=100)
    two.inject("A", data=b"two", window=200)
    assert (first.receive(), second.receive()) == (b"one", b"two")
    assert (first.snd_wnd, second.snd_wnd) == (100 << 7, 200 << 7)
    one.expect("A", ack=4)
    two.expect("A", ack=4)


@pytest.mark.parametrize("seq", [-100, 0, 100_000])
@pytest.mark.parametrize("flags", ["", "F", "PU"])
def test_without_ack_nothing_is_answered_wherever_it_lies(flags, seq):
    """As Linux; RFC 9293 section 3.10.7.4 first would have an ACK for what is out of the window."""
    peer = accepted(options=FULL)
    peer.inject(flags, seq=seq, data=b"text", options={"ts": None})
    peer.expect_nothing()
    assert peer.state == "ESTABLISHED"


@pytest.mark.parametrize("state", ["CLOSE-WAIT", "LAST-ACK", "CLOSING"])
def test_a_reset_may_have_the_number_of_the_fin_before_it(state):
    """As Linux: some stacks do not count their FIN when they reset."""
    peer = in_state(state)
    peer.inject("R", seq=peer.snd_nxt - 1)
    peer.expect_nothing()
    assert peer.state == "CLOSED"


def test_a_reset_may_have_the_number_behind_all_that_was_sacked():
    """As Linux: what is missing was lost, and the peer will not send it again."""
    peer = accepted(options=FULL)
    for start in (100, 300):
        peer.inject("A", seq=start, data=bytes(100))
        peer.expect("A", ack=1)
    peer.inject("R", seq=200)
    peer.expect("A", ack=1)
    assert peer.state == "ESTABLISHED"
    peer.inject("R", seq=400)
    assert peer.state == "CLOSED"


def test_behind_a_hole_that_was_not_sacked_a_reset_is_challenged():
    """RFC 5961 section 3.2: it would have to guess the number of the hole."""
    peer = accepted(options=PLAIN)
    peer.inject("A", seq=100, data=bytes(100))
    peer.expect("A", ack=1)
    peer.inject("R", seq=200)
    peer.expect("A", ack=1)
    assert peer.state == "ESTABLISHED"


def test_a_challenge_to_the_handshake_is_from_beyond_the_syn():
    """Also to a peer whose SYN has offered no window (RFC 9293 section 3.10.7.4: SEQ=SND.NXT)."""
    peer = listening(options=PLAIN)
    peer.inject("S", seq=0, window=0)
    peer.expect("SA")
    peer.inject("A", seq=-5000)
    peer.expect("A", seq=1, ack=1)


def test_challenges_to_the_handshake_cost_the_connection_none():
    """As Linux; RFC 5961 section 7."""
    peer = listening(options=PLAIN)
    peer.open()
    peer.inject("A", seq=-5000)
    peer.expect("A", ack=1)
    peer.inject("A")
    peer.inject("S", seq=100)
    peer.expect("A", ack=1)
