"""Trains cut into packets and checksums completed, each packet judged by dpkt."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, replace

import dpkt
import pytest
from dpkt.tcp import TH_ACK, TH_CWR, TH_ECE, TH_FIN, TH_PUSH, TH_URG
from hypothesis import given
from hypothesis import strategies as st
from native import segmentation
from native.segmentation import CSUM_FULL, CSUM_PARTIAL, CSUM_VERIFIED, GSO_NONE

RANDOM = random.Random(768).randbytes(65536)
TCP, UDP = dpkt.ip.IP_PROTO_TCP, dpkt.ip.IP_PROTO_UDP
GSO = {
    (4, TCP): segmentation.GSO_TCP4,
    (6, TCP): segmentation.GSO_TCP6,
    (4, UDP): segmentation.GSO_UDP4,
    (6, UDP): segmentation.GSO_UDP6,
}
ADDRESSES = {4: (b"\x0a\x03\x00\x05", b"\x0a\x03\x00\x01"), 6: (b"\xfd" * 16, b"\xfc" * 16)}


def pseudo_sum(version: int, protocol: int, length: int) -> int:
    """What a CSUM_PARTIAL field holds."""
    layout = "!4s4sxBH" if version == 4 else "!16s16sIxxxB"
    tail = (protocol, length) if version == 4 else (length, protocol)
    return 0xFFFF - dpkt.in_cksum(struct.pack(layout, *ADDRESSES[version], *tail))


@dataclass(frozen=True)
class Train:
    """A packet or train as a stack hands it to a device."""

    version: int = 4
    protocol: int = TCP
    payload: bytes = RANDOM[:5000]
    size: int = 1448
    flags: int = TH_ACK
    urgent: int = 0
    seq: int = 0xFFFFFF00  # wraps within the train
    identification: int = 0xFFFE  # so does this
    ip_extra: bytes = b""  # IPv4 options or IPv6 extension headers
    tcp_options: bytes = b"\x01\x01\x08\x0a" + bytes(8)
    split: tuple[int, int] | None = None  # where in the payload the borrowed parts begin

    @property
    def transport(self) -> bytes:
        length = len(self.payload)
        if self.protocol == UDP:
            check = pseudo_sum(self.version, UDP, 8 + length)
            return struct.pack("!HHHH", 4000, 53, 8 + length, check)
        words = 5 + len(self.tcp_options) // 4
        check = pseudo_sum(self.version, TCP, 4 * words + length)
        fields = (80, 4000, self.seq, 7, words << 4, self.flags, 8192, check, self.urgent)
        return struct.pack("!HHIIBBHHH", *fields) + self.tcp_options

    @property
    def ip(self) -> bytes:
        length = len(self.ip_extra) + len(self.transport) + len(self.payload)
        source, destination = ADDRESSES[self.version]
        if self.version == 4:
            first = 0x45 + len(self.ip_extra) // 4
            start = struct.pack(
                "!BBHHHBB", first, 0, 20 + length, self.identification, 0x4000, 64, self.protocol
            )
            return start + b"\xba\xad" + source + destination + self.ip_extra
        following = dpkt.ip.IP_PROTO_DSTOPTS if self.ip_extra else self.protocol
        start = struct.pack("!IHBB", 0x60012345, length, following, 64)
        return start + source + destination + self.ip_extra

    @property
    def metadata(self) -> dict[str, int]:
        return {
            "gso": GSO[self.version, self.protocol],
            "gso_size": self.size,
            "csum": CSUM_PARTIAL,
            "csum_start": len(self.ip),
            "csum_offset": 6 if self.protocol == UDP else 16,
        }

    @property
    def parts(self) -> tuple[bytes, tuple[bytes, bytes]]:
        """The packet's own bytes and the borrowed ones."""
        a, b = self.split or (len(self.payload), len(self.payload))
        own = self.ip + self.transport + self.payload[:a]
        return own, (self.payload[a:b], self.payload[b:])


def segment(train: Train, **metadata: int) -> tuple[int, list[bytes]]:
    """(result, pieces) of packet_segment; nothing may leak."""
    slab = segmentation.Slab()
    result, pieces, states = slab.segment(*train.parts, **{**train.metadata, **metadata})
    assert slab.live == 0
    assert set(states) <= {CSUM_VERIFIED}
    return result, pieces


def read(train: Train, piece: bytes) -> dpkt.ip.IP | dpkt.ip6.IP6:
    return dpkt.ip.IP(piece) if train.version == 4 else dpkt.ip6.IP6(piece)


def transport_of(packet: dpkt.ip.IP | dpkt.ip6.IP6) -> dpkt.tcp.TCP | dpkt.udp.UDP:
    if isinstance(packet.data, bytes):
        raise AssertionError("dpkt could not read the transport header")
    return packet.data


def assert_dpkt_agrees(train: Train, piece: bytes) -> None:
    """Lengths are right, and both checksums are what dpkt computes."""
    packet = read(train, piece)
    head = len(train.ip)
    raw = bytearray(piece[head:])
    at = train.metadata["csum_offset"]
    stored = raw[at : at + 2]
    raw[at : at + 2] = bytes(2)
    pseudo = pseudo_sum(train.version, train.protocol, len(raw))
    expected = dpkt.in_cksum(struct.pack("!H", pseudo) + bytes(raw))
    if train.protocol == UDP:
        assert transport_of(packet).ulen == len(raw)
        expected = expected or 0xFFFF
    assert int.from_bytes(stored, "big") == expected
    if train.version == 4:
        assert packet.len == len(piece)
        assert dpkt.in_cksum(piece[:head]) == 0
    else:
        assert packet.plen == len(piece) - 40


TRAINS = st.builds(
    Train,
    version=st.sampled_from([4, 6]),
    protocol=st.sampled_from([TCP, UDP]),
    payload=st.integers(0, 6000).map(lambda n: RANDOM[:n]) | st.binary(max_size=30),
    size=st.integers(1, 1500),
    flags=st.integers(0, 255),
    urgent=st.integers(0, 6000),
    seq=st.integers(0, 0xFFFFFFFF),
    identification=st.integers(0, 0xFFFF),
    tcp_options=st.integers(0, 10).map(lambda n: b"\x01" * 4 * n),
    split=st.none() | st.tuples(st.integers(0, 6000), st.integers(0, 6000)).map(sorted).map(tuple),
).filter(lambda train: len(train.payload) <= 60 * train.size)


@given(TRAINS)
def test_the_pieces_make_up_the_train(train):
    result, pieces = segment(train)
    assert result == len(pieces) == max(1, -(-len(train.payload) // train.size))
    head = len(train.ip + train.transport)
    assert b"".join(piece[head:] for piece in pieces) == train.payload
    assert all(len(piece) == head + train.size for piece in pieces[:-1])


@given(TRAINS)
def test_each_piece_is_a_packet_that_dpkt_agrees_with(train):
    _, pieces = segment(train)
    if len(pieces) == 1 and train.version == 4:
        return  # a single packet's IP header is its sender's work
    for piece in pieces:
        assert_dpkt_agrees(train, piece)


@pytest.mark.parametrize("size", [1460, 65482])
@pytest.mark.parametrize(("version", "protocol"), GSO)
def test_the_longest_train_is_cut(version, protocol, size):
    """IPv6's own limit would be 40 bytes more, which PACKET_MAX does not allow."""
    empty = Train(version, protocol, b"")
    room = 65535 - len(empty.ip + empty.transport)
    train = replace(empty, payload=RANDOM[:room], size=size, split=(3, 40001))
    _, pieces = segment(train)
    head = len(train.ip + train.transport)
    same = b"".join(piece[head:] for piece in pieces) == train.payload
    assert same  # not the bytes, which would all be printed
    for piece in pieces:
        assert_dpkt_agrees(train, piece)


@given(TRAINS.map(lambda train: replace(train, protocol=TCP)))
def test_seq_advances_and_flags_go_where_they_belong(train):
    """FIN and PSH to the last, CWR to the first (RFC 3168 section 6.1.2), the others to all."""
    _, pieces = segment(train)
    for index, piece in enumerate(pieces):
        tcp = transport_of(read(train, piece))
        assert tcp.seq == (train.seq + index * train.size) % 2**32
        absent = TH_CWR if index > 0 else 0
        if index < len(pieces) - 1:
            absent |= TH_FIN | TH_PUSH
        assert tcp.flags & ~TH_URG & 0xFF == train.flags & ~TH_URG & ~absent
        assert tcp.opts == train.tcp_options
        assert (tcp.ack, tcp.win, tcp.sport, tcp.dport) == (7, 8192, 80, 4000)


@given(TRAINS.map(lambda train: replace(train, protocol=TCP, flags=TH_ACK | TH_URG)))
def test_the_urgent_pointer_points_to_the_same_byte_from_each_piece(train):
    """RFC 9293 section 3.1: it counts from the segment's own sequence number."""
    _, pieces = segment(train)
    for index, piece in enumerate(pieces):
        tcp = transport_of(read(train, piece))
        left = train.urgent - index * train.size
        urgent = left > 0 or len(pieces) == 1
        assert (bool(tcp.flags & TH_URG), tcp.urp) == (urgent, left if urgent else 0)


@given(TRAINS.map(lambda train: replace(train, version=4)))
def test_each_piece_has_an_identification_of_its_own(train):
    """RFC 6864 section 4.3; DF and all else stays."""
    _, pieces = segment(train)
    for index, piece in enumerate(pieces):
        assert read(train, piece).id == (train.identification + index) % 2**16
        assert piece[6:10] == train.ip[6:10]
        assert piece[12:20] == train.ip[12:20]


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("length", [8, 24, 40])
def test_headers_between_ip_and_transport_are_repeated(protocol, length):
    """IPv4 options, and an IPv6 destination options header."""
    extension = bytes([protocol, length // 8 - 1, 1, length - 4]) + bytes(length - 4)
    for version, extra in [(4, b"\x01" * length), (6, extension)]:
        train = Train(version=version, protocol=protocol, ip_extra=extra)
        _, pieces = segment(train)
        assert len(pieces) == 4
        for piece in pieces:
            assert_dpkt_agrees(train, piece)
            assert piece[len(train.ip) - length : len(train.ip)] == extra


@pytest.mark.parametrize("version", [4, 6])
def test_udp_sends_all_ones_where_the_checksum_comes_out_as_zero(version):
    """RFC 768; TCP sends the zero."""
    for protocol, on_wire in [(UDP, 0xFFFF), (TCP, 0)]:
        at = 6 if protocol == UDP else 16
        plain = Train(
            version=version, protocol=protocol, payload=bytes(6), size=2, identification=0
        )
        _, pieces = segment(replace(plain, seq=0, flags=TH_ACK))
        checksums = [piece[len(plain.ip) + at :][:2] for piece in pieces]
        # Payload equal to the checksum of the piece with payload 0 takes its sum to 0xffff.
        _, pieces = segment(replace(plain, seq=0, flags=TH_ACK, payload=b"".join(checksums)))
        for piece in pieces:
            assert int.from_bytes(piece[len(plain.ip) + at :][:2], "big") == on_wire


def test_what_is_not_a_train_is_only_completed():
    train = Train(flags=TH_ACK | TH_PUSH | TH_FIN | TH_CWR | TH_ECE)
    result, (whole,) = segment(train, gso=GSO_NONE, gso_size=0)
    assert result == 1
    start = len(train.ip)
    assert whole[:start] == train.ip
    assert transport_of(read(train, whole)).flags == train.flags
    tcp = whole[start:]
    pseudo = pseudo_sum(4, TCP, len(tcp))
    untouched = tcp[:16] + train.transport[16:18] + tcp[18:]
    assert untouched == train.transport + train.payload
    assert dpkt.in_cksum(struct.pack("!H", pseudo) + tcp) == 0


@pytest.mark.parametrize("csum", [CSUM_FULL, CSUM_VERIFIED])
def test_a_checksum_that_is_not_partial_is_left_alone(csum):
    slab = segmentation.Slab()
    data = bytes(range(60))
    metadata = {"csum": csum, "csum_start": 20, "csum_offset": 16}
    assert slab.complete(data, **metadata) == (data, csum, 60)
    assert slab.segment(data, gso=GSO_NONE, gso_size=0, **metadata) == (1, [data], [csum])
    assert slab.live == 0


@given(
    st.binary(min_size=40, max_size=60),
    st.tuples(st.binary(max_size=40), st.binary(max_size=40)),
    st.integers(0, 20),
    st.integers(0, 18),
)
def test_a_checksum_is_completed_over_borrowed_bytes_which_stay_borrowed(
    own, borrowed, start, offset
):
    slab = segmentation.Slab()
    data, state, own_length = slab.complete(
        own, borrowed, csum=CSUM_PARTIAL, csum_start=start, csum_offset=offset
    )
    assert (state, own_length, slab.live) == (CSUM_VERIFIED, len(own), 0)
    at = start + offset
    before = own + b"".join(borrowed)
    expected = dpkt.in_cksum(before[start:])
    if offset == 6:
        expected = expected or 0xFFFF
    assert data == before[:at] + struct.pack("!H", expected) + before[at + 2 :]


@pytest.mark.parametrize(("start", "offset"), [(0, 39), (39, 0), (20, 19), (65535, 65535)])
def test_a_checksum_field_outside_the_packet_is_refused(start, offset):
    slab = segmentation.Slab()
    metadata = {"csum": CSUM_PARTIAL, "csum_start": start, "csum_offset": offset}
    assert slab.complete(bytes(40), (bytes(9), b""), **metadata) is None
    assert slab.segment(bytes(40), gso=GSO_NONE, gso_size=0, **metadata) == (-1, [], [])
    assert slab.live == 0


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize(
    "wrong",
    [
        {"gso_size": 0},
        {"gso": 5},
        {"gso": 255},
        {"csum": CSUM_FULL},
        {"csum": CSUM_VERIFIED},
        {"csum_offset": 2},
        {"csum_start": 0},
        {"csum_start": 16},
        {"csum_start": 36},
        {"csum_start": 5000},
        {"csum_start": 65535},
    ],
    ids=str,
)
def test_a_train_with_wrong_metadata_is_refused(version, protocol, wrong):
    train = Train(version=version, protocol=protocol)
    assert segment(train, **wrong) == (-1, [])


@pytest.mark.parametrize(("version", "protocol"), GSO)
def test_a_train_of_another_kind_than_its_header_says_is_refused(version, protocol):
    train = Train(version=version, protocol=protocol)
    for (said_version, said_protocol), gso in GSO.items():
        offset = 6 if said_protocol == UDP else 16
        result, _ = segment(train, gso=gso, csum_offset=offset)
        is_right = (said_version, said_protocol) == (version, protocol)
        assert result == (4 if is_right else -1)


@pytest.mark.parametrize(
    ("train", "at", "value"),
    [
        (Train(), 0, 0x44),  # header length below csum_start
        (Train(), 0, 0x46),
        (Train(), 3, 0),  # total length
        (Train(), 6, 0x20),  # more fragments
        (Train(), 7, 1),  # fragment offset
        (Train(), 32, 0x40),  # data offset below 5
        (Train(protocol=UDP), 25, 0),  # UDP length
        (Train(version=6), 5, 0),
        (Train(version=6, ip_extra=b"\x06\0\1\4\0\0\0\0"), 41, 1),  # extension header
        (Train(version=6), 52, 0x40),
        (Train(split=(0, 0)), 32, 0x90),  # the TCP header ends in borrowed bytes
    ],
)
def test_a_train_with_a_wrong_header_is_refused(train, at, value):
    own, borrowed = train.parts
    own = own[:at] + bytes([value]) + own[at + 1 :]
    slab = segmentation.Slab()
    assert slab.segment(own, borrowed, **train.metadata) == (-1, [], [])
    assert slab.live == 0


@pytest.mark.parametrize(("version", "protocol"), GSO)
def test_a_train_whose_headers_go_on_in_borrowed_bytes_is_refused(version, protocol):
    train = Train(version, protocol)
    own, _ = train.parts
    slab = segmentation.Slab()
    for length in range(len(train.ip + train.transport)):
        borrowed = (own[length:], b"")
        assert slab.segment(own[:length], borrowed, **train.metadata) == (-1, [], [])
    assert slab.live == 0


def test_a_train_whose_ip_header_says_that_it_is_shorter_than_any_is_refused():
    """Header length 16; where the UDP header would be, the length would fit."""
    own, _ = Train(protocol=UDP).parts
    own = b"\x44" + own[1:20] + struct.pack("!H", len(own) - 16) + own[22:]
    slab = segmentation.Slab()
    metadata = {**Train(protocol=UDP).metadata, "csum_start": 16}
    assert slab.segment(own, **metadata) == (-1, [], [])


@given(
    st.binary(max_size=100),
    st.tuples(st.binary(max_size=40), st.binary(max_size=40)),
    st.integers(0, 6),
    st.integers(0, 200),
    st.integers(0, 3),
    st.sampled_from([0, 20, 24, 40, 60]) | st.integers(0, 120),
    st.sampled_from([6, 16]) | st.integers(0, 65535),
    st.booleans(),
)
def test_arbitrary_bytes_and_metadata_are_survived(
    own, borrowed, gso, size, csum, start, offset, with_lengths
):
    """Nothing leaks, nothing is lost; with ASan also: nothing beyond the packet is read."""
    total = len(own) + sum(map(len, borrowed))
    if with_lengths and len(own) >= 40:
        six = own[0] & 0x80
        first = bytes([0x60 if six else 0x40 | start // 4 & 15])
        own = first + own[1:]
        at, length = (4, total - 40) if six else (2, total)
        own = own[:at] + struct.pack("!H", length) + own[at + 2 :]
    slab = segmentation.Slab()
    result, pieces, _ = slab.segment(
        own,
        borrowed,
        gso=gso,
        gso_size=size,
        csum=csum,
        csum_start=start,
        csum_offset=offset,
    )
    assert slab.live == 0
    assert result == (len(pieces) or -1)
    assert sum(map(len, pieces)) >= (total if pieces else 0)
