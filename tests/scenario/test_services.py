"""Services inside the core, RFC 862 and 863: what they answer, however much comes at once."""

from __future__ import annotations

import pytest
from native.core import Host
from scenario.peer import SECOND
from scenario.tcp_states import alone
from scenario.udp_wire import FAMILIES, family_name, udp_packet

ECHO, DISCARD, CHARGEN = 1, 2, 3
TCP, UDP = 6, 17
BATCH = 64  # packets that a driver hands over before it fetches the answers


@pytest.mark.parametrize("family", FAMILIES, ids=family_name)
@pytest.mark.parametrize("length", [0, 1000, 3000, 9000, 60000])
def test_every_datagram_of_a_batch_is_echoed(family, length):
    host = Host("10.3.0.0/24", "fd03::/64", mtu=65535)
    host.serve(ECHO, UDP, 7)
    for number in range(BATCH):
        data = number.to_bytes(1, "big") * length
        host.input(udp_packet(family.peer, 5000, family.ours, 7, data))
    answers = [packet[48 if family.v6 else 28 :] for packet in host.take()]
    assert answers == [number.to_bytes(1, "big") * length for number in range(BATCH)]
    assert host.live_packets == 0


def test_a_service_that_has_yet_to_answer_is_unfinished():
    peer = alone(local_port=9)
    peer.host.serve(DISCARD, TCP, 9)
    before = peer.host.connections
    peer.open()
    peer.inject("A")
    peer.drop()
    peer.inject("R")
    assert peer.host.deadline == peer.host.now
    peer.drop()
    assert peer.host.protocol_deadline is None
    assert peer.host.connections == before


def test_a_service_that_has_read_nothing_acknowledges_nothing():
    """Nothing has opened the window: no update follows the handshake."""
    peer = alone(local_port=9)
    peer.host.serve(DISCARD, TCP, 9)
    peer.handshake()
    peer.inject("A", data=b"x")
    peer.expect("A", ack=2)
    peer.advance(SECOND)
    peer.expect_nothing()


@pytest.mark.parametrize("family", FAMILIES, ids=family_name)
def test_a_train_is_echoed_as_a_train(family):
    host = Host("10.3.0.0/24", "fd03::/64")
    host.serve(ECHO, UDP, 7)
    data = bytes(number % 251 for number in range(10 * 1000 + 7))
    host.input(udp_packet(family.peer, 5000, family.ours, 7, data), 1000)
    pieces = [packet[48 if family.v6 else 28 :] for packet in host.take()]
    assert [len(piece) for piece in pieces] == [1000] * 10 + [7]
    assert b"".join(pieces) == data
    assert host.live_packets == 0


def test_each_datagram_of_a_train_draws_an_answer_of_chargen():
    """RFC 864: one for each that is received."""
    family = FAMILIES[0]
    host = Host("10.3.0.0/24", "fd03::/64")
    host.serve(CHARGEN, UDP, 19)
    host.input(udp_packet(family.peer, 5000, family.ours, 19, bytes(5000)), 1000)
    assert len(host.take()) == 5


def test_what_is_discarded_is_acknowledged_and_frees_the_window():
    """RFC 863; beyond a hole too."""
    peer = alone(local_port=9)
    peer.host.serve(DISCARD, TCP, 9)
    peer.handshake()
    for number in range(200):
        start = 1 + number * 3000
        peer.inject("A", seq=start + 1000, data=bytes(2000))
        peer.expect("A", ack=start)
        peer.inject("A", seq=start, data=bytes(1000))
        window = peer.expect("A", ack=start + 3000).window
        assert window > 30000
    peer.inject("FA")
    peer.expect("FA", ack=peer.snd_nxt)


def pattern(length):
    """RFC 864: 72 of the 95 printable characters a line, each line one further."""
    lines = []
    for line in range(length // 74 + 1):
        lines += [32 + (line + column) % 95 for column in range(72)] + [13, 10]
    return bytes(lines[:length])


def test_the_pattern_goes_on_through_losses():
    """RFC 864: lines of 72 characters; what is sent again is what was sent."""
    peer = alone(local_port=19)
    peer.host.serve(CHARGEN, TCP, 19)
    peer.open()
    peer.inject("A")
    stream = bytearray()
    expected = pattern(400_000)
    lost = 0
    while len(stream) < 300_000:
        peer.collect()
        if not peer.pending:
            peer.step()
            continue
        segment = peer.pending.pop(0)
        if len(stream) > 20_000 * (lost + 1) and segment.seq == 1 + len(stream):
            lost += 1
            continue
        at = segment.seq - 1
        assert segment.data == expected[at : at + len(segment.data)]
        if at == len(stream):
            stream += segment.data
        peer.inject("A", ack=1 + len(stream))
    assert lost > 10
    assert stream == expected[: len(stream)]


def test_the_pattern_goes_on_after_everything_was_acknowledged():
    """RFC 864: the ring of the connection was empty, and the pattern was not to begin again."""
    peer = alone(local_port=19)
    peer.host.serve(CHARGEN, TCP, 19)
    peer.open(window=1000)
    peer.inject("A", window=1000)
    expected = pattern(50_000)
    for _ in range(20):
        peer.advance(SECOND // 2)
        for segment in peer.drop():
            assert segment.data == expected[segment.seq - 1 : segment.end - 1]
        peer.inject("A", window=1000)
    assert peer.rcv_nxt > 10_000
