"""Reassembly: the original or nothing, whatever order, and never more than has a bound."""

from __future__ import annotations

import struct

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native import ip
from scenario.ip_wire import (
    DESTINATION,
    FAMILIES,
    FRAGMENT,
    HOP_BY_HOP,
    IPV4,
    IPV6,
    ROUTING,
    TCP,
    UDP,
    echo,
    family_name,
    fragment,
    fragment_header,
    fragments,
    options_header,
    packet,
    read_icmp,
    routing_header,
    running_host,
    udp,
)

both = pytest.mark.parametrize("family", FAMILIES, ids=family_name)
PAD = options_header(b"")


@pytest.fixture
def host():
    with running_host() as running:
        yield running


def pattern(size):
    return b"".join(struct.pack("!H", n) for n in range((size + 1) // 2))[:size]


def datagram(size):
    """Transport header and payload of a UDP datagram, checksum left 0: IP does not look."""
    return bytes(udp(pattern(size - 8)))


def receive_all(host, packets):
    """What came of them: the last result that was not None."""
    return next((got for got in map(host.receive, packets) if got), None)


# Wholes


@given(
    st.sampled_from(FAMILIES),
    st.integers(8, 20000),
    st.integers(1, 180).map(lambda n: 8 * n),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_fragments_in_any_order_make_the_original(family, size, piece, random, duplicates):
    """RFC 791 section 3.2, RFC 815, RFC 8200 section 4.5; exact duplicates are tolerated."""
    data = datagram(size)
    with running_host() as host:
        if len(data) // piece >= ip.FRAGMENT_PIECES_MAX:
            piece = 8 * (size // 8 // ip.FRAGMENT_PIECES_MAX + 1)
        packets = fragments(family, UDP, data, piece)
        if len(packets) == 1:
            return
        random.shuffle(packets)
        last = packets.pop()
        for each in packets:
            assert host.receive(each) is None
            if duplicates and random.random() < 0.3:
                assert host.receive(each) is None
        got = host.receive(last)
        assert (got.to, got.source, got.destination) == ("udp", family.peer, family.ours)
        assert got.payload == data
        assert (got.csum, got.gso_size) == (ip.CSUM_FULL, 0)
        assert (host.live, host.reassembling, host.deadline_s) == (0, 0, None)
        assert host.counters["ip_reassembled"] == 1


@both
def test_a_packet_as_large_as_can_be_is_reassembled(host, family):
    size = 65535 if family.v6 else 65515
    got = receive_all(host, fragments(family, UDP, datagram(size), 1480))
    assert got.payload == datagram(size)


@both
def test_datagrams_are_kept_apart(host, family):
    """RFC 791: source, destination, protocol and identification; RFC 8200: not the protocol."""
    data = [bytes([n]) * 64 for n in range(5)]
    variants = [
        {"id": 1},
        {"id": 0x10001 if family.v6 else 2},
        {"id": 1, "source": "2001:db8::8" if family.v6 else "192.0.2.8"},
        {"id": 1, "destination": family.second},
    ]
    for variant, each in zip(variants, data, strict=False):
        assert host.receive(fragment(family, UDP, each[:32], 0, True, **variant)) is None
    for variant, each in zip(variants, data, strict=False):
        assert host.receive(fragment(family, UDP, each[32:], 32, False, **variant)).payload == each
    if not family.v6:
        host.receive(fragment(family, UDP, data[0][:32], 0, True))
        assert host.receive(fragment(family, TCP, data[1][32:], 32, False)) is None
        assert host.receive(fragment(family, UDP, data[0][32:], 32, False)).payload == data[0]


def test_options_of_ipv4_fragments_are_left_behind(host):
    """RFC 791: the transport header is found, however long fragment 0's header was."""
    data = datagram(100)
    host.receive(fragment(IPV4, UDP, data[:48], 0, True, options=b"\1" * 40))
    got = host.receive(fragment(IPV4, UDP, data[48:], 48, False, options=b"\1" * 4))
    assert got.payload == data


def test_extension_headers_on_both_sides_of_the_fragment_header(host):
    """RFC 8200 section 4.5: those before it are each fragment's, those behind it the packet's."""
    data = datagram(100)
    whole = bytes([UDP]) + options_header(b"")[1:] + data

    def piece(body, offset, more):
        extensions = [
            (HOP_BY_HOP, options_header(bytes(100))),  # longer than our headroom
            (ROUTING, routing_header(4, 0)),
            (FRAGMENT, fragment_header(1, offset, more)),
        ]
        return packet(IPV6, DESTINATION, body, extensions=extensions)

    assert host.receive(piece(whole[56:], 56, False)) is None
    assert host.receive(piece(whole[:56], 0, True)).payload == data


@pytest.mark.parametrize("id", [1, 7])
def test_an_atomic_fragment_is_handled_alone(host, id):
    """RFC 6946 section 4: even if fragments with its identification are waiting."""
    data = datagram(64)
    host.receive(fragment(IPV6, UDP, data[:32], 0, True, id=1))
    assert host.receive(fragment(IPV6, UDP, datagram(40), 0, False, id=id)).payload == datagram(40)
    assert host.receive(fragment(IPV6, UDP, data[32:], 32, False, id=1)).payload == data


def test_an_atomic_fragment_may_be_pinged(host):
    host.receive(fragment(IPV6, 58, echo(IPV6, b"hello"), 0, False))
    (sent,) = host.transmit()
    assert read_icmp(sent.data).data == b"hello"


@both
@pytest.mark.parametrize(
    ("marks", "result"),
    [
        ([2, 2, 3], 3), ([3, 1, 1], 3), ([1, 1, 1], 1), ([1, 2, 2], 1), ([0, 0, 0], 0),
        ([0, 3, 0], None), ([0, 2, 2], None), ([1, 1, 0], None),
    ],
)  # fmt: skip
def test_congestion_marks_survive_reassembly(host, family, marks, result):
    """RFC 3168 section 5.3: CE if any fragment has it; dropped, as by Linux, if some cannot."""
    data = datagram(72)
    pieces = [
        fragment(family, UDP, data[at : at + 24], at, at < 48, tos=0xB8 | mark)
        for at, mark in zip((0, 24, 48), marks, strict=True)
    ]
    got = receive_all(host, pieces)
    assert (got and got.tos) == (None if result is None else 0xB8 | result)


# Overlaps


# (start, length) in units of 8 bytes.
random_pieces = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8)), min_size=2, max_size=8)


@given(st.sampled_from(FAMILIES), random_pieces)
def test_pieces_at_random_make_the_original_or_nothing(family, pieces):
    """RFC 5722 section 4 (and so for IPv4): after an overlap no fragment of the datagram counts."""
    total = 8 * max(start + length for start, length in pieces)
    data = datagram(max(total, 8))[:total]
    seen, spoilt = [], False
    with running_host() as host:
        for start, length in pieces:
            start, end = 8 * start, 8 * (start + length)
            got = host.receive(fragment(family, UDP, data[start:end], start, end < total))
            if (start == 0 and end == total) or (start == 0 and end - start < 8):
                return  # a whole packet, or a first fragment without its header
            same = (start, end) in seen
            clash = any(start < other_end and other < end for other, other_end in seen)
            if clash and not same:
                spoilt = True
            if not same:
                seen.append((start, end))
            if got is not None:
                assert not spoilt
                assert got.payload == data
                seen, spoilt = [], False
        host.advance(61)
        host.transmit()
        assert (host.live, host.reassembling) == (0, 0)


@both
@pytest.mark.parametrize(
    ("start", "end"), [(24, 56), (40, 48), (32, 72), (56, 72), (0, 96), (0, 48)]
)
def test_an_overlap_drops_the_whole_datagram(host, family, start, end):
    """RFC 5722 section 4: also the fragments that are yet to come."""
    data = datagram(96)
    host.receive(fragment(family, UDP, data[:32], 0, True))
    host.receive(fragment(family, UDP, data[32:64], 32, True))
    assert host.receive(fragment(family, UDP, data[start:end], start, True)) is None
    assert host.counters["ip_drop_fragment_overlap"] == 1
    assert host.receive(fragment(family, UDP, data[64:], 64, False)) is None
    assert receive_all(host, fragments(family, UDP, data, 32)) is None
    assert host.live == 0
    host.advance(61)
    assert receive_all(host, fragments(family, UDP, data, 32)).payload == data


@both
def test_a_duplicate_with_other_bytes_is_an_overlap(host, family):
    """RFC 4963: after the identification has wrapped, or by an attacker's hand."""
    data = datagram(64)
    host.receive(fragment(family, UDP, data[:32], 0, True))
    assert host.receive(fragment(family, UDP, bytes(32), 0, True)) is None
    assert host.counters["ip_drop_fragment_overlap"] == 1
    assert host.receive(fragment(family, UDP, data[32:], 32, False)) is None


# Fragments that are no good


@both
@pytest.mark.parametrize(
    "pieces",
    [
        [(0, 32, True), (64, 96, False), (96, 128, True)],  # behind the end
        [(0, 32, True), (96, 128, True), (32, 64, False)],  # an end before what has come
        [(0, 32, True), (64, 96, False), (32, 64, False)],  # two ends
    ],
)
def test_ends_that_disagree_drop_the_datagram(host, family, pieces):
    """RFC 815: the last fragment says how long the packet is, once."""
    data = datagram(128)
    for start, end, more in pieces:
        assert host.receive(fragment(family, UDP, data[start:end], start, more)) is None
    assert host.counters["ip_drop_fragment_bad"] == 1
    assert host.live == 0


@both
def test_a_fragment_but_the_last_is_a_multiple_of_8(host, family):
    """RFC 791; RFC 8200 section 4.5: Parameter Problem, pointing at the payload length."""
    data = fragment(family, UDP, datagram(31), 0, True)
    assert host.receive(data) is None
    assert host.counters["ip_drop_fragment_bad"] == 1
    assert [read_icmp(sent.data)[2:5] for sent in host.transmit()] == (
        [(4, 0, 4)] if family.v6 else []
    )


@both
def test_a_packet_longer_than_can_be_is_dropped(host, family):
    """The ping of death; RFC 8200 section 4.5: Parameter Problem, pointing at the offset."""
    assert host.receive(fragment(family, UDP, bytes(16), 65528, False)) is None
    assert host.counters["ip_drop_fragment_too_big"] == 1
    assert [read_icmp(sent.data)[2:5] for sent in host.transmit()] == (
        [(4, 0, 42)] if family.v6 else []
    )
    most = 65535 if family.v6 else 65515  # IPv6 does not count the header
    last = most & ~7
    fits = bytes(most - last)
    assert host.receive(fragment(family, UDP, fits + b"x", last, False)) is None
    assert host.counters["ip_drop_fragment_too_big"] == 2
    assert host.reassembling == 0
    assert host.receive(fragment(family, UDP, fits, last, False)) is None
    assert host.reassembling == 1


@both
def test_an_empty_fragment_is_dropped(host, family):
    assert host.receive(fragment(family, 99, b"", 64, True)) is None
    assert host.receive(fragment(family, 99, b"", 64, False)) is None
    assert host.counters["ip_drop_fragment_bad"] == 2
    assert host.reassembling == 0


@both
def test_tiny_first_fragments_are_dropped(host, family):
    """RFC 1858 section 3, RFC 3128; RFC 7112 section 5: the transport header in fragment 0."""
    tcp = bytes(dpkt.tcp.TCP(data=bytes(64)))
    for size in (8, 16):
        assert host.receive(fragment(family, TCP, tcp[:size], 0, True)) is None
    assert host.receive(fragment(family, TCP, tcp[8:16], 8, True)) is None
    assert host.counters["ip_drop_fragment_tiny"] == 3
    assert host.reassembling == 0
    assert host.receive(fragment(family, TCP, tcp[:24], 0, True)) is None
    assert host.receive(fragment(family, TCP, tcp[24:], 24, False)).payload == tcp


def test_an_incomplete_header_chain_in_the_first_fragment_is_dropped(host):
    """RFC 7112 section 5: Parameter Problem, code 3."""
    data = fragment(IPV6, DESTINATION, bytes([UDP, 3]) + bytes(14), 0, True)
    assert host.receive(data) is None
    (sent,) = host.transmit()
    assert read_icmp(sent.data)[2:] == (4, 3, 0, data)
    assert host.counters["ip_drop_fragment_tiny"] == 1
    assert host.reassembling == 0


def test_hop_by_hop_options_may_not_hide_behind_a_fragment_header(host):
    """RFC 8200 section 4.1: first in the packet or nowhere."""
    data = fragment(IPV6, HOP_BY_HOP, bytes([UDP]) + PAD[1:] + datagram(24), 0, True)
    assert host.receive(data) is None
    (sent,) = host.transmit()
    assert read_icmp(sent.data)[2:5] == (4, 1, 40)
    assert host.reassembling == 0


def test_fragments_of_fragments_are_dropped(host):
    inner = bytes([UDP]) + fragment_header(9, 0, True)[1:] + datagram(32)
    assert receive_all(host, fragments(IPV6, FRAGMENT, inner, 24)) is None
    assert host.counters["ip_drop_bad_extension_header"] == 1


@both
def test_a_train_is_no_fragment(host, family):
    data = fragment(family, TCP, bytes(64), 0, True)
    assert host.receive(data, gso=ip.GSO_TCP6 if family.v6 else ip.GSO_TCP4, gso_size=8) is None
    assert host.counters["ip_drop_fragment_bad"] == 1


# Bounds


@both
def test_the_number_of_datagrams_is_bounded(host, family):
    """The oldest gives way."""
    data = datagram(64)
    for id in range(ip.FRAGMENT_DATAGRAMS_MAX + 1):
        host.receive(fragment(family, UDP, data[:32], 0, True, id=id))
    assert host.reassembling == ip.FRAGMENT_DATAGRAMS_MAX
    assert host.counters["ip_drop_fragment_table_full"] == 1
    assert host.receive(fragment(family, UDP, data[32:], 32, False, id=1)).payload == data
    assert host.receive(fragment(family, UDP, data[32:], 32, False, id=0)) is None
    host.advance(61)
    assert (host.live - len(host.transmit()), host.reassembling) == (0, 0)


@both
def test_the_number_of_fragments_of_a_datagram_is_bounded(host, family):
    for n in range(ip.FRAGMENT_PIECES_MAX):
        host.receive(fragment(family, 99, bytes(8), 16 * n + 16, True))
    assert host.counters.get("ip_drop_fragment_bad") is None
    host.receive(fragment(family, 99, bytes(8), 16 * ip.FRAGMENT_PIECES_MAX + 16, True))
    assert host.counters["ip_drop_fragment_bad"] == 1
    assert host.live == 0


@both
def test_what_is_not_complete_in_time_is_dropped(host, family):
    """RFC 792, RFC 1122 section 3.3.2; RFC 8200 section 4.5: Time Exceeded, quoting fragment 0."""
    lifetime = 60 if family.v6 else 30
    first = fragment(family, UDP, datagram(64)[:32], 0, True)
    host.receive(fragment(family, UDP, bytes(32), 64, False))
    assert host.deadline_s == lifetime
    host.advance(lifetime / 2)
    host.receive(first)
    assert host.deadline_s == lifetime / 2  # counted from the fragment that came first
    host.advance(lifetime / 2 - 0.001)
    assert host.reassembling == 1
    host.advance(0.001)
    assert (host.reassembling, host.deadline_s) == (0, None)
    (sent,) = host.transmit()
    message = read_icmp(sent.data)
    assert (message.source, message.destination) == (family.ours, family.peer)
    assert (message.type, message.code, message.data) == (3 if family.v6 else 11, 1, first)
    assert host.counters["ip_drop_fragment_timeout"] == 1
    assert host.live == 0


@both
def test_nobody_hears_of_a_datagram_without_its_first_fragment(host, family):
    """RFC 792; RFC 8200 section 4.5."""
    host.receive(fragment(family, UDP, bytes(32), 32, True))
    host.advance(61)
    assert host.transmit() == []
    assert host.counters["ip_drop_fragment_timeout"] == 1


def test_the_error_quotes_fragment_0_as_it_came(host):
    """RFC 792: the IP header and what follows, options and extension headers with it."""
    first4 = fragment(IPV4, UDP, datagram(64)[:32], 0, True, options=b"\1" * 40)
    first6 = packet(
        IPV6, UDP, datagram(64)[:32],
        extensions=[(DESTINATION, PAD), (FRAGMENT, fragment_header(1, 0, True))],
    )  # fmt: skip
    for first in (first4, first6):
        host.receive(first)
        host.advance(61)
        (sent,) = host.transmit()
        assert read_icmp(sent.data).data == first


def test_an_error_quotes_the_packet_as_it_came_or_not_at_all(host):
    """A header longer than a packet's headroom is not kept; half of it would be a lie."""
    extensions = [
        (DESTINATION, options_header(bytes(100))),
        (FRAGMENT, fragment_header(1, 0, True)),
    ]
    host.receive(packet(IPV6, UDP, datagram(64)[:32], extensions=extensions))
    host.advance(61)
    assert host.transmit() == []
    assert host.counters["ip_drop_fragment_timeout"] == 1


def test_datagrams_expire_each_in_its_time(host):
    """No timer is left armed in the past."""
    for id in range(3):
        host.receive(fragment(IPV4, UDP, datagram(32), 0, True, id=id))
        host.receive(fragment(IPV6, UDP, datagram(32), 0, True, id=id))
        host.advance(1)
    waited = []
    while host.deadline_s is not None:
        assert host.deadline_s > 0
        waited.append(host.deadline_s)
        host.advance(host.deadline_s)
    assert waited == [27, 1, 1, 28, 1, 1]
    assert len(host.transmit()) == 6
