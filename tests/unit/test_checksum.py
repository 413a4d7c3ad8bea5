"""The internet checksum, judged by dpkt and by the sum of the definition (RFC 1071)."""

from __future__ import annotations

import random
import struct

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native import checksum

WORD = st.integers(0, 0xFFFF)
RANDOM = random.Random(1071).randbytes(1 << 20)


def words_sum(data: bytes) -> int:
    """RFC 1071 section 1, to the letter."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(max_size=300))
def test_a_checksum_is_what_dpkt_computes(data):
    assert checksum.finish(checksum.add(data)) == dpkt.in_cksum(data)


@pytest.mark.parametrize("skip", range(9))
def test_every_length_at_every_alignment(skip):
    for length in range(140):
        data = RANDOM[: skip + length]
        assert checksum.fold(checksum.add(data, skip=skip)) == words_sum(data[skip:])


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 65535, 65536, (1 << 20) - 1, 1 << 20])
@pytest.mark.parametrize("fill", [b"\xff", b"\x00", b"\x00\xff", None])
def test_long_data_lose_no_carry(length, fill):
    data = (RANDOM if fill is None else fill * (1 << 20))[:length]
    for sum in (0, 1, 0xFFFF, 0x10000, 0xFFFFFFFF):
        expected = words_sum(sum.to_bytes(4, "big") + data)
        assert checksum.fold(checksum.add(data, sum)) == expected


@given(st.lists(st.binary(max_size=80)))
def test_pieces_at_any_offset_add_up_to_the_whole(pieces):
    sum = offset = 0
    for piece in pieces:
        sum = checksum.add_at(piece, offset, sum)
        offset += len(piece)
    assert checksum.fold(sum) == words_sum(b"".join(pieces))


@given(
    st.binary(min_size=4, max_size=4) | st.just(b"\xff\xff\xff\xff"),
    st.binary(min_size=4, max_size=4) | st.just(b"\x00\x00\x00\x00"),
    st.integers(0, 255),
    WORD,
)
def test_the_pseudo_header_of_ipv4(source, destination, protocol, length):
    """RFC 9293 section 3.1."""
    header = source + destination + struct.pack("!BBH", 0, protocol, length)
    sum = checksum.pseudo(source, destination, protocol, length)
    assert checksum.fold(sum) == words_sum(header)


@given(
    st.binary(min_size=16, max_size=16) | st.just(b"\xff" * 16),
    st.binary(min_size=16, max_size=16) | st.just(b"\xff" * 16),
    st.integers(0, 255),
    st.integers(0, 0xFFFFFFFF),
)
def test_the_pseudo_header_of_ipv6(source, destination, protocol, length):
    """RFC 8200 section 8.1."""
    header = source + destination + struct.pack("!IxxxB", length, protocol)
    sum = checksum.pseudo(source, destination, protocol, length)
    assert checksum.fold(sum) == words_sum(header)


@given(st.lists(WORD, min_size=2, max_size=20).filter(lambda w: any(w[1:])), WORD)
def test_an_update_is_what_computing_anew_gives(words, new):
    """RFC 1624 section 3, equation 3: right where the equation of RFC 1141 yields -0."""
    before = struct.pack(f"!{len(words)}H", *words)
    after = struct.pack("!H", new) + before[2:]
    old_checksum = dpkt.in_cksum(before)
    assert checksum.update16(old_checksum, words[0], new) == dpkt.in_cksum(after)


def test_the_example_of_rfc_1624():
    """RFC 1624 section 4: 0xDD2F, 0x5555 becomes 0x3285, and the sum is 0x0000."""
    assert checksum.update16(0xDD2F, 0x5555, 0x3285) == 0x0000


@given(st.binary(min_size=2, max_size=100))
def test_data_with_its_checksum_sum_up_to_all_ones(data):
    data += bytes(len(data) % 2)
    stored = struct.pack("!H", checksum.finish(checksum.add(data)))
    assert checksum.fold(checksum.add(data + stored)) == 0xFFFF
