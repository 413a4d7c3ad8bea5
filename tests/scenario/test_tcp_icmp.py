"""ICMP errors about our segments: whom they reach, whom they kill; and narrow paths."""

from __future__ import annotations

import errno

import pytest
from native.core import CallError
from scenario.peer import FULL, MS, PLAIN, SACK, SECOND
from scenario.tcp_states import SYNCHRONIZED, accepted, connected, connecting, in_state, listening
from scenario.tcp_wire import FAMILIES, IPV4, IPV6

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
ERRNO = {
    "network unreachable": (errno.ENETUNREACH, errno.ENETUNREACH),
    "host unreachable": (errno.EHOSTUNREACH, errno.EHOSTUNREACH),
    "port unreachable": (errno.ECONNREFUSED, errno.ECONNREFUSED),
    "prohibited": (errno.EHOSTUNREACH, errno.EACCES),
}
LARGE = {"mss": 1460}


def sending(family=IPV4, size=1000, **config):
    """A connection with one unanswered segment."""
    peer = accepted(family, rtt=10 * MS, **config)
    peer.socket.send(bytes(size))
    return peer, peer.drop()[0]


# Opening


@both
@pytest.mark.parametrize("name", ERRNO)
def test_an_error_about_the_syn_ends_the_attempt(family, name):
    """RFC 5461 section 4.1; as Linux at once, with the errno of the error."""
    peer = connecting(family)
    peer.error(name, peer.expect_syn())
    with pytest.raises(CallError) as failed:
        peer.socket.send(b"x")
    assert failed.value.errno == ERRNO[name][family.v6]
    assert peer.state == "CLOSED"


@pytest.mark.parametrize(("family", "name"), [(IPV4, "time exceeded"), (IPV6, "time exceeded")])
def test_time_exceeded_ends_it_too(family, name):
    """RFC 5461 section 4.1, as Linux."""
    peer = connecting(family)
    peer.error(name, peer.expect_syn())
    with pytest.raises(CallError) as failed:
        peer.socket.send(b"x")
    assert failed.value.errno == errno.EHOSTUNREACH


def test_source_quench_does_nothing():
    """RFC 6633 section 3."""
    peer = connecting()
    peer.error("quench", peer.expect_syn())
    peer.inject("SA", seq=0, ack=1)
    assert peer.state == "ESTABLISHED"


@both
def test_an_error_about_somebody_elses_syn_does_nothing(family):
    """RFC 5927 section 4.1: the sequence number must be outstanding."""
    peer = connecting(family)
    syn = peer.expect_syn()
    at = family.header + 4
    for forged in (bytes(4), b"\xff" * 4):
        raw = syn.raw
        syn.raw = raw[:at] + forged + raw[at + 4 :]
        peer.error("port unreachable", syn)
        syn.raw = raw
    assert peer.state == "SYN-SENT"
    assert peer.host.counters["icmp_drop_error_not_ours"] == 2


@pytest.mark.parametrize(
    ("family", "ends"),
    [
        (IPV4, {"network unreachable", "host unreachable", "time exceeded"}),
        (IPV6, {"port unreachable", "prohibited"}),
    ],
    ids=["IPv4", "IPv6"],
)
@pytest.mark.parametrize("name", [*ERRNO, "time exceeded"])
def test_an_error_about_a_syn_ack_may_free_the_half_open_connection(family, ends, name):
    """As Linux, whose families do not agree."""
    peer = listening(family)
    peer.error(name, peer.open())
    peer.collect()
    assert peer.host.connections == (1 if name in ends else 2)


# Established


@both
@pytest.mark.parametrize("name", [*ERRNO, "time exceeded"])
@pytest.mark.parametrize("state", [s for s in SYNCHRONIZED if s not in ("FIN-WAIT-2", "TIME-WAIT")])
def test_no_error_ends_an_established_connection(family, name, state):
    """RFC 5927 section 5.2, RFC 9293 section 3.9.2.2 (MUST-56): hard errors are soft."""
    peer = in_state(state, family)
    if state in ("ESTABLISHED", "CLOSE-WAIT"):
        peer.socket.send(b"x")
        peer.drop()
    peer.step()
    peer.error(name, peer.drop()[-1])
    assert peer.state == state
    assert peer.socket.error == 0
    assert peer.host.counters["tcp_errors_delivered"] == 1


@both
@pytest.mark.parametrize("name", ERRNO)
def test_the_last_error_tells_why_it_timed_out(family, name):
    """RFC 5461 section 3."""
    peer, segment = sending(family)
    peer.error(name, segment)
    peer.advance(3600 * SECOND)
    assert peer.socket.error == ERRNO[name][family.v6]


def test_progress_forgets_the_error():
    peer, segment = sending()
    peer.error("host unreachable", segment)
    peer.inject("A")
    peer.socket.send(b"x")
    peer.advance(3600 * SECOND)
    assert peer.socket.error == errno.ETIMEDOUT


@both
def test_an_error_about_what_was_acknowledged_is_ignored(family):
    """RFC 5927 section 4.1."""
    peer, segment = sending(family, options=LARGE)
    peer.inject("A")
    peer.error("host unreachable", segment)
    peer.error("too big", segment, mtu=1300)
    assert peer.host.counters["icmp_drop_error_not_ours"] == 2
    assert "ip_path_mtu_lowered" not in peer.host.counters


def test_an_error_about_a_listener_or_nobody_is_ignored():
    peer, segment = sending()
    for port in (b"\x00\x50", b"\x00\x51"):
        raw = bytearray(segment.raw)
        raw[20:22] = port
        raw[22:24] = b"\x12\x34"
        segment.raw = bytes(raw)
        peer.error("port unreachable", segment)
    assert peer.host.counters["icmp_drop_error_not_ours"] == 2


def test_eight_bytes_of_header_are_enough_and_fewer_are_not():
    """RFC 792: internet header and 64 bits."""
    peer = connecting()
    syn = peer.expect_syn()
    peer.error("port unreachable", syn, quote=7)
    assert peer.state == "SYN-SENT"
    peer.error("port unreachable", syn, quote=8)
    assert peer.state == "CLOSED"


# A narrow path


@both
def test_too_big_lowers_the_segment_size_and_repeats_at_once(family):
    """RFC 1191 section 6.4, RFC 8201 section 5.4: without waiting for the timer."""
    peer, segment = sending(family, size=1300, options=LARGE)
    peer.error("too big", segment, mtu=1300)
    mss = 1300 - family.header - 20
    peer.expect_data((1, 1 + mss), (1 + mss, 1301))
    assert peer.socket.smss == mss
    peer.inject("A")
    peer.socket.send(bytes(3 * mss))
    assert [s.length for s in peer.drop()] == [mss] * 3


@pytest.mark.parametrize("options", [LARGE, LARGE | SACK, LARGE | FULL], ids=["", "sack", "full"])
def test_a_whole_window_is_cut_anew(options):
    """RFC 1191 section 6.4; congestion is not what happened (section 6.4)."""
    options = dict(options, mss=1460)
    peer, segment = sending(size=10_000, options=options)
    cwnd = peer.socket.cwnd
    peer.error("too big", segment, mtu=1000)
    mss = peer.socket.smss
    assert mss == 960 - (12 if "ts" in options else 0)
    got = bytearray(10_000)
    while peer.tcb.snd_una != peer.tcb.snd_nxt:
        segments = peer.drop()
        assert segments
        for s in segments:
            assert s.length <= mss
            got[s.seq - 1 : s.end - 1] = b"\1" * s.length
        peer.inject("A", ack=segments[-1].end)
    assert got == b"\1" * 10_000
    assert peer.socket.cwnd >= cwnd
    assert "tcp_timeouts" not in peer.host.counters


def test_too_big_about_a_segment_that_was_small_enough_changes_nothing():
    """RFC 1191 section 3: never raised, nothing repeated."""
    peer, segment = sending(size=1000)
    peer.error("too big", segment, mtu=1400)
    peer.expect_nothing()
    assert peer.socket.smss == 1000


@pytest.mark.parametrize(("family", "mtu"), [(IPV4, 60), (IPV6, 1279), (IPV4, 1500), (IPV6, 9000)])
def test_too_big_that_cannot_be_is_ignored(family, mtu):
    """RFC 8201 section 4, RFC 1191 section 3."""
    peer, segment = sending(family, options=LARGE)
    smss = peer.socket.smss
    peer.error("too big", segment, mtu=mtu)
    peer.expect_nothing()
    assert peer.socket.smss == smss


def test_a_very_narrow_path_gets_552_bytes_and_routers_may_cut():
    """As Linux's min_pmtu: an attacker cannot make us send crumbs."""
    peer, segment = sending(size=1300, options=LARGE)
    peer.error("too big", segment, mtu=68)
    assert peer.socket.smss == 512
    assert all(not s.raw[6] & 0x40 for s in peer.drop())


def test_a_new_connection_knows_what_the_path_takes():
    """RFC 1191 section 6.1: learned per destination."""
    peer, segment = sending(size=1300, options=LARGE)
    peer.error("too big", segment, mtu=1000)
    peer.drop()
    other = peer.sibling(50_000)
    answer = other.open()
    assert answer.options["mss"] == 1460
    other.inject("A")
    assert peer.listener.accept().smss == 960


def test_after_ten_minutes_the_path_is_tried_again():
    """RFC 1191 section 6.3."""
    peer, segment = sending(size=1300, options=LARGE)
    peer.error("too big", segment, mtu=1000)
    peer.drop()
    peer.inject("A")
    peer.advance(601 * SECOND)
    peer.socket.send(bytes(1460))
    peer.expect_data((1301, 2761))


def test_too_big_about_a_syn_does_not_end_the_attempt():
    peer = connecting()
    peer.error("too big", peer.expect_syn(), mtu=600)
    assert peer.state == "SYN-SENT"
    peer.inject("SA", seq=0, ack=1, options=LARGE)
    peer.drop()
    assert peer.socket.smss == 560


def test_two_errors_about_one_window_cut_it_twice():
    """Two narrow routers in a row."""
    peer, segment = sending(size=5000, options=LARGE)
    peer.error("too big", segment, mtu=1200)
    first = peer.drop()
    assert max(s.length for s in first) == 1160
    peer.error("too big", first[0], mtu=800)
    second = peer.drop()
    assert max(s.length for s in second) == 760
    peer.inject("A")
    assert peer.socket.lost_out == peer.socket.retrans_out == 0


@both
def test_errors_do_not_touch_other_connections(family):
    peer, segment = sending(family)
    other = connected(family)
    peer.error("port unreachable", segment)
    assert other.state == "ESTABLISHED"
    assert peer.state == "ESTABLISHED"


def test_quotes_of_what_we_never_sent_lower_nothing():
    """RFC 5927 section 7.2: blind attackers do not know the sequence number."""
    peer, segment = sending(options=PLAIN)
    for offset in (-1, 5000, 1 << 31):
        raw = bytearray(segment.raw)
        seq = (int.from_bytes(raw[24:28], "big") + offset) % 2**32
        raw[24:28] = seq.to_bytes(4, "big")
        good, segment.raw = segment.raw, bytes(raw)
        peer.error("too big", segment, mtu=600)
        segment.raw = good
    assert peer.host.counters["icmp_drop_error_not_ours"] == 3
    assert peer.socket.smss == 1000
