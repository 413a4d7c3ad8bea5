"""IPv4, IPv6 and ICMP headers: dpkt judges what is built and read; nothing is read beyond."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native import wire_ip as wire

bits16 = st.integers(0, 0xFFFF)
octets = st.integers(0, 255)
v4_addresses = st.integers(0, 2**32 - 1).map(lambda n: str(IPv4Address(n)))
v6_addresses = st.integers(0, 2**128 - 1).map(lambda n: str(IPv6Address(n)))
v4_headers = st.builds(
    wire.V4, v4_addresses, v4_addresses, bits16, bits16, bits16, st.just(20), octets, octets, octets
)
v6_headers = st.builds(
    wire.V6, v6_addresses, v6_addresses, st.integers(0, 0xFFFFF), bits16, octets, octets, octets
)


def ipv4(data=b"", **fields):
    packet = dpkt.ip.IP(src=b"\x0a\0\0\1", dst=b"\x0a\0\0\2", data=data, **fields)
    packet.len = len(packet)
    return bytearray(bytes(packet))


def with_checksum(header):
    header[10:12] = bytes(2)
    header[10:12] = struct.pack("!H", dpkt.in_cksum(bytes(header[: (header[0] & 15) * 4])))
    return bytes(header)


@given(v4_headers)
def test_dpkt_reads_the_ipv4_header_that_we_build(header):
    """RFC 791 section 3.1."""
    built = wire.build4(header)
    read = dpkt.ip.IP(built)
    flags = read.rf << 15 | read.df << 14 | read.mf << 13 | read.offset
    assert (IPv4Address(read.src), IPv4Address(read.dst)) == (
        IPv4Address(header.source),
        IPv4Address(header.destination),
    )
    assert (read.v, read.hl, read.tos, read.len, read.id, flags, read.ttl, read.p) == (
        4, 5, header.tos, header.total_length, header.id, header.fragment, header.ttl,
        header.protocol,
    )  # fmt: skip
    assert dpkt.in_cksum(built) == 0


@given(v4_headers, st.binary(max_size=40))
def test_an_ipv4_header_is_read_as_it_was_built(header, payload):
    """RFC 791 section 3.1."""
    header = header._replace(total_length=20 + len(payload))
    assert wire.parse4(wire.build4(header) + payload) == header


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda p: p[:19], wire.TOO_SHORT),
        (lambda p: b"", wire.TOO_SHORT),
        (lambda p: bytes([0x55]) + p[1:], wire.BAD_VERSION),
        (lambda p: bytes([0x44]) + p[1:], wire.BAD_HEADER_LENGTH),
        (lambda p: bytes([0x4F]) + p[1:], wire.BAD_HEADER_LENGTH),
        (lambda p: p[:2] + b"\0\x13" + p[4:], wire.BAD_TOTAL_LENGTH),
        (lambda p: p[:2] + b"\0\x1d" + p[4:], wire.BAD_TOTAL_LENGTH),
        (lambda p: p[:8] + bytes([p[8] ^ 1]) + p[9:], wire.BAD_CHECKSUM),
    ],
)
def test_a_damaged_ipv4_header_is_refused(damage, fault):
    """RFC 1122 section 3.2.1: version, header length, total length and checksum are judged."""
    good = bytes(ipv4(b"12345678"))
    assert len(good) == 28
    assert wire.parse4(good).total_length == 28
    assert wire.parse4(damage(good)) == fault


@pytest.mark.parametrize("options", [b"", b"\1\1\1\0"], ids=["plain", "options"])
def test_any_bit_that_was_turned_over_is_found(options):
    good = bytes(ipv4(b"12345678", opts=options, hl=5 + len(options) // 4))
    assert not isinstance(wire.parse4(good), int)
    for bit in range(8 * (20 + len(options))):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        assert isinstance(wire.parse4(bytes(bad)), int), bit


def test_both_zeros_are_a_good_checksum():
    """RFC 1624 section 3: 0 and 0xffff are the same in one's complement arithmetic."""
    header = ipv4(b"12345678")
    header[4:6] = header[10:12]  # the identification takes up what the checksum would have been
    assert with_checksum(header)[10:12] == b"\0\0"
    for zero in (b"\0\0", b"\xff\xff"):
        header[10:12] = zero
        assert wire.parse4(bytes(header)).total_length == 28


def test_padding_behind_the_packet_is_no_fault():
    """RFC 894: Ethernet pads to 46 bytes; total_length says what counts."""
    assert wire.parse4(bytes(ipv4(b"1234")) + bytes(30)).total_length == 24


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        (b"", wire.OPTIONS_GOOD),
        (b"\1\1\1\0", wire.OPTIONS_GOOD),
        (b"\x07\x07\x04" + bytes(5), wire.OPTIONS_GOOD),  # record route
        (b"\x94\x04\0\0", wire.OPTIONS_GOOD),  # router alert
        (b"\0\x83\x01\x00", wire.OPTIONS_GOOD),  # behind the end anything may lie
        (b"\x83\x07\x04" + bytes(5), wire.OPTIONS_SOURCE_ROUTE),
        (b"\1\x89\x07\x04" + bytes(4), wire.OPTIONS_SOURCE_ROUTE),
        (b"\x07\x05\x04\x00", wire.OPTIONS_MALFORMED),  # longer than what is there
        (b"\x07\x01\x04\x00", wire.OPTIONS_MALFORMED),
        (b"\x07\x00\x04\x00", wire.OPTIONS_MALFORMED),
        (b"\1\1\1\x07", wire.OPTIONS_MALFORMED),  # no room for its length
    ],
)
def test_ipv4_options_are_walked(options, verdict):
    """RFC 791 section 3.1; RFC 7126 sections 4.3 and 4.4 on source routes."""
    assert wire.options4(bytes(ipv4(opts=options, hl=5 + len(options) // 4))) == verdict


@given(st.binary(max_size=40).map(lambda o: o[: len(o) // 4 * 4]))
def test_random_ipv4_options_are_survived(options):
    verdict = wire.options4(bytes(ipv4(opts=options, hl=5 + len(options) // 4)))
    assert verdict in (wire.OPTIONS_GOOD, wire.OPTIONS_MALFORMED, wire.OPTIONS_SOURCE_ROUTE)


@given(v6_headers)
def test_dpkt_reads_the_ipv6_header_that_we_build(header):
    """RFC 8200 section 3."""
    header = header._replace(next_header=header.next_header | 0x80)  # which dpkt does not unpack
    read = dpkt.ip6.IP6(wire.build6(header) + bytes(header.payload_length))
    assert (IPv6Address(read.src), IPv6Address(read.dst)) == (
        IPv6Address(header.source),
        IPv6Address(header.destination),
    )
    assert (read.v, read.fc, read.flow, read.plen, read.nxt, read.hlim) == (
        6, header.tos, header.flow_label, header.payload_length, header.next_header,
        header.hop_limit,
    )  # fmt: skip


@given(v6_headers, st.binary(max_size=20))
def test_an_ipv6_header_is_read_as_it_was_built(header, padding):
    header = header._replace(payload_length=8)
    assert wire.parse6(wire.build6(header) + bytes(8) + padding) == header


def test_a_damaged_ipv6_header_is_refused():
    """RFC 8200 section 3."""
    good = wire.build6(wire.V6("fd03::1", "fd03::2", 0, 8, 17, 64, 0)) + bytes(8)
    assert wire.parse6(good).payload_length == 8
    assert wire.parse6(good[:39]) == wire.V6_TOO_SHORT
    assert wire.parse6(b"\x70" + good[1:]) == wire.V6_BAD_VERSION
    assert wire.parse6(good[:47]) == wire.V6_BAD_LENGTH


@given(
    st.builds(wire.Fragment, st.integers(0, 2**32 - 1), st.integers(0, 8191), octets, st.booleans())
)
def test_a_fragment_header_is_as_the_rfc_draws_it(fragment):
    """RFC 8200 section 4.5."""
    fragment = fragment._replace(offset=fragment.offset * 8)
    field = fragment.offset | fragment.more
    raw = struct.pack("!BBHI", fragment.next_header, 0, field, fragment.id)
    assert wire.fragment_build(fragment) == raw
    assert wire.fragment_read(raw) == fragment


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b"\1\4\0\0\0\0", (wire.SKIP, None)),
        (bytes(6), (wire.SKIP, None)),
        (b"\5\2\0\0\1\0", (wire.SKIP, None)),  # router alert
        (b"\x1e\4\0\0\0\0", (wire.SKIP, None)),  # unknown, 00
        (b"\x5e\4\0\0\0\0", (wire.DISCARD, 2)),
        (b"\0\x9e\1\0\0\0", (wire.REPORT, 3)),
        (b"\1\0\xc2\2\0\0", (wire.REPORT_UNICAST, 4)),
        (b"\1\0\1\0\x1e\3", (wire.MALFORMED, 6)),  # one byte too long
        (b"\0\0\0\0\0\x1e", (wire.MALFORMED, 7)),  # no room for its length
        (b"\1\5\0\0\0\0", (wire.MALFORMED, 2)),
    ],
)
def test_ipv6_options_are_walked(options, expected):
    """RFC 8200 section 4.2: the first unknown option that is not to be skipped decides."""
    action, at = wire.options6(b"\x3b\0" + options)
    assert action == expected[0]
    if expected[1] is not None:
        assert at == expected[1]


@given(st.binary(min_size=8, max_size=64))
def test_random_ipv6_options_are_survived(header):
    action, at = wire.options6(header)
    assert wire.SKIP <= action <= wire.MALFORMED
    assert action == wire.SKIP or 2 <= at < len(header)


def chain(*headers, upper=17, payload=b"12345678"):
    """headers: (number, bytes after the next header field)."""
    numbers = [number for number, _ in headers] + [upper]
    body = b"".join(
        bytes([after]) + rest for (_, rest), after in zip(headers, numbers[1:], strict=True)
    )
    fixed = wire.build6(wire.V6("fd03::1", "fd03::2", 0, 0, numbers[0], 64, 0))
    return fixed + body + payload


NOTHING = b"\0\1\4\0\0\0\0"


def test_the_upper_layer_header_is_found_behind_all_others():
    """RFC 8200 section 4."""
    found = wire.find_upper(chain((0, NOTHING), (60, NOTHING), (43, NOTHING), (44, bytes(7))))
    assert found == wire.Upper(40 + 32, 40 + 24, 17, False)
    assert wire.find_upper(chain()) == wire.Upper(40, 6, 17, False)


def test_a_later_fragment_has_no_upper_layer_header():
    """RFC 8200 section 4.5: what lies behind offset 8 is data, whatever the next header says."""
    found = wire.find_upper(chain((44, b"\0\0\x08\0\0\0\1"), upper=0))
    assert found == wire.Upper(48, 40, 0, True)


def test_a_chain_that_does_not_end_in_these_bytes_has_no_upper_layer_header():
    packet = chain((60, NOTHING), (0, b"\xff" + bytes(6)))
    assert wire.find_upper(packet) is None
    assert wire.find_upper(packet[:45]) is None
    assert wire.find_upper(packet[:39]) is None
    assert wire.find_upper(chain(*[(60, NOTHING)] * 9)) is None
    assert wire.find_upper(chain(*[(60, NOTHING)] * 8)).offset == 40 + 64


@given(st.binary(max_size=200), st.sampled_from([0, 43, 44, 60, 58]))
def test_random_chains_are_survived(body, first):
    fixed = wire.build6(wire.V6("fd03::1", "fd03::2", 0, 0, first, 64, 0))
    found = wire.find_upper(fixed + body)
    assert found is None or 40 <= found.offset <= 40 + len(body)


@given(octets, octets, st.integers(0, 2**32 - 1), st.binary(max_size=65))
def test_the_icmp_checksum_is_dpkts(kind, code, word, data):
    """RFC 792; RFC 4443 section 2.3: ICMPv6 covers the pseudo-header."""
    message = wire.icmp_header(kind, code, word) + data
    assert message[:8] == struct.pack("!BBHI", kind, code, 0, word)
    assert wire.icmp_sum(message, "10.0.0.1", "10.0.0.2") == dpkt.in_cksum(message)
    pseudo = IPv6Address("fd03::1").packed + IPv6Address("fd03::2").packed
    pseudo += struct.pack("!II", len(message), 58)
    assert wire.icmp_sum(message, "fd03::1", "fd03::2") == dpkt.in_cksum(pseudo + message)


@given(st.binary(max_size=80))
def test_random_bytes_are_survived(data):
    for parse in (wire.parse4, wire.parse6):
        parse(data)
        if data:
            parse(bytes([0x45]) + data[1:])
            parse(bytes([0x60]) + data[1:])
