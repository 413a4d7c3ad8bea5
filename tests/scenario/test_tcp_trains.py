"""Trains: many segments in one packet, out and in; and what each segment of them says."""

from __future__ import annotations

import pytest
from scenario.peer import FULL, MS, PLAIN, SACK
from scenario.tcp_states import SHUT_WR, accepted
from scenario.tcp_wire import FAMILIES

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def uncut(peer):
    """[(bytes of the packet, gso_size)] of what the host has for its device."""
    return peer.host.take(cut=False)


def grown(family=FAMILIES[0], segments=100, rtt=MS // 5, **config):
    """A connection whose windows allow this many segments at once."""
    return accepted(
        family,
        options={"mss": 1000, "wscale": 7},
        initial_window=segments,
        rtt=rtt,
        **config,
    )


# Out


@both
def test_a_window_leaves_as_one_train(family):
    """design.md, idea 3."""
    peer = grown(family)
    peer.socket.send(bytes(20_500))
    assert uncut(peer) == [(family.header + 20 + 20_500, 1000)]
    assert peer.host.counters["trains_out"] == 1


@both
def test_a_train_holds_whole_segments_and_64_kib_at_most(family):
    peer = grown(family)
    peer.inject("A")
    peer.socket.send(bytes(100_000))
    packets = uncut(peer)
    assert all(size <= 65535 for size, _ in packets)
    payloads = [size - family.header - 20 for size, _ in packets]
    assert sum(payloads) == 100_000
    assert all(payload % 1000 == 0 for payload in payloads)
    assert len(packets) == 2


def test_on_a_long_path_a_train_is_what_is_sent_in_a_millisecond():
    """As Linux, which paces at twice cwnd / srtt in slow start: a queue is not flooded at once."""
    peer = grown(segments=100, rtt=20 * MS)
    peer.socket.send(bytes(25_000))
    assert [size - 40 for size, _ in uncut(peer)] == [9000, 9000, 7000]
    peer = grown(segments=10, rtt=100 * MS)
    peer.socket.send(bytes(5000))
    assert [size - 40 for size, _ in uncut(peer)] == [2000, 2000, 1000]


def test_every_train_ends_with_a_push():
    """As Linux: its receiver need not wait for more to put it together."""
    peer = grown(segments=10, rtt=100 * MS)
    peer.socket.send(bytes(20_000))
    segments = peer.drop()
    assert ["P" in s.flags for s in segments] == [False, True] * 5


def test_the_device_limits_the_train():
    """Context.max_train."""
    peer = grown(max_train=10_000)
    peer.socket.send(bytes(30_000))
    assert all(size <= 10_000 for size, _ in uncut(peer))
    peer = grown(max_train=1500)
    peer.socket.send(bytes(3000))
    assert [(size, gso) for size, gso in uncut(peer)] == [(1040, 0)] * 3


def test_one_segment_is_no_train():
    peer = grown()
    peer.socket.send(bytes(1000))
    assert uncut(peer) == [(1040, 0)]


@both
def test_a_cut_train_is_what_single_segments_would_have_been(family):
    """Flags, checksums (Peer judges them), sequence numbers, lengths."""
    peer = grown(family)
    data = bytes(n % 251 for n in range(3500))
    peer.socket.send(data)
    peer.socket.shutdown(SHUT_WR)
    segments = peer.drop()
    assert [(s.seq, s.length, s.flags) for s in segments] == [
        (1, 1000, "A"),
        (1001, 1000, "A"),
        (2001, 1000, "A"),
        (3001, 500, "FPA"),
    ]
    assert b"".join(s.data for s in segments) == data


def test_options_are_in_every_segment_and_none_is_too_long():
    """RFC 6691 section 3.2."""
    peer = accepted(options=FULL)
    peer.inject("A", seq=3001, data=b"hole")
    peer.drop()
    peer.socket.send(bytes(5000))
    segments = peer.drop()
    assert all(s.sack and "ts" in s.options for s in segments)
    assert all(len(s.raw) <= 40 + 1000 for s in segments)


def test_a_train_wraps_around_in_the_ring():
    """Two stretches of payload lent to one packet."""
    peer = grown(send_buffer=4096)
    data = bytes(n % 251 for n in range(60_000))
    sent = got = b""
    while len(got) < len(data):
        if len(sent) < len(data) and peer.tcb.snd_nxt - peer.tcb.snd_una < 4096:
            sent += data[len(sent) : len(sent) + peer.socket.send(data[len(sent) :][:3000])]
        got += b"".join(s.data for s in peer.drop())
        peer.inject("A", ack=len(got) + 1 - min(1000, len(got)))
        peer.inject("A", ack=len(got) + 1)
    assert got == data


def test_part_of_a_train_may_be_lost():
    """The scoreboard knows segments, though it keeps trains."""
    peer = accepted(options=SACK, initial_window=20, rtt=10 * MS)
    peer.socket.send(bytes(20_000))
    peer.drop()
    peer.inject("A", ack=5001, sack=[(6001, 20_001)])
    peer.expect_data((5001, 6001))
    peer.inject("A")
    assert peer.tcb.snd_una == peer.tcb.snd_nxt


def test_after_a_timeout_the_train_is_repeated_piece_by_piece():
    """RFC 5681 section 3.1: the loss window is one segment, however it was sent before."""
    peer = accepted(initial_window=20, rtt=10 * MS)
    peer.socket.send(bytes(20_000))
    peer.drop()
    peer.advance(peer.socket.rto)
    peer.expect_data((1, 1001))
    peer.inject("A", ack=1001)
    peer.expect_data((1001, 2001), (2001, 3001))


# In


@both
def test_a_train_is_taken_whole(family):
    peer = accepted(family, receive_buffer=1 << 20, options=FULL)
    data = bytes(n % 251 for n in range(20_000))
    peer.inject("A", data=data, gso_size=988)
    assert peer.expect("A").ack == 20_001
    assert peer.socket.receive() == data
    assert peer.host.counters["trains_in"] == 1


def test_a_train_is_acknowledged_once_and_at_once():
    """RFC 9293 section 3.8.6.3: it is more than two segments."""
    peer = accepted(options=FULL)
    for _ in range(20):
        peer.inject("A", data=bytes(988))
        peer.advance(100 * MS)
        peer.socket.receive()
    peer.drop()
    peer.inject("A", data=bytes(9880), gso_size=988)
    peer.socket.receive()
    assert peer.expect("A").ack == peer.snd_nxt
    peer.expect_nothing()


def test_a_train_beyond_a_hole_is_held():
    peer = accepted(options=SACK)
    peer.inject("A", seq=1001, data=bytes(5000), gso_size=1000)
    assert peer.expect("A", ack=1).sack == [(1001, 6001)]
    peer.inject("A", seq=1, data=bytes(1000))
    assert peer.expect("A").ack == 6001


def test_a_train_with_a_fin_closes():
    peer = accepted()
    peer.inject("FA", data=bytes(5000), gso_size=1000)
    assert peer.drop()[-1].ack == 5002
    assert peer.state == "CLOSE-WAIT"


def test_a_train_beyond_the_window_is_cut_to_it():
    peer = accepted(receive_buffer=4096, options=PLAIN)
    window = peer.tcb.rcv_edge - peer.tcb.rcv_nxt
    peer.inject("A", data=bytes(10_000), gso_size=1000)
    assert peer.drop()[-1].ack == 1 + window


def test_the_size_of_a_full_segment_is_that_of_the_pieces():
    """Delayed ACKs count segments, not trains (RFC 5681 section 4.2)."""
    peer = accepted(options=FULL)
    for _ in range(20):
        peer.inject("A", data=bytes(9880), gso_size=988)
        peer.advance(50 * MS)
        peer.socket.receive()
    peer.drop()
    peer.inject("A", data=bytes(988))
    peer.expect_nothing()
    peer.inject("A", data=bytes(988))
    peer.expect("A", ack=peer.snd_nxt)
