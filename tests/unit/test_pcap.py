"""Captures read back by dpkt and by tshark."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess

import dpkt
import pytest
from dpkt import pcapng
from hypothesis import given
from hypothesis import strategies as st

from pystack.device.pcap import PcapWriter

PACKET = bytes(
    dpkt.ip.IP(
        src=b"\x0a\x03\x00\x01",
        dst=b"\x0a\x03\x00\x05",
        p=dpkt.ip.IP_PROTO_UDP,
        data=dpkt.udp.UDP(sport=4000, dport=4001, ulen=13, data=b"hello"),
    )
)
PACKET6 = bytes(dpkt.ip6.IP6(src=b"\xfd" * 16, dst=b"\xfd" * 16, nxt=59, hlim=64, plen=0, data=b""))
TIME = 1_700_000_000_123_456_789

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


def capture(*packets: tuple, name: str | None = None) -> bytes:
    file = io.BytesIO()
    with PcapWriter(file, name) as writer:
        for arguments in packets:
            writer.write(*arguments)
    return file.getvalue()


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    """(type, body) of each block; both lengths agree and keep to 32-bit boundaries."""
    found = []
    while data:
        kind, total = struct.unpack("<II", data[:8])
        assert total % 4 == 0
        assert data[total - 4 : total] == data[4:8]
        found.append((kind, data[8 : total - 4]))
        data = data[total:]
    return found


def tshark(tmp_path, data: bytes, *fields: str, as_file: bool = False) -> list[list[str]]:
    """The fields of each packet; with as_file, of the blocks that the file is made of."""
    path = tmp_path / "capture.pcapng"
    path.write_bytes(data)
    command = ["tshark", "-r", str(path), "-T", "fields", "-E", "aggregator=|"]
    if as_file:
        command += ["-X", "read_format:MIME Files Format"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


PACKETS = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=70),
        st.integers(0, (1 << 63) - 1),
        st.sampled_from([None, True, False]),
        st.none() | st.text("a\n é€😀", max_size=20),
        st.sampled_from(["a", "b", "c"]),
    ),
    max_size=8,
)


@given(PACKETS)
def test_dpkt_reads_what_was_written(packets):
    data = capture(*packets)
    if not packets:
        return  # dpkt wants an interface
    reader = pcapng.Reader(io.BytesIO(data))
    assert reader.datalink() == 101
    read = list(reader)
    assert [packet for _, packet in read] == [packet for packet, *_ in packets]
    for (seconds, _), (_, time_ns, *_) in zip(read, packets, strict=True):
        assert float(seconds) == pytest.approx(time_ns / 1e9, rel=1e-12)


@given(PACKETS)
def test_every_block_is_whole(packets):
    names = list(dict.fromkeys(packet[-1] for packet in packets))
    found = blocks(capture(*packets))
    assert found[0][0] == 0x0A0D0D0A
    kinds = [kind for kind, _ in found[1:]]
    assert kinds.count(1) == len(names)
    assert kinds.count(6) == len(packets)
    assert kinds[len(kinds) - len(names) :] == [5] * len(names)
    for body in (body for kind, body in found if kind == 6):
        number, _, _, captured, original = struct.unpack("<5I", body[:20])
        assert number < len(names)
        assert captured == original
        options = body[20 + captured + -captured % 4 :]
        assert options == b"" or options.endswith(bytes(4))


@needs_tshark
def test_tshark_shows_time_direction_comment_and_interface(tmp_path):
    data = capture(
        (PACKET, TIME, True, "first"),
        (PACKET, TIME + 1, False),
        (PACKET6, TIME + 2, None, "zweites ✓", "other"),
    )
    shown = tshark(
        tmp_path,
        data,
        "frame.time_epoch",
        "frame.packet_flags_direction",
        "frame.comment",
        "frame.interface_name",
        "frame.interface_id",
        "frame.protocols",
    )
    directions = [row.pop(1) for row in shown]
    assert [int(value, 0) if value else None for value in directions] == [2, 1, None]
    assert shown == [
        ["1700000000.123456789", "first", "pystack", "0", "raw:ip:udp:data"],
        ["1700000000.123456790", "", "pystack", "0", "raw:ip:udp:data"],
        ["1700000000.123456791", "zweites ✓", "other", "1", "raw:ipv6"],
    ]


@needs_tshark
def test_wireshark_finds_no_fault_in_the_blocks(tmp_path):
    data = capture(
        *[(PACKET[:length], length, length % 2 == 0, "c" * length) for length in range(1, 9)],
        name="all paddings",
    )
    ((kinds, malformed, comments, received),) = tshark(
        tmp_path,
        data,
        "pcapng.block.type",
        "_ws.malformed",
        "pcapng.options.option.data.comment",
        "pcapng.options.option.data.interface.received",
        as_file=True,
    )
    assert [int(kind, 0) for kind in kinds.split("|")] == [0x0A0D0D0A, 1, *[6] * 8, 5]
    assert malformed == ""
    assert comments.split("|") == ["all paddings", *("c" * length for length in range(1, 9))]
    assert int(received, 0) == 8


def test_statistics_count_each_interface():
    found = blocks(capture((b"a", 5, None, None, "x"), (b"b", 3, None, None, "x"), (b"c", 7)))
    statistics = [body for kind, body in found if kind == 5]
    for body, number, first, last, count in zip(
        statistics, (0, 1), (3, 7), (5, 7), (2, 1), strict=True
    ):
        assert struct.unpack("<III", body[:12]) == (number, 0, last)
        assert struct.unpack("<HHII", body[12:24]) == (2, 8, 0, first)
        assert struct.unpack("<HHII", body[24:36]) == (3, 8, 0, last)
        assert struct.unpack("<HHQ", body[36:48]) == (4, 8, count)


def test_a_path_is_closed_and_a_file_stays_open(tmp_path):
    path = tmp_path / "a.pcapng"
    with PcapWriter(path) as writer:
        writer.write(PACKET, 1)
    assert path.read_bytes() == capture((PACKET, 1))
    file = io.BytesIO()
    PcapWriter(file).close()
    assert not file.closed


def test_flush_shows_what_was_written_so_far(tmp_path):
    path = tmp_path / "a.pcapng"
    with PcapWriter(str(path)) as writer:
        writer.write(PACKET, 1)
        writer.flush()
        assert [kind for kind, _ in blocks(path.read_bytes())] == [0x0A0D0D0A, 1, 6]


def test_closing_twice_writes_once():
    file = io.BytesIO()
    with PcapWriter(file) as writer:
        writer.write(PACKET, 1)
        writer.close()
        before = file.getvalue()
    assert file.getvalue() == before
    with pytest.raises(ValueError, match="closed"):
        writer.write(PACKET, 2)


@pytest.mark.parametrize("time_ns", [-1, 1 << 64])
def test_a_time_that_the_format_cannot_hold_is_refused(time_ns):
    with pytest.raises(ValueError, match="no time for a capture"):
        capture((PACKET, time_ns))


def test_text_that_the_format_cannot_hold_is_refused_and_leaves_the_capture_whole():
    file = io.BytesIO()
    with PcapWriter(file) as writer:
        for arguments in [(None, "c" * 65536), (None, None, "i" * 65536)]:
            with pytest.raises(ValueError, match="65536 bytes"):
                writer.write(PACKET, 1, *arguments)
        writer.write(bytearray(PACKET), 2)
        writer.write(memoryview(PACKET), 3)
    assert file.getvalue() == capture((PACKET, 2), (PACKET, 3))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_told_and_the_file_closed():
    writer = PcapWriter("/dev/full")
    writer.write(PACKET, 1)
    with pytest.raises(OSError):
        writer.close()
    writer.close()
