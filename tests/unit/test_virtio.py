"""The virtio-net header: what the kernel says about a packet, and what we say to it.

Virtual I/O Device 1.2 section 5.1.6.
"""

from __future__ import annotations

import struct

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native import virtio
from native.device import (
    CSUM_FULL,
    CSUM_PARTIAL,
    CSUM_VERIFIED,
    GSO_NONE,
    GSO_TCP4,
    GSO_TCP6,
    GSO_UDP4,
    GSO_UDP6,
)

NEEDS_CSUM, DATA_VALID = 1, 2
TCPV4, UFO, TCPV6, UDP_L4, ECN = 1, 3, 4, 5, 0x80
TCP_CHECKSUM, UDP_CHECKSUM = 16, 6

TCP = bytes(dpkt.tcp.TCP(sport=1, dport=2, off=8, opts=b"\1" * 12, data=b"x" * 3000))
UDP = bytes(dpkt.udp.UDP(sport=1, dport=2, data=b"x" * 3000))
TCP4 = bytes(dpkt.ip.IP(p=6, data=TCP))
TCP6 = bytes(dpkt.ip6.IP6(nxt=6, plen=len(TCP), data=TCP))
UDP4 = bytes(dpkt.ip.IP(p=17, data=UDP))
UDP6 = bytes(dpkt.ip6.IP6(nxt=17, plen=len(UDP), data=UDP))


def header(flags=0, gso_type=0, hdr_len=0, gso_size=0, csum_start=0, csum_offset=0):
    return struct.pack("=BBHHHH", flags, gso_type, hdr_len, gso_size, csum_start, csum_offset)


@pytest.mark.parametrize(
    ("data", "gso_type", "gso", "start", "offset", "headers"),
    [
        (TCP4, TCPV4, GSO_TCP4, 20, TCP_CHECKSUM, 52),
        (TCP6, TCPV6, GSO_TCP6, 40, TCP_CHECKSUM, 72),
        (UDP4, UDP_L4, GSO_UDP4, 20, UDP_CHECKSUM, 28),
        (UDP6, UDP_L4, GSO_UDP6, 40, UDP_CHECKSUM, 48),
    ],
    ids=["tcp4", "tcp6", "udp4", "udp6"],
)
def test_a_train_keeps_its_description_both_ways(data, gso_type, gso, start, offset, headers):
    described = header(NEEDS_CSUM, gso_type, headers, 1000, start, offset)
    metadata = (CSUM_PARTIAL, start, offset, gso, 1000)
    assert virtio.read(described, data) == metadata
    assert virtio.write(data, *metadata) == described


@pytest.mark.parametrize(
    ("flags", "csum"),
    [(0, CSUM_FULL), (DATA_VALID, CSUM_VERIFIED), (NEEDS_CSUM, CSUM_PARTIAL)],
)
def test_flags_tell_the_state_of_the_checksum(flags, csum):
    start, offset = (20, TCP_CHECKSUM) if flags == NEEDS_CSUM else (0, 0)
    described = header(flags, csum_start=start, csum_offset=offset)
    assert virtio.read(described, TCP4) == (csum, start, offset, GSO_NONE, 0)


def test_a_verified_checksum_is_sent_as_a_whole_one():
    assert virtio.write(TCP4, CSUM_VERIFIED) == header()


def test_the_ecn_bit_does_not_change_the_kind_of_train():
    described = header(NEEDS_CSUM, TCPV4 | ECN, 52, 1000, 20, TCP_CHECKSUM)
    assert virtio.read(described, TCP4) == (CSUM_PARTIAL, 20, TCP_CHECKSUM, GSO_TCP4, 1000)


@pytest.mark.parametrize(
    "described",
    [
        header(NEEDS_CSUM, csum_start=len(TCP4) - 17, csum_offset=TCP_CHECKSUM),
        header(NEEDS_CSUM, csum_start=65535, csum_offset=65535),
        header(NEEDS_CSUM, TCPV4, 52, 0, 20, TCP_CHECKSUM),
        header(NEEDS_CSUM, TCPV6, 52, 1000, 20, TCP_CHECKSUM),
        header(NEEDS_CSUM, UFO, 52, 1000, 20, TCP_CHECKSUM),
        header(0, TCPV4, 52, 1000),
        header(DATA_VALID, TCPV4, 52, 1000),
    ],
    ids=["field", "far", "size", "family", "kind", "no checksum", "valid"],
)
def test_a_header_that_does_not_fit_its_packet_is_refused(described):
    assert virtio.read(described, TCP4) is None


@pytest.mark.parametrize(
    ("data", "metadata"),
    [
        (TCP4, (CSUM_PARTIAL, 20, len(TCP4), GSO_NONE, 0)),
        (TCP4, (CSUM_FULL, 0, 0, GSO_TCP4, 1000)),
        (TCP4, (CSUM_PARTIAL, 20, TCP_CHECKSUM, GSO_TCP4, 0)),
        (TCP4[:39], (CSUM_PARTIAL, 20, TCP_CHECKSUM, GSO_TCP4, 1000)),
        (TCP4[:51], (CSUM_PARTIAL, 20, TCP_CHECKSUM, GSO_TCP4, 1000)),
        (UDP4[:27], (CSUM_PARTIAL, 20, 5, GSO_UDP4, 1000)),
    ],
    ids=["field", "no checksum", "size", "tcp header", "tcp options", "udp header"],
)
def test_metadata_that_does_not_fit_its_packet_is_refused(data, metadata):
    assert virtio.write(data, *metadata) is None


@given(st.binary(min_size=10, max_size=10), st.binary(min_size=1, max_size=100))
def test_whatever_the_header_says_stays_within_the_packet(described, data):
    got = virtio.read(described, data)
    if got is not None and got[0] == CSUM_PARTIAL:
        _, start, offset, _, _ = got
        assert start + offset + 2 <= len(data)
