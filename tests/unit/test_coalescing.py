"""Segments joined into trains: what can be joined is, and could be cut without a difference."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, replace

import dpkt
import pytest
from dpkt.tcp import TH_ACK, TH_CWR, TH_ECE, TH_FIN, TH_PUSH, TH_RST, TH_SYN, TH_URG
from hypothesis import given
from hypothesis import strategies as st
from native.coalescing import CSUM_FULL, CSUM_VERIFIED, GSO_NONE, GSO_TCP4, GSO_TCP6, coalesce

TEXT = random.Random(793).randbytes(65536)
TIMESTAMPS = b"\x01\x01\x08\x0a" + struct.pack("!II", 7, 9)
GSO = {4: GSO_TCP4, 6: GSO_TCP6}
VERSIONS = pytest.mark.parametrize("version", [4, 6])


@dataclass(frozen=True)
class Segment:
    version: int = 4
    seq: int = 0xFFFFFC00  # wraps
    text: bytes = TEXT[:1000]
    flags: int = TH_ACK
    ack: int = 77
    window: int = 500
    urgent: int = 0
    reserved: int = 0
    options: bytes = TIMESTAMPS
    port: int = 4000
    host: int = 1
    tos: int = 0
    ttl: int = 64
    fragment: int = 0x4000
    identification: int = 9
    ip_options: bytes = b""

    def __bytes__(self) -> bytes:
        words = 5 + len(self.options) // 4
        fields = (self.port, 80, self.seq % 2**32, self.ack, words << 4 | self.reserved)
        tcp = struct.pack("!HHIIBBHHH", *fields, self.flags, self.window, 0, self.urgent)
        tcp += self.options + self.text
        if self.version == 4:
            source, destination = bytes([192, 0, 2, self.host]), bytes([10, 3, 0, 5])
            pseudo = source + destination + struct.pack("!HH", 6, len(tcp))
            header = struct.pack(
                "!BBHHHBBH", 0x45 + len(self.ip_options) // 4, self.tos,
                20 + len(self.ip_options) + len(tcp), self.identification, self.fragment,
                self.ttl, 6, 0,
            ) + source + destination + self.ip_options  # fmt: skip
            header = put16(header, 10, dpkt.in_cksum(header))
        else:
            source, destination = bytes([253, *bytes(14), self.host]), bytes([253, *bytes(14), 99])
            pseudo = source + destination + struct.pack("!II", len(tcp), 6)
            start = struct.pack("!IHBB", 6 << 28 | self.tos << 20 | 5, len(tcp), 6, self.ttl)
            header = start + source + destination
        return header + put16(tcp, 16, dpkt.in_cksum(pseudo + tcp))

    def next(self, **changes: object) -> Segment:
        """The one that follows."""
        following = replace(
            self,
            seq=self.seq + len(self.text),
            identification=(self.identification + 1) % 2**16,
        )
        return replace(following, **changes)  # type: ignore[arg-type]


def put16(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + struct.pack("!H", value) + data[at + 2 :]


def flow(count: int, **first: object) -> list[Segment]:
    made = [Segment(**first)]  # type: ignore[arg-type]
    while len(made) < count:
        made.append(made[-1].next())
    return made


def joined(segments: list[Segment]) -> tuple[list[tuple[bytes, int, int]], list[bytes]]:
    return coalesce([bytes(segment) for segment in segments])


def assert_joined(segments: list[Segment], lengths: list[int]) -> None:
    """They become so many packets, with so many bytes of text, and can be cut again."""
    found, pieces = joined(segments)
    assert pieces == [bytes(segment) for segment in segments]
    header = len(bytes(segments[0])) - len(segments[0].text)
    assert [len(data) - header for data, _, _ in found] == lengths


@VERSIONS
def test_segments_in_a_row_become_a_train(version):
    segments = flow(40, version=version)
    [(data, gso, size)], pieces = joined(segments)
    assert (gso, size) == (GSO[version], 1000)
    assert data.endswith(b"".join(segment.text for segment in segments))
    assert pieces == [bytes(segment) for segment in segments]
    packet = dpkt.ip.IP(data) if version == 4 else dpkt.ip6.IP6(data)
    assert packet.data.seq == 0xFFFFFC00
    if version == 4:
        assert packet.len == len(data)
        assert dpkt.in_cksum(data[:20]) == 0
    else:
        assert packet.plen == len(data) - 40


@VERSIONS
def test_a_single_segment_stays_as_it_is(version):
    one = bytes(Segment(version=version))
    assert coalesce([one]) == ([(one, GSO_NONE, 0)], [one])


def test_a_train_ends_with_its_first_short_segment():
    segments = flow(3)
    segments += [segments[-1].next(text=b"short")]
    segments += [segments[-1].next(text=TEXT[:1000])]
    assert_joined(segments, [3005, 1000])


def test_a_longer_segment_begins_another_train():
    segments = flow(2, text=TEXT[:500])
    segments += [segments[-1].next(text=TEXT[:501])]
    segments += [segments[-1].next()]
    assert_joined(segments, [1000, 1002])


def test_a_push_ends_a_train_and_is_told_by_it():
    segments = flow(2)
    segments += [segments[-1].next(flags=TH_ACK | TH_PUSH)]
    segments += [segments[-1].next(flags=TH_ACK)]
    found, _ = joined(segments)
    assert_joined(segments, [3000, 1000])
    assert [dpkt.ip.IP(data).data.flags for data, _, _ in found] == [TH_ACK | TH_PUSH, TH_ACK]
    first = Segment(flags=TH_ACK | TH_PUSH)
    assert_joined([first, first.next()], [1000, 1000])


@VERSIONS
def test_a_train_is_no_longer_than_a_packet_can_be(version):
    segments = flow(100, version=version)
    most = (65535 - len(bytes(segments[0])) + 1000) // 1000
    assert_joined(segments, [most * 1000, (100 - most) * 1000])


def test_nor_where_there_is_more_room():
    given = [bytes(segment) for segment in flow(16, text=TEXT[:4093])]  # 65540 bytes in one
    found, pieces = coalesce(given, room=65575)
    assert [len(data) for data, _, _ in found] == [65540 - 4093, 52 + 4093]
    assert pieces == given


def test_what_has_no_room_is_not_joined():
    segments = [bytes(segment) for segment in flow(3)]
    found, pieces = coalesce(segments, room=1500)
    assert [data for data, _, _ in found] == pieces == segments


def test_connections_may_alternate():
    flows = [flow(5, port=port) for port in range(1, 9)]
    mixed = [segment for row in zip(*flows, strict=True) for segment in row]
    found, pieces = joined(mixed)
    assert len(found) == 8
    assert pieces == [bytes(segment) for one in flows for segment in one]


@VERSIONS
def test_hosts_are_told_apart(version):
    first = Segment(version=version)
    given = [bytes(one) for one in (first, first.next(host=2))]
    assert [data for data, _, _ in coalesce(given)[0]] == given


def test_more_connections_than_are_remembered_stay_in_order():
    flows = [flow(4, port=port, host=port) for port in range(1, 21)]
    mixed = [segment for row in zip(*flows, strict=True) for segment in row]
    assert_same_in_each_connection(mixed)


def assert_same_in_each_connection(mixed: list[Segment]) -> None:
    _, pieces = joined(mixed)
    assert len(pieces) == len(mixed)
    for version, port, host in {(one.version, one.port, one.host) for one in mixed}:
        ours = [bytes(s) for s in mixed if (s.version, s.port, s.host) == (version, port, host)]
        chosen = set(ours)
        assert [piece for piece in pieces if piece in chosen] == ours


DIFFERENT = [
    {"ack": 78}, {"window": 501}, {"options": TIMESTAMPS[:-1] + b"\x0a"}, {"options": b""},
    {"tos": 3}, {"ttl": 63}, {"seq": 5}, {"text": b""}, {"reserved": 1}, {"urgent": 4},
    {"flags": 0}, {"flags": TH_ACK | TH_FIN}, {"flags": TH_ACK | TH_SYN}, {"flags": TH_RST},
    {"flags": TH_ACK | TH_URG}, {"flags": TH_ACK | TH_ECE}, {"flags": TH_ACK | TH_CWR},
]  # fmt: skip


@VERSIONS
@pytest.mark.parametrize("changes", DIFFERENT, ids=str)
def test_what_differs_is_not_joined_nor_overtaken(version, changes):
    first = Segment(version=version)
    other = first.next(**changes)
    after = other.next(**{name: getattr(first, name) for name in changes if name != "seq"})
    given = [bytes(one) for one in (first, other, after)]
    found, pieces = coalesce(given)
    assert pieces == given
    assert found[0][0] == given[0]
    assert found[1][0] == given[1] or changes in ({"seq": 5},)  # the third continues that one


@pytest.mark.parametrize(
    "changes", [{"fragment": 0}, {"fragment": 0x2000}, {"fragment": 100}, {"ip_options": b"\1" * 4}]
)
def test_what_is_no_plain_packet_is_not_joined(changes):
    first = Segment()
    given = [bytes(first), bytes(first.next(**changes))]
    assert [data for data, _, _ in coalesce(given)[0]] == given
    given = [bytes(one) for one in flow(3, **changes)]
    assert [data for data, _, _ in coalesce(given)[0]] == given


@VERSIONS
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("at", [-1, -500, -1016])  # text, the checksum itself
def test_a_bad_checksum_is_left_for_the_stack_to_find(version, which, at):
    given = [bytes(one) for one in flow(2, version=version)]
    spoiled = bytearray(given[which])
    spoiled[at] ^= 8
    given[which] = bytes(spoiled)
    assert [data for data, _, _ in coalesce(given)[0]] == given


@pytest.mark.parametrize("which", [0, 1])
def test_a_bad_header_checksum_is_too(which):
    given = [bytes(one) for one in flow(2)]
    given[which] = put16(given[which], 4, 0xDEAD)
    assert [data for data, _, _ in coalesce(given)[0]] == given


def test_a_device_may_vouch_for_checksums():
    given = [put16(bytes(one), 36, 0xDEAD) for one in flow(2)]
    assert len(coalesce(given, csum=CSUM_VERIFIED)[0]) == 1


def test_trains_of_the_device_stay_as_they_are():
    given = [bytes(one) for one in flow(3)]
    found, _ = coalesce(given, gso=GSO_TCP4, cut=False)
    assert [data for data, _, _ in found] == given


def test_what_other_shards_have_seen_is_not_joined_with_what_they_have_not():
    given = [bytes(one) for one in flow(4)]
    found, pieces = coalesce(given, handed_on=[0, 0, 1, 1])
    assert len(found) == 2
    assert pieces == given


@VERSIONS
def test_what_is_cut_short_or_padded_is_not_joined(version):
    first, second = (bytes(one) for one in flow(2, version=version))
    padded = bytes(Segment(version=version).next(text=b"short")) + b"\0"
    for spoiled in [padded, *(second[:length] for length in range(0, 90, 3))]:
        given = [first, spoiled, first]
        for csum in (CSUM_FULL, CSUM_VERIFIED):
            found, _ = coalesce(given, csum=csum, cut=False)
            assert [data for data, _, _ in found] == given


@st.composite
def traffic(draw) -> list[Segment]:
    """Segments of some connections, mostly such as continue the last one of theirs."""
    last: dict[tuple[int, int], Segment] = {}
    made = []
    for _ in range(draw(st.integers(0, 60))):
        key = draw(st.tuples(st.sampled_from([4, 6]), st.integers(1, 6)))
        before = last.get(key, Segment(version=key[0], port=key[1], text=TEXT[:40]))
        changes = draw(st.sampled_from([{}, {}, {}, {}, {"text": TEXT[:40]}, *DIFFERENT]))
        last[key] = before.next(**changes)
        made.append(last[key])
    return made


@given(traffic())
def test_no_connection_can_tell(mixed):
    assert_same_in_each_connection(mixed)


@given(st.lists(st.binary(max_size=80), max_size=20))
def test_nonsense_stays_as_it_is(given):
    assert [data for data, _, _ in coalesce(given)[0]] == given
