"""TCP header and options, judged by dpkt; hostile bytes; Linux's layouts."""

from __future__ import annotations

import struct

import dpkt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from native import wire_tcp

U8 = st.integers(0, 0xFF)
U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)
COOKIE = st.integers(2, 8).flatmap(lambda n: st.binary(min_size=2 * n, max_size=2 * n))

FIELDS = st.fixed_dictionaries(
    {
        "source_port": U16,
        "destination_port": U16,
        "seq": U32,
        "ack": U32,
        "window": U16,
        "urgent": U16,
        "flags": U8,
    }
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "mss": U16,
        "window_scale": U8,
        "sack_permitted": st.just(True),
        "timestamp": st.tuples(U32, U32),
        "sack": st.lists(st.tuples(U32, U32), min_size=1, max_size=4),
        "user_timeout": U16,
        "fast_open": st.just(b"") | COOKIE,
    },
)


def segment(options: bytes, payload: bytes = b"") -> bytes:
    """A segment with these bytes in the place of its options, whatever they are."""
    padded = options + bytes(-len(options) % 4)
    return bytes(12) + bytes([(20 + len(padded)) << 2, 0x10]) + bytes(6) + padded + payload


# --- fixed header


@given(FIELDS, st.integers(0, 10), st.binary(max_size=50))
def test_a_header_that_we_build_is_what_dpkt_reads(fields, words, payload):
    header = wire_tcp.build_header(fields, 4 * words)
    read = dpkt.tcp.TCP(header + b"\x01" * 4 * words + payload)
    assert (read.sport, read.dport) == (fields["source_port"], fields["destination_port"])
    assert (read.seq, read.ack, read.win) == (fields["seq"], fields["ack"], fields["window"])
    assert (read.flags & 0xFF, read.urp) == (fields["flags"], fields["urgent"])
    assert (read.off, read.sum, read.data) == (5 + words, 0, payload)


@given(FIELDS, st.integers(0, 10), st.binary(max_size=50))
def test_a_header_that_dpkt_builds_is_what_we_read(fields, words, payload):
    options = b"\x01" * 4 * words
    written = dpkt.tcp.TCP(
        sport=fields["source_port"],
        dport=fields["destination_port"],
        seq=fields["seq"],
        ack=fields["ack"],
        flags=fields["flags"],
        win=fields["window"],
        urp=fields["urgent"],
        off=5 + words,
        opts=options,
        data=payload,
    )
    assert wire_tcp.parse(bytes(written)) == {
        **fields,
        "header_length": 20 + 4 * words,
        "gso_size": 0,
        "options": options,
        "payload": payload,
    }


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_bytes_without_a_whole_header_are_refused(data, after):
    whole = len(data) >= 20 and 20 <= (data[12] >> 4) * 4 <= len(data)
    assert (wire_tcp.parse(data, after=after) is not None) == whole


@pytest.mark.parametrize("words", range(16))
def test_a_header_needs_all_of_its_bytes(words):
    data = bytes(12) + bytes([words << 4]) + bytes(47)
    for length in range(61):
        refused = wire_tcp.parse(data[:length], after=data[length:]) is None
        assert refused == (words < 5 or length < 4 * words)


# --- options read


def what_fits(options: dict) -> dict:
    """SACK blocks and the cookie get what the others leave of 40 bytes."""
    sizes = {"mss": 4, "timestamp": 12, "window_scale": 4, "user_timeout": 4}
    left = 40 - sum(sizes[name] for name in options if name in sizes)
    if "sack_permitted" in options and "timestamp" not in options:
        left -= 4
    fitting = dict(options)
    if blocks := fitting.pop("sack", [])[: (left - 4) // 8]:
        fitting["sack"] = blocks
        left -= 4 + 8 * len(blocks)
    if len(options.get("fast_open", b"")) + 2 > left:
        fitting.pop("fast_open", None)
    return fitting


@given(OPTIONS)
def test_options_that_we_build_are_what_we_read(options):
    written = wire_tcp.build_options(options)
    assert wire_tcp.parse_options(segment(written)) == what_fits(options)


@given(OPTIONS)
def test_options_that_we_build_are_what_dpkt_reads(options):
    """Kinds in order; aligned as Linux does, so that dpkt meets every value where it lies there."""
    written = wire_tcp.build_options(options)
    assert len(written) % 4 == 0
    read = {kind: body for kind, body in dpkt.tcp.parse_opts(written) if kind != 1}
    assert set(read) <= {2, 3, 4, 5, 8, 28, 34}
    if "mss" in options:
        assert read[2] == options["mss"].to_bytes(2, "big")
    if "window_scale" in options:
        assert read[3] == bytes([options["window_scale"]])
    if "timestamp" in options:
        assert read[8] == b"".join(word.to_bytes(4, "big") for word in options["timestamp"])
    if "user_timeout" in options:
        assert read[28] == options["user_timeout"].to_bytes(2, "big")
    assert (4 in read) == ("sack_permitted" in options)
    if 5 in read:
        edges = b"".join(e.to_bytes(4, "big") for block in options["sack"] for e in block)
        assert read[5] == edges[: len(read[5])]


@given(st.binary(max_size=40), st.binary(min_size=60, max_size=60))
@example(b"\x01\x01\x01\x02", b"\x04" * 60)
@example(b"\x02\x04\x05", b"\xb4" * 60)
@example(b"\x05\x22", b"\x00" * 60)
def test_options_are_read_from_within_the_header_only(options, garbage):
    """The same bytes between other neighbours mean the same."""
    data = segment(options)
    expected = wire_tcp.parse_options(data)
    assert wire_tcp.parse_options(data, before=garbage, after=garbage) == expected
    assert wire_tcp.parse_options(data + garbage) == expected


ANY_OPTION = st.builds(
    lambda kind, body: bytes([kind, len(body) + 2]) + body,
    st.sampled_from([2, 3, 4, 5, 8, 28, 34, 19, 253, 254, 255]) | st.integers(2, 255),
    st.binary(max_size=10) | st.binary(min_size=16, max_size=16),
)


WHOLE_OPTIONS = (
    st.lists(st.just(b"\x01") | st.just(b"\x00") | ANY_OPTION, max_size=6)
    .map(b"".join)
    .filter(lambda options: len(options) <= 40)  # dpkt reads what is cut off otherwise
)


@given(WHOLE_OPTIONS)
def test_options_of_right_and_wrong_length_as_dpkt_sees_them(options):
    """Of each kind the last whose length is right counts; others are passed over (MUST-6)."""
    expected = {}
    names = {2: "mss", 3: "window_scale", 8: "timestamp", 28: "user_timeout"}
    lengths = {2: 2, 3: 1, 4: 0, 8: 8, 28: 2}
    read = dpkt.tcp.parse_opts(segment(options)[20:])
    for kind, body in read:
        if kind == 0:
            break
        if kind in lengths and len(body) != lengths[kind]:
            continue
        if kind == 8:
            expected["timestamp"] = struct.unpack("!II", body)
        elif kind in names:
            expected[names[kind]] = int.from_bytes(body, "big")
        elif kind == 4:
            expected["sack_permitted"] = True
        elif kind == 5 and len(body) in (8, 16, 24, 32):
            expected["sack"] = list(struct.iter_unpack("!II", body))
        elif kind == 34 and len(body) in (0, 4, 6, 8, 10, 12, 14, 16):
            expected["fast_open"] = body
    assert wire_tcp.parse_options(segment(options)) == expected


@pytest.mark.parametrize(
    "broken",
    ["03 00 04 02", "03 01 04 02", "01 01 08 0a", "08 09 00 00", "fd ff 01 01", "01 01 01 05"],
)
def test_an_illegal_length_ends_the_options_and_what_came_before_stands(broken):
    """RFC 9293 section 3.1, MUST-7."""
    options = b"\x02\x04\x05\xb4" + bytes.fromhex(broken)
    assert wire_tcp.parse_options(segment(options, b"\x04\x02" * 20)) == {"mss": 1460}


def test_nothing_after_end_of_options_is_read():
    for after in ("00 00 04 02", "00 02 04 02", "00 04 02 04"):
        options = b"\x02\x04\x05\xb4" + bytes.fromhex(after)
        assert wire_tcp.parse_options(segment(options)) == {"mss": 1460}


# --- options written

SACK1 = [(1, 2)]
SACK4 = [(1, 2), (3, 4), (5, 6), (7, 8)]
TS = "08 0a 0000000b 0000000c"
LAYOUTS = {
    "a SYN of Linux": (
        {"mss": 1460, "sack_permitted": True, "timestamp": (11, 12), "window_scale": 7},
        f"02 04 05b4  04 02 {TS}  01 03 03 07",
    ),
    "a SYN without timestamps": (
        {"mss": 1460, "sack_permitted": True, "window_scale": 7},
        "02 04 05b4  01 01 04 02  01 03 03 07",
    ),
    "a SYN without SACK": (
        {"mss": 1460, "timestamp": (11, 12), "window_scale": 7},
        f"02 04 05b4  01 01 {TS}  01 03 03 07",
    ),
    "a SYN with nothing but MSS": ({"mss": 536}, "02 04 0218"),
    "a SYN that asks for a cookie": (
        {
            "mss": 1460,
            "sack_permitted": True,
            "timestamp": (11, 12),
            "window_scale": 7,
            "fast_open": b"",
        },
        f"02 04 05b4  04 02 {TS}  01 03 03 07  22 02 01 01",
    ),
    "a SYN with a cookie": (
        {"mss": 1460, "fast_open": b"\xc0" * 8},
        "02 04 05b4  22 0a c0c0c0c0c0c0c0c0 01 01",
    ),
    "a SYN that asks with the experimental option": (
        {"mss": 1460, "fast_open": b"", "experimental": True},
        "02 04 05b4  fe 04 f989",
    ),
    "a SYN with an experimental cookie": (
        {"mss": 1460, "fast_open": b"\xc0" * 6, "experimental": True},
        "02 04 05b4  fe 0a f989 c0c0c0c0c0c0 01 01",
    ),
    "a SYN with all of it": (
        {
            "mss": 1460,
            "sack_permitted": True,
            "timestamp": (11, 12),
            "window_scale": 7,
            "fast_open": b"\xc0" * 16,
        },
        f"02 04 05b4  04 02 {TS}  01 03 03 07  22 12 {'c0' * 16} 01 01",
    ),
    "data": ({"timestamp": (11, 12)}, f"01 01 {TS}"),
    "an ACK with one block": (
        {"timestamp": (11, 12), "sack": SACK1},
        f"01 01 {TS}  01 01 05 0a 00000001 00000002",
    ),
    "with timestamps three blocks fit": (
        {"timestamp": (11, 12), "sack": SACK4},
        f"01 01 {TS}  01 01 05 1a 00000001 00000002 00000003 00000004 00000005 00000006",
    ),
    "without timestamps four do": (
        {"sack": SACK4},
        "01 01 05 22 00000001 00000002 00000003 00000004 00000005 00000006 00000007 00000008",
    ),
    "user timeout after window scale": (
        {"window_scale": 2, "user_timeout": 0x8003, "sack": SACK1},
        "01 03 03 02  1c 04 8003  01 01 05 0a 00000001 00000002",
    ),
    "a cookie that finds no place is left out": (
        {
            "mss": 1460,
            "timestamp": (11, 12),
            "window_scale": 7,
            "user_timeout": 1,
            "fast_open": b"\xc0" * 16,
        },
        f"02 04 05b4  01 01 {TS}  01 03 03 07  1c 04 0001",
    ),
    "nothing": ({}, ""),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_options_lie_as_linux_lays_them(name):
    """net/ipv4/tcp_output.c, tcp_options_write; RFC 7323 appendix A; RFC 7413 section 4.1.1."""
    options, expected = LAYOUTS[name]
    assert wire_tcp.build_options(options).hex(" ") == bytes.fromhex(expected).hex(" ")


# --- sequence numbers


@given(U32, st.integers(-(1 << 31) + 1, (1 << 31) - 1))
def test_sequence_numbers_compare_across_the_wrap(a, distance):
    """RFC 9293 section 3.4."""
    b = (a + distance) % (1 << 32)
    later, earlier = (b, a) if distance > 0 else (a, b)
    assert wire_tcp.seq_compare(a, b) == (
        distance > 0,
        distance >= 0,
        distance < 0,
        distance <= 0,
        later,
        earlier,
    )
