"""Captures of clean runs: tshark has nothing to object to, and dpkt agrees with every packet."""

from __future__ import annotations

import struct
from pathlib import Path

import dpkt
import pytest
from interop.harness import require_tool
from interop.virtual import (
    HOST,
    KERNEL,
    MB,
    both_families,
    datagrams,
    exchange,
    kernel_listener,
    pattern,
    sha256,
    virtual_net,
    wait_until,
)

from pystack import TcpConfig
from pystack.device.pcap import PcapWriter

# A tail loss probe fires after a few milliseconds: on a busy machine it sends again what has only
# waited for a processor, or for the kernel, which delays its ACKs while its program does not read.
# So sending again is judged where the stack does it, and the stack does without probes. To fill a
# window, to close it and to probe it is no fault: an echo does so whose client is slow to read.
WITHOUT_PROBES = TcpConfig(early_retrans=0)
SENT_AGAIN = (
    "tcp.analysis.retransmission or tcp.analysis.fast_retransmission"
    " or tcp.analysis.spurious_retransmission or tcp.analysis.out_of_order"
)
OURS = f"not ip.src == {KERNEL[4]} and not ipv6.src == {KERNEL[6]}"
# Where the kernel completes a checksum itself it writes 0xffff for 0, as UDP needs it, for TCP too.
BAD_TCP = f"tcp.checksum.status == 0 and ({OURS} or not tcp.checksum == 0xffff)"
FAULTS = (
    f"({OURS} and ({SENT_AGAIN}))"
    " or tcp.analysis.lost_segment"
    f" or ip.checksum.status == 0 or ({BAD_TCP})"
    " or udp.checksum.status == 0 or icmp.checksum.status == 0 or icmpv6.checksum.status == 0"
    " or _ws.malformed"
)
VERIFY = [
    part
    for name in ("ip.check_checksum", "tcp.check_checksum", "udp.check_checksum")
    for part in ("-o", f"{name}:TRUE")
]


def faults(namespace, path: Path, verify: bool = True) -> str:
    """What tshark objects to; verify: checksums, too."""
    command = [require_tool("tshark"), "-n", "-r", str(path), *(VERIFY if verify else [])]
    return namespace.run([*command, "-Y", FAULTS]).stdout


def traffic(namespace, stack, family: int) -> None:
    """A bit of everything: pings, datagrams, and streams both ways with pauses for their reader."""
    data = pattern(MB // 2)
    namespace.run([require_tool("ping"), "-c", "3", "-i", "0.01", HOST[family]])
    with datagrams(namespace, family, 7) as client:
        for size in (0, 1, 1000, 1472, 4000):
            client.send(data[:size])
            assert client.recv(65536) == data[:size]
    with namespace.connect(HOST[family], 7, timeout=30) as client:
        assert exchange(client, data) == sha256(data)
    with (
        kernel_listener(namespace, family) as listener,
        stack.create_connection((KERNEL[family], listener.getsockname()[1])) as out,
    ):
        out.sendall(b"hello")
        server, _ = listener.accept()
        with server:
            assert server.recv(10) == b"hello"
            server.sendall(b"world")
        assert out.recv(10) == b"world"
        assert out.recv(10) == b""


@pytest.fixture
def capture(namespace, tmp_path, request):
    """The path of what a stack saw in a clean run."""
    family, offloads = request.param
    path = tmp_path / "run.pcapng"
    with virtual_net(namespace, offloads=offloads) as stack, PcapWriter(path) as writer:
        stack.configure(WITHOUT_PROBES)
        for protocol in ("tcp", "udp"):
            stack.serve("echo", protocol, 7)
        stack.capture(writer)
        traffic(namespace, stack, family)
        stack.capture(None)
    return path


runs = pytest.mark.parametrize(
    "capture",
    [(family, offloads) for family in (4, 6) for offloads in (True, False)],
    ids=["v4", "v4-no-offloads", "v6", "v6-no-offloads"],
    indirect=True,
)


@runs
def test_tshark_finds_no_fault(namespace, capture):
    assert faults(namespace, capture) == ""


@both_families
@pytest.mark.parametrize("offloads", [True, False], ids=["offloads", "no-offloads"])
def test_tshark_finds_no_fault_in_what_the_kernel_saw(namespace, tmp_path, family, offloads):
    """By dumpcap; with offloads checksums are not there yet."""
    path = tmp_path / "wire.pcap"
    with virtual_net(namespace, offloads=offloads) as stack, namespace.capture(path):
        stack.configure(WITHOUT_PROBES)
        for protocol in ("tcp", "udp"):
            stack.serve("echo", protocol, 7)
        traffic(namespace, stack, family)
        with datagrams(namespace, family, 7) as client:
            client.send(b"this is the end")
            assert client.recv(100)
        wait_until(lambda: path.read_bytes().count(b"this is the end") == 2)
        counters = stack.counters()
    assert faults(namespace, path, verify=not offloads) == ""
    read = [require_tool("tshark"), "-n", "-r", str(path), "-Y", "tcp.seq == 1 and tcp.len > 0"]
    assert namespace.run(read).stdout  # it has seen them
    assert counters["tcp_retransmitted_segments"] == 0


@both_families
def test_tshark_would_find_a_fault(namespace, tmp_path, family):
    path = tmp_path / "fault.pcapng"
    with virtual_net(namespace) as stack, PcapWriter(path) as writer:

        class Spoiler:
            def write(self, packet: bytes, time_ns: int, outbound: bool) -> None:
                writer.write(packet[:-1] + bytes([packet[-1] ^ 1]), time_ns, outbound)

        stack.serve("echo", "tcp", 7)
        stack.capture(Spoiler())
        with namespace.connect(HOST[family], 7) as client:
            assert exchange(client, b"x" * 100) == sha256(b"x" * 100)
        stack.capture(None)
    assert "TCP" in faults(namespace, path)


def internet_checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def transport_sum(ip: dpkt.ip.IP | dpkt.ip6.IP6, protocol: int, segment: bytes) -> int:
    pseudo = ip.src + ip.dst + struct.pack("!II", len(segment), protocol)
    return internet_checksum(pseudo + segment)


@runs
def test_dpkt_agrees_with_every_packet(capture):
    seen = set()
    with open(capture, "rb") as file:
        for _, raw in dpkt.pcapng.Reader(file):
            v4 = raw[0] >> 4 == 4
            ip = dpkt.ip.IP(raw) if v4 else dpkt.ip6.IP6(raw)
            protocol = ip.p if v4 else ip.nxt
            if v4:
                header = raw[: ip.hl * 4]
                assert internet_checksum(header) == 0
                assert ip.len == len(raw)
                if ip.mf or ip.offset:
                    continue
            else:
                header = raw[:40]
                assert ip.plen == len(raw) - 40
                if protocol == dpkt.ip.IP_PROTO_FRAGMENT:
                    continue
            segment = raw[len(header) :]
            if protocol == dpkt.ip.IP_PROTO_ICMP:
                assert internet_checksum(segment) == 0
            elif protocol in (dpkt.ip.IP_PROTO_TCP, dpkt.ip.IP_PROTO_UDP, dpkt.ip.IP_PROTO_ICMP6):
                assert transport_sum(ip, protocol, segment) == 0
            if protocol == dpkt.ip.IP_PROTO_UDP:
                assert ip.data.ulen == len(segment)
            assert bytes(ip.data) == segment
            seen.add(protocol)
    assert {dpkt.ip.IP_PROTO_TCP, dpkt.ip.IP_PROTO_UDP} < seen
