"""The UDP header against dpkt (RFC 768)."""

from __future__ import annotations

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native import wire_udp

NUMBER = st.integers(0, 65535)


@given(source=NUMBER, destination=NUMBER, checksum=NUMBER, data=st.binary(max_size=64))
def test_dpkt_writes_what_we_read_and_reads_what_we_write(source, destination, checksum, data):
    fields = (source, destination, 8 + len(data), checksum)
    header = dpkt.udp.UDP(sport=source, dport=destination, ulen=8 + len(data), sum=checksum)
    assert wire_udp.parse(bytes(header) + data) == fields
    read = dpkt.udp.UDP(wire_udp.build(*fields))
    assert (read.sport, read.dport, read.ulen, read.sum) == fields


@pytest.mark.parametrize("length", range(8))
def test_less_than_a_header_is_too_short(length):
    assert wire_udp.parse(bytes(length)) == wire_udp.TOO_SHORT


@given(said=NUMBER, there=st.integers(8, 64))
def test_the_length_is_at_least_8_and_at_most_what_is_there(said, there):
    packet = wire_udp.build(1, 2, said, 3).ljust(there, b"\0")
    expected = (1, 2, said, 3) if 8 <= said <= there else wire_udp.BAD_LENGTH
    assert wire_udp.parse(packet) == expected
