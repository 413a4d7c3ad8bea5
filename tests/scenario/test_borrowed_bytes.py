"""Segments borrow their text from the send ring (docs/decisions/0001): never after it has gone or
moved.
"""

from __future__ import annotations

import random

import pytest
from scenario.peer import FULL, SECOND
from scenario.tcp_states import SHUT_WR, accepted, alone, connected, listening
from scenario.tcp_wire import IPV4

ECHO, TCP = 1, 6
SEND_BUFFER, NO_DELAY, CONGESTION = (1, 7), (6, 1), (6, 13)
LONG = {**FULL, "mss": 1460}

# What ends the connection, or frees text.
ENDINGS = {
    "abort": lambda peer: peer.socket.abort(),
    "reset by the peer": lambda peer: peer.inject("R"),
    "acknowledgment": lambda peer: peer.inject("A", ack=1001),
    "end of the stack": lambda peer: peer.host.abort_all(),
}

# What leaves the connection and its text in place.
CHANGES = {
    "more text": lambda peer: peer.socket.send(bytes(200_000)),
    "a larger buffer": lambda peer: peer.socket.set_option(*SEND_BUFFER, 1 << 20),
    "a smaller buffer": lambda peer: peer.socket.set_option(*SEND_BUFFER, 1),
    "another algorithm": lambda peer: peer.socket.set_option(*CONGESTION, 2),
    "shutdown": lambda peer: peer.socket.shutdown(SHUT_WR),
    "close": lambda peer: peer.socket.close(),
    "text of the peer's": lambda peer: peer.inject("A", ack=6001, data=bytes(30_000)),
    "the end of the peer's": lambda peer: peer.inject("FA", ack=6001),
    "too large a packet": lambda peer: peer.error("too big", peer.last, mtu=600),
}


def noise(length: int, seed: int = 1) -> bytes:
    """No two stretches of it are alike."""
    return random.Random(seed).randbytes(length)


def stream(segments) -> dict[int, int]:
    """Sequence number: byte, of the text of segments that agree where they overlap."""
    text: dict[int, int] = {}
    for segment in segments:
        for seq, byte in enumerate(segment.data, segment.seq):
            assert text.setdefault(seq, byte) == byte, f"other bytes at {seq}"
    return text


def starts_with(segments, data: bytes, first: int) -> None:
    """The text of the segments is that of `data`, which begins at `first`."""
    text = stream(segments)
    assert text
    for seq, byte in text.items():
        if 0 <= seq - first < len(data):
            assert byte == data[seq - first], f"other bytes at {seq}"


FAST_CHANGES = {
    "abort": lambda peer: peer.socket.abort(),
    "close": lambda peer: peer.socket.close(),
    "end of the stack": lambda peer: peer.host.abort_all(),
    "its answer": lambda peer: peer.inject("SA", seq=0, ack=peer.socket.iss + 901),
    "half of its answer": lambda peer: peer.inject("SA", seq=0, ack=peer.socket.iss + 1),
    "refusal": lambda peer: peer.inject("RA", seq=0, ack=peer.socket.iss + 1),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_timer_sends_nothing_that_the_next_entry_can_free(ending):
    peer = accepted()
    peer.send(1000, ack=False)
    peer.drop()
    peer.host.advance(3 * SECOND)  # beyond the RTO; nobody takes what it sends
    ending(peer)
    assert not [segment for segment in peer.drop() if segment.length]


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_input_sends_nothing_that_the_rest_of_the_batch_can_free(ending):
    """An ACK that lets text go, three duplicates that let text go again; then the end."""
    peer = accepted(options=FULL, initial_window=2)
    peer.socket.send(noise(1000))
    peer.socket.send(noise(20_000, 2))
    before = peer.drop()
    for block in range(1, 4):
        peer.inject("A", ack=1, sack=[(1001, 1001 + 100 * block)])
    ending(peer)
    after = [segment for segment in peer.drop() if segment.length]
    assert before
    assert not after if peer.state == "CLOSED" else stream(before + after)


def test_what_a_window_held_back_is_sent_when_the_override_timer_fires():
    """RFC 9293 section 3.8.6.2.1: also without another entry."""
    peer = accepted()
    peer.inject("A", window=1000)
    peer.send(1000, ack=False)
    peer.drop()
    peer.inject("A", ack=1001, window=100)
    peer.send(500, ack=False)
    peer.expect_nothing()
    peer.advance(SECOND)
    assert [segment.length for segment in peer.pending][:1] == [100]


@pytest.mark.parametrize("window", [2000, 5000])
@pytest.mark.parametrize("others", [0, 3])
def test_a_service_that_goes_on_after_output_moves_no_bytes_of_packets(window, others):
    """As the text leaves there is room for more, whose ring grows: RFC 862 wants the same bytes
    back. The low-water mark makes room with each segment; a larger cwnd may, too.
    """
    peer = alone(local_port=7, notsent_lowat=1)
    peer.host.serve(ECHO, TCP, 7)
    peers = [peer, *(peer.sibling(peer.port + 1 + n) for n in range(others))]
    data = noise(40_000)
    for each in peers:
        each.window = window
        each.handshake()
    for at in range(0, len(data), 1000):
        for each in peers:
            each.inject("A", data=data[at : at + 1000])
    for each in peers:
        echoed = bytearray()
        while len(echoed) < len(data):
            each.collect()
            if not each.pending:
                each.step()
            for segment in each.drop():
                assert segment.data == data[segment.seq - 1 : segment.end - 1]
                if segment.seq == 1 + len(echoed):
                    echoed += segment.data
            each.inject("A", ack=1 + len(echoed))
        assert echoed == data


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("again", [False, True], ids=["new", "again"])
def test_text_is_what_was_written_whatever_happens_before_it_leaves(change, again):
    """New text, and text that is sent again when its timer fires."""
    peer = accepted(options=FULL, receive_buffer=1 << 16, early_retrans=0)
    peer.send(3000)
    peer.socket.send(noise(3000))
    peer.last = peer.drop()[-1]
    peer.inject("A")
    data = noise(9000, 2)
    first = 6001
    peer.socket.send(data)
    before = peer.drop() if again else []
    if again:
        peer.host.advance(3 * SECOND)
    change(peer)
    after = peer.drop()
    starts_with(before + after, data, first)
    assert not again or stream(before).keys() & stream(after).keys()


@pytest.mark.parametrize("writes", [1, 5])
def test_a_probe_of_the_path_and_what_follows_it_carry_the_right_bytes(writes):
    """RFC 4821 section 7.5: a segment larger than the others, and trains behind it."""
    peer = connected(options=LONG, mtu_probing=2, initial_window=12)
    peer.inject("A")
    data = noise(100_000)
    sent = []
    for at in range(0, len(data), len(data) // writes):
        peer.socket.send(data[at : at + len(data) // writes])
        while segments := peer.drop():
            sent += segments
            peer.inject("A")
    starts_with(sent, data, 1)
    assert peer.rcv_nxt == 1 + len(data)
    assert peer.host.counters["tcp_mtu_probes"] > 1
    assert max(segment.length for segment in sent) > 1400


@pytest.mark.parametrize("change", FAST_CHANGES.values(), ids=FAST_CHANGES)
def test_the_text_of_a_syn_is_its_own(change):
    """RFC 7413 section 4.2: also if the connection ends, or grows, before the SYN leaves."""
    peer = alone(fastopen=0x5)
    peer.socket = peer.host.tcp()
    data = noise(900)
    peer.socket.fast_open(IPV4.theirs, peer.port, data)
    peer.iss, peer.irs = 1_000_000, 0
    peer.local_port = peer.socket.port
    change(peer)
    assert peer.expect_syn().data == data


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_early_text_of_a_server_is_never_what_has_gone(ending):
    """RFC 7413 section 4.2.2: it answers before the handshake ends."""
    peer = listening(fastopen=0x202)
    peer.listener.set_option(TCP, 23, 5)
    peer.inject("S", seq=0, data=b"request", options=peer.syn_options())
    peer.expect("SA", ack=8)
    peer.socket = peer.listener.accept()
    data = noise(3000)
    peer.socket.send(data)
    ending(peer)
    segments = [segment for segment in peer.drop() if segment.length]
    if segments:
        starts_with(segments, data, 1)


def whole(segments) -> bytes:
    """The text of segments that follow one another."""
    return b"".join(segment.data for segment in segments)


@pytest.mark.parametrize("sizes", [(70_000,), (70_000, 500, 70_000), (500, 70_000, 66_000, 2000)])
def test_lent_text_is_sent_and_given_back(sizes):
    """Decision 0017. A train that spans three pieces or four is copied; others borrow."""
    peer = accepted(
        options={"mss": 1000, "wscale": 7}, initial_window=300, rtt=20_000, send_buffer=1 << 20
    )
    peer.inject("A", window=0)
    writes = [noise(size, seed) for seed, size in enumerate(sizes)]
    lent = []
    for data in writes:
        if len(data) < 65536:
            assert peer.socket.send(data) == len(data)
            continue
        taken, loan = peer.socket.lend(data)
        assert taken == len(data)
        lent.append(loan)
    assert peer.drop() == []
    peer.inject("A", window=0xFFFF)
    text = b"".join(writes)
    sent = b""
    while len(sent) < len(text):
        sent += whole(peer.drop())
        assert text.startswith(sent)
        peer.inject("A", ack=1 + len(sent), window=0xFFFF)
    assert sent == text
    assert [loan.data for loan in lent] == [None] * len(lent)
    assert peer.host.counters["trains_out"] > 0


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_lent_text_is_kept_until_all_of_it_is_acknowledged_or_the_connection_ends(ending):
    peer = accepted(options=FULL, send_buffer=1 << 20)
    data = noise(100_000)
    _, loan = peer.socket.lend(data)
    sent = peer.drop()
    assert whole(sent) == data[: len(whole(sent))] != b""
    ending(peer)
    peer.drop()
    assert loan.data == (None if peer.state == "CLOSED" else data)


def test_what_is_sent_again_is_sent_from_where_it_lies():
    peer = accepted(options=FULL, send_buffer=1 << 20, early_retrans=0)
    data = noise(100_000)
    peer.socket.lend(data)
    before = peer.drop()
    peer.host.advance(3 * SECOND)
    after = peer.drop()
    starts_with(before + after, data, 1)
    assert stream(before).keys() & stream(after).keys()
