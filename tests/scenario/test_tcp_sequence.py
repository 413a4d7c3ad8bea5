"""Sequence numbers that wrap around at 2^32, in every place where they are compared."""

from __future__ import annotations

import pytest
from scenario.peer import FULL, MS, PLAIN, SACK
from scenario.tcp_states import SHUT_WR, accepted
from scenario.tcp_wire import FAMILIES

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
either = pytest.mark.parametrize("options", [PLAIN, FULL], ids=["plain", "full"])
NEAR_THE_END = [2**32 - 1, 2**32 - 2, 2**32 - 500, 2**32 - 3000, 2**31 - 1, 2**31 - 1500, 0]


def wrapping(family=FAMILIES[0], **config):
    """A connection whose own ISN is within 20,000 of the wrap: by waiting for the clock."""
    peer = accepted(family, **config)
    ahead = (2**32 - peer.irs - 20_000) % 2**32
    peer.socket.abort()
    peer.drop()
    peer.advance(ahead * 4_000)
    peer.snd_nxt = peer.rcv_nxt = 0
    peer.timestamps = False
    peer.handshake(rtt=10 * MS)
    peer.socket = peer.listener.accept()
    assert 2**32 - 20_000 <= peer.irs < 2**32
    return peer


@both
@pytest.mark.parametrize("iss", NEAR_THE_END)
def test_the_peers_numbers_wrap_around(family, iss):
    """RFC 9293 section 3.4."""
    peer = accepted(family, iss=iss, options=FULL)
    data = bytes(n % 251 for n in range(8000))
    for start in range(0, 4000, 1000):
        peer.inject("A", data=data[start : start + 1000])
    for start in (7000, 5000, 6000, 4000):
        peer.inject("A", seq=1 + start, data=data[start : start + 1000])
    assert peer.drop()[-1].ack == 8001
    assert peer.socket.receive() == data
    peer.inject("FA", seq=8001)
    peer.expect_delayed("A", ack=8002)
    peer.inject("R", seq=8003)
    assert peer.state == "CLOSE-WAIT"
    peer.inject("R", seq=8002)
    assert peer.state == "CLOSED"


@pytest.mark.parametrize("iss", NEAR_THE_END)
def test_blocks_and_duplicates_wrap_around(iss):
    peer = accepted(iss=iss, options=SACK)
    peer.inject("A", seq=1001, data=bytes(1000))
    assert peer.expect("A").sack == [(1001, 2001)]
    peer.inject("A", seq=2501, data=bytes(1000))
    assert peer.expect("A").sack == [(2501, 3501), (1001, 2001)]
    peer.inject("A", seq=1, data=bytes(1000))
    assert peer.expect("A", ack=2001).sack == [(2501, 3501)]
    peer.inject("A", seq=501, data=bytes(1000))
    assert peer.expect("A", ack=2001).sack == [(501, 1501), (2501, 3501)]


@both
@either
def test_our_numbers_wrap_around(family, options):
    peer = wrapping(family, options=options)
    sent = b""
    received = b""
    for _ in range(10):
        sent += peer.send(5000, ack=False)
        received += b"".join(s.data for s in peer.drop())
        peer.inject("A", ack=peer.rcv_nxt - 4000)  # once from before the wrap for text beyond it
        assert peer.tcb.snd_una == (peer.irs + peer.rcv_nxt - 4000) % 2**32
        peer.inject("A")
        assert peer.tcb.snd_una == peer.tcb.snd_nxt
    assert received == sent
    assert (peer.irs + 50_001) % 2**32 < 2**31
    peer.socket.shutdown(SHUT_WR)
    peer.expect("FA", seq=50_001)
    peer.inject("A")
    assert peer.state == "FIN-WAIT-2"


@pytest.mark.parametrize("options", [PLAIN, SACK], ids=["plain", "sack"])
def test_recovery_across_the_wrap(options):
    """The scoreboard, the recovery point and the window all compare modulo 2^32."""
    peer = wrapping(options=options)
    for _ in range(3):
        peer.send(5000)
    peer.socket.send(bytes(10_000))
    peer.drop()
    for n in range(1, 6):
        blocks = [(16_001, 16_001 + 1000 * n)] if options is SACK else None
        peer.inject("A", ack=15_001, sack=blocks)
    assert peer.drop()[0].seq == 15_001
    peer.inject("A", ack=25_001)
    peer.send(5000)
    assert peer.socket.ca_state == 0
    assert peer.tcb.snd_una == peer.tcb.snd_nxt


def test_a_closed_window_across_the_wrap():
    peer = wrapping()
    ahead = (2**32 - peer.irs - 1) % 2**32
    while ahead:
        size = min(ahead, 5000)
        peer.send(size)
        ahead -= size
    peer.inject("A", window=0)
    peer.socket.send(b"first byte beyond")
    peer.step()
    peer.expect("A", seq=peer.rcv_nxt - 1)
    peer.inject("A")
    assert peer.expect("A").raw[24:28] == bytes(4)


def test_what_was_remembered_half_the_space_ago_is_forgotten():
    """Numbers 2^31 behind would look as if they lay ahead: Nagle would hold, recovery not begin."""
    peer = accepted(
        options={"mss": 1000, "wscale": 14}, send_buffer=1 << 25, initial_window=40_000, rtt=10 * MS
    )
    peer.window = 0xFFFF
    peer.inject("A")
    text = bytes(16_000_000)

    def take():
        size = sum(packet - 40 for packet, _ in peer.host.take(cut=False))
        peer.rcv_nxt += size
        return size

    def bulk(size):
        peer.socket.send(text[:size])
        left = size - take()
        while left:
            peer.inject("A")
            size = take()
            assert size
            left -= size

    bulk(10)
    peer.inject("A")
    bulk(16_000_000)
    bulk(16_000_000)
    for _ in range(3):
        peer.inject("A", ack=11)
    assert peer.drop()[0].seq == 11
    peer.inject("A")
    assert peer.socket.ssthresh == 20_000_000
    for _ in range(2**31 // 16_000_000 + 1):
        bulk(16_000_000)
        peer.inject("A")
    peer.socket.send(text[:10_010])
    assert take() == 10_010
    for _ in range(3):
        peer.inject("A", ack=peer.rcv_nxt - 10_010)
    assert peer.drop()[0].length == 1000
    assert peer.host.counters["tcp_recoveries"] == 2
