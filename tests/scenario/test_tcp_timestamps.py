"""Timestamps: what is echoed, what PAWS rejects and when it forgets."""

from __future__ import annotations

import pytest
from native.core import CallError
from scenario.peer import FULL, MS, SECOND, TIMESTAMPS
from scenario.tcp_states import accepted, connected, in_state, listening
from scenario.tcp_wire import FAMILIES

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
DAY = 24 * 3600 * SECOND


def say(peer, ts_val, seq=None, data=b"x", **fields):
    """Text with a timestamp, and what it was answered with."""
    peer.inject("A", seq=seq, data=data, options={"ts": (ts_val, peer.ts_recent)}, **fields)
    return peer.drop()


# What we say


@both
def test_every_segment_carries_one(family):
    """RFC 7323 section 3.2."""
    peer = accepted(family, options=TIMESTAMPS)
    peer.socket.send(b"data")
    peer.inject("A", data=b"data")
    peer.socket.shutdown(1)
    peer.inject("A", seq=500, data=b"hole")
    assert all("ts" in s.options for s in peer.drop())


def test_a_connection_without_them_has_none():
    peer = accepted()
    peer.inject("A", data=b"x", options={"ts": (9, 9)})
    assert peer.expect("A").options == {}


def test_our_clock_ticks_every_millisecond():
    """RFC 7323 section 5.4."""
    peer = accepted(options=TIMESTAMPS)
    first = say(peer, 5000)[0].ts[0]
    peer.advance(1234 * MS)
    assert (say(peer, 5000)[0].ts[0] - first) % 2**32 == 1234


def test_our_clock_does_not_tell_how_long_we_have_been_up():
    """RFC 7323 section 5.4 and 7.1: offset by a secret, per pair of addresses."""
    values = set()
    for seed in range(6):
        peer = connected(options=TIMESTAMPS, seed=(seed, 9))
        values.add(peer.ts_recent)
    assert len(values) == 6
    assert all(value > 100_000 for value in values)


def test_a_later_connection_between_the_same_hosts_is_newer():
    """RFC 6191 section 2 needs one clock per pair of addresses."""
    peer = accepted(options=TIMESTAMPS)
    peer.advance(5 * MS)
    other = peer.sibling(50_000)
    answer = other.open()
    assert 0 < answer.ts[0] - peer.ts_recent < 10


# What we echo


@both
def test_the_echo_is_of_what_the_ack_answers(family):
    """RFC 7323 section 4.3."""
    peer = accepted(family, options=TIMESTAMPS)
    assert say(peer, 6000)[0].ts[1] == 6000
    assert say(peer, 6001)[0].ts[1] == 6001


def test_delayed_acks_echo_the_earliest():
    """RFC 7323 section 4.3 case (A): the round trip includes our delay."""
    peer = accepted(options=TIMESTAMPS)
    for ts_val in (6000, 6010):
        peer.inject("A", data=b"x", options={"ts": (ts_val, peer.ts_recent)})
    assert peer.drop()[-1].ts[1] == 6000


def test_text_beyond_a_hole_is_not_echoed():
    """RFC 7323 section 4.3 case (B)."""
    peer = accepted(options=TIMESTAMPS)
    say(peer, 6000)
    assert say(peer, 6010, seq=100)[0].ts[1] == 6000


def test_text_that_fills_a_hole_is_echoed():
    """RFC 7323 section 4.3 case (C)."""
    peer = accepted(options=TIMESTAMPS)
    say(peer, 6000)
    say(peer, 6010, seq=3)
    assert say(peer, 6020, seq=2)[0].ts[1] == 6020


def test_an_ack_alone_is_remembered_too():
    """RFC 7323 section 4.3: SEG.SEQ <= Last.ACK.sent."""
    peer = accepted(options=TIMESTAMPS)
    say(peer, 7000, data=b"")
    assert peer.tcb.ts_recent == 7000


@pytest.mark.parametrize("seq", [-100_000, -1, 70_000, 2_000_000_000])
def test_what_is_outside_of_the_window_is_not_remembered(seq):
    """RFC 7323 section 5.3 R2 before R3: else anybody could make us reject the real peer."""
    peer = accepted(options=TIMESTAMPS)
    say(peer, 1_000_000, seq=seq)
    assert peer.tcb.ts_recent == peer.ts_val
    assert say(peer, peer.ts_val, seq=1)[-1].ack == 2


def test_the_timestamp_of_a_reset_is_not_looked_at():
    """RFC 7323 section 5.2: its sender may have lost its clock."""
    peer = accepted(options=TIMESTAMPS)
    peer.inject("R", seq=1, options={"ts": (1, 0)})
    assert peer.state == "CLOSED"


# PAWS


@both
@pytest.mark.parametrize("age", [1, 1000, 2**31 - 1])
def test_an_older_timestamp_is_rejected_and_acknowledged(family, age):
    """RFC 7323 section 5.3 R1."""
    peer = accepted(family, options=TIMESTAMPS)
    (answer,) = say(peer, peer.ts_val - age)
    assert (answer.flags, answer.seq, answer.ack) == ("A", 1, 1)
    with pytest.raises(CallError):
        peer.socket.receive()
    assert peer.host.counters["tcp_drop_paws"] == 1


def test_an_equal_timestamp_is_accepted():
    """RFC 7323 section 5.3: several segments in one tick."""
    peer = accepted(options=TIMESTAMPS)
    assert say(peer, peer.ts_val)[0].ack == 2
    assert say(peer, peer.ts_val)[0].ack == 3


def test_timestamps_wrap_around():
    """RFC 7323 section 5.2: compared modulo 2^32."""
    peer = accepted(options=TIMESTAMPS)
    expected = 1
    for ts_val in (0x7000_0000, 0xE000_0000, 0xFFFF_FFFF, 0, 5):
        expected += 1
        assert say(peer, ts_val)[0].ack == expected, hex(ts_val)
    assert say(peer, 0xFFFF_FFFF)[0].ack == expected


def test_after_24_days_of_silence_the_old_timestamp_is_forgotten():
    """RFC 7323 section 5.5: half of the space at one tick a millisecond."""
    peer = accepted(options=TIMESTAMPS)
    peer.advance(24 * DAY - SECOND)
    assert say(peer, 3000, seq=1)[-1].ack == 1
    peer.advance(2 * SECOND)
    assert say(peer, 3000, seq=1)[-1].ack == 2
    assert peer.tcb.ts_recent == 3000


@pytest.mark.parametrize("flags", ["A", "FA", "SA", "S"])
def test_paws_comes_before_everything_but_a_reset(flags):
    """RFC 7323 section 5.3 R1."""
    peer = accepted(options=TIMESTAMPS)
    peer.inject(flags, options={"ts": (peer.ts_val - 1, 0)}, data=b"old")
    peer.expect("A", seq=1, ack=1)
    assert peer.state == "ESTABLISHED"
    assert peer.host.counters["tcp_drop_paws"] == 1


def test_an_ack_that_paws_rejects_acknowledges_nothing():
    peer = accepted(options=TIMESTAMPS)
    peer.send(500, ack=False)
    say(peer, peer.ts_val - 1, data=b"")
    assert peer.tcb.snd_una - peer.tcb.iss & 0xFFFFFFFF == 1


def test_bare_acks_that_paws_rejects_draw_a_limited_number_of_acks():
    """RFC 5961 section 7: no ACK storm between two confused stacks."""
    peer = accepted(options=TIMESTAMPS)
    for _ in range(50):
        peer.inject("A", options={"ts": (1, 0)})
    assert len(peer.drop()) == 1


def test_a_segment_without_timestamp_is_taken_all_the_same():
    """RFC 7323 section 3.2 would have it dropped (SHOULD); as Linux it is not."""
    peer = accepted(options=TIMESTAMPS)
    peer.timestamps = False
    peer.inject("A", data=b"bare")
    assert peer.expect("A").ack == 5


def test_time_wait_keeps_checking():
    """RFC 7323 section 5.3, RFC 1337."""
    peer = in_state("TIME-WAIT", options=FULL)
    peer.advance(59 * SECOND)
    peer.inject("FA", seq=1, options={"ts": (peer.ts_val - 1, 0)})
    peer.drop()
    peer.advance(1 * SECOND)
    assert peer.state == "CLOSED"


def test_a_malformed_timestamp_is_none():
    """RFC 9293 section 3.1 MUST-7."""
    peer = accepted(options=TIMESTAMPS)
    peer.timestamps = False
    peer.inject("A", data=b"x", options={"raw": b"\x08\x06\x00\x00\x00\x01"})
    assert peer.expect("A").ack == 2
    assert peer.tcb.ts_recent == peer.ts_val


@pytest.mark.parametrize("echo", [0, 1, 2**31, 2**32 - 1])
def test_an_echo_that_is_none_of_ours_measures_nothing(echo):
    """RFC 7323 section 4.1: a lie must not set our timeout to hours, or to nothing."""
    peer = accepted(options=TIMESTAMPS, rtt=50 * MS)
    peer.socket.send(bytes(100))
    peer.drop()
    peer.step()
    peer.drop()
    peer.advance(10 * MS)
    peer.inject("A", options={"ts": (peer.ts_val, echo)})
    assert 200 * MS <= peer.tcb.rto <= 120 * SECOND


def test_a_segment_with_a_bad_ack_does_not_move_ts_recent():
    """As Linux: an outsider who has guessed a sequence number only could end the connection by it
    (RFC 7323 section 5.3; RFC 5961 section 5 has the segment discarded).
    """
    for ack in (2, -1):
        peer = accepted(options=FULL)
        peer.inject("A", ack=ack, options={"ts": (peer.ts_val + 1000, peer.ts_recent)})
        assert peer.expect("A").ts[1] == peer.ts_val
        peer.inject("A", data=b"x")
        assert peer.expect("A", ack=2).ts[1] == peer.ts_val


@pytest.mark.parametrize("off", [-1, 1, 1 << 31])
def test_only_who_has_seen_the_syn_ack_completes_the_handshake(off):
    """As Linux; RFC 7323 section 3.2 asks for it in SYN-SENT."""
    peer = listening(options=FULL)
    peer.open()
    good = peer.ts_recent
    peer.inject("A", options={"ts": (peer.ts_val, good + off)})
    peer.expect("A", seq=1, ack=1)
    assert peer.state == "SYN-RECEIVED"
    peer.inject("A")
    assert peer.state == "ESTABLISHED"


def test_an_old_timestamp_in_the_handshake_is_answered():
    """RFC 7323 section 5.3 R1: nothing was sent yet that could have overtaken it."""
    peer = listening(options=FULL)
    peer.open()
    peer.inject("A", seq=0, options={"ts": (peer.ts_val - 1, peer.ts_recent)})
    peer.expect("A", seq=1, ack=1)
    assert peer.state == "SYN-RECEIVED"


def test_an_overtaken_ack_is_dropped_in_silence():
    """As Linux: reordered ACKs are no reason for ACKs (RFC 7323 section 5.3 R1 would have one)."""
    peer = accepted(options=FULL)
    peer.inject("A", data=b"text")
    peer.drop()
    peer.inject("A", seq=1, options={"ts": (peer.ts_val - 1, peer.ts_recent)})
    peer.expect_nothing()
    peer.inject("A", seq=1, data=b"text", options={"ts": (peer.ts_val - 1, peer.ts_recent)})
    peer.expect("A", ack=5)
