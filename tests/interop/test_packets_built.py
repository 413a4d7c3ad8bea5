"""dpkt agrees with every packet that a stack builds, whatever makes it do so."""

from __future__ import annotations

import socket
import struct
from collections import Counter, defaultdict
from contextlib import contextmanager, suppress

import dpkt
import pytest
from interop.lossy import LossyDevice
from interop.virtual import (
    HOST,
    KERNEL,
    KIND,
    MB,
    NETS,
    SECONDS,
    Background,
    both_families,
    datagrams,
    exchange,
    kernel_listener,
    pattern,
    sha256,
    virtual_net,
    wait_until,
)

import pystack

ICMP, TCP, UDP, FRAGMENT, ICMP6 = 1, 6, 17, 44, 58
OPTION_LENGTHS = {dpkt.tcp.TCP_OPT_MSS: 2, dpkt.tcp.TCP_OPT_WSCALE: 1, 4: 0, 8: 8}
DATA = pattern(MB)


class Judge:
    """A capture of what a stack sends; packets come whole, fragments put together again."""

    def __init__(self):
        self.packets = []
        self.kinds = Counter()
        self._pieces = defaultdict(dict)

    def write(self, packet, time_ns, outbound):
        if outbound:
            self.packets.append(packet)

    def judge(self):
        for packet in self.packets:
            (self._judge_v4 if packet[0] >> 4 == 4 else self._judge_v6)(packet)
        assert not self._pieces, "some fragments never came"

    def _judge_v4(self, packet):
        ip = dpkt.ip.IP(packet)
        assert ip.len == len(packet)
        header = bytearray(packet[: ip.hl * 4])
        assert dpkt.in_cksum(bytes(header)) == 0
        assert ip.ttl
        payload = packet[ip.hl * 4 :]
        if ip.mf or ip.offset:
            assert not ip.df
            self.kinds["fragment"] += 1
            key = (ip.src, ip.dst, ip.id, ip.p)
            payload = self._join(key, 8 * ip.offset, payload, ip.mf)
            if payload is None:
                return
        pseudo = struct.pack("!4s4sBBH", ip.src, ip.dst, 0, ip.p, len(payload))
        self._judge_payload(ip.p, payload, pseudo)

    def _judge_v6(self, packet):
        ip = dpkt.ip6.IP6(packet)
        assert ip.plen == len(packet) - 40
        assert ip.hlim
        kind, payload = packet[6], packet[40:]
        if kind == FRAGMENT:
            assert len(packet) <= 1500
            self.kinds["fragment"] += 1
            kind, _, offset, number = struct.unpack_from("!BBHI", payload)
            key = (ip.src, ip.dst, number)
            payload = self._join(key, offset & ~7, payload[8:], offset & 1)
            if payload is None:
                return
        pseudo = struct.pack("!16s16sII", ip.src, ip.dst, len(payload), kind)
        self._judge_payload(kind, payload, pseudo)

    def _join(self, key, offset, payload, more):
        """The whole payload, once all of it is there."""
        assert not more or len(payload) % 8 == 0
        pieces = self._pieces[key]
        assert offset not in pieces
        pieces[offset] = payload
        pieces.setdefault("end", None)
        if not more:
            pieces["end"] = offset + len(payload)
        whole = b"".join(pieces[at] for at in sorted(key for key in pieces if key != "end"))
        if len(whole) != pieces["end"]:
            return None
        del self._pieces[key]
        return whole

    def _judge_payload(self, kind, payload, pseudo):
        assert dpkt.in_cksum((b"" if kind == ICMP else pseudo) + payload) == 0
        if kind == TCP:
            self._judge_tcp(payload)
        elif kind == UDP:
            udp = dpkt.udp.UDP(payload)
            assert udp.ulen == len(payload)
            assert udp.sum
            self.kinds["udp"] += 1
        else:
            self._judge_icmp(kind, payload)

    def _judge_tcp(self, segment):
        tcp = dpkt.tcp.TCP(segment)
        assert bytes(tcp) == segment
        flags = tcp.flags
        names = {0x02: "syn", 0x01: "fin", 0x04: "rst", 0x20: "urg"}
        self.kinds.update(name for bit, name in names.items() if flags & bit)
        assert bool(flags & 0x20) == bool(tcp.urp)
        assert tcp.ack == 0 or flags & 0x10
        options = [option for option in dpkt.tcp.parse_opts(tcp.opts) if option[0] > 1]
        assert len(options) == len(dict(options)), "an option twice"
        for option, value in options:
            if option == dpkt.tcp.TCP_OPT_SACK:
                assert len(value) in (8, 16, 24, 32)
                self.kinds["sack"] += 1
            else:
                assert len(value) == OPTION_LENGTHS[option]
            assert flags & 0x02 or option in (dpkt.tcp.TCP_OPT_SACK, dpkt.tcp.TCP_OPT_TIMESTAMP)
        self.kinds["tcp"] += 1

    def _judge_icmp(self, kind, message):
        assert kind in (ICMP, ICMP6)
        is_reply = message[0] == (0 if kind == ICMP else 129)
        self.kinds["echo reply" if is_reply else "icmp error"] += 1
        if not is_reply:
            assert len(message) >= 8 + 28
            assert len(message) <= (576 - 20 if kind == ICMP else 1280 - 40)
            assert message[8] >> 4 == (4 if kind == ICMP else 6)


@contextmanager
def judged(stack):
    """Judge all that the stack sends within the block."""
    judge = Judge()
    stack.capture(judge)
    yield judge
    stack.capture(None)
    judge.judge()


@both_families
@pytest.mark.parametrize("offloads", [True, False], ids=["offloads", "no-offloads"])
@pytest.mark.parametrize("mtu", [1280, 1500])
def test_every_packet_of_a_busy_stack(namespace, family, offloads, mtu):
    with virtual_net(namespace, offloads=offloads, mtu=mtu) as stack, judged(stack) as judge:
        pings(namespace, family)
        udp(namespace, stack, family)
        tcp(namespace, stack, family)
        refusals(namespace, stack, family)
    expected = ("fragment", "udp", "tcp", "syn", "fin", "rst", "urg", "echo reply", "icmp error")
    assert set(expected) <= set(judge.kinds), judge.kinds
    assert len(judge.packets) > 700


def pings(namespace, family):
    for size in ("0", "1", "56", "1400", "1473", "10001", "65507"):
        namespace.run(["ping", "-n", "-c", "1", "-W", "5", "-s", size, HOST[family]])


def udp(namespace, stack, family):
    stack.serve("echo", "udp", 7)
    with datagrams(namespace, family, 7) as client:
        for size in (0, 1, 2, 3, 1000, 1453, 1473, 9999, 65507):
            client.send(DATA[:size])
            assert client.recv(65536) == DATA[:size]
    with (
        namespace.socket(KIND[family], socket.SOCK_DGRAM) as receiver,
        stack.socket(KIND[family], socket.SOCK_DGRAM) as sender,
    ):
        receiver.settimeout(SECONDS)
        receiver.bind((KERNEL[family], 0))
        sender.setsockopt(socket.IPPROTO_UDP, 103, 999)  # UDP_SEGMENT
        sender.sendto(DATA[:20_000], receiver.getsockname())
        assert b"".join(receiver.recv(2000) for _ in range(21)) == DATA[:20_000]


def tcp(namespace, stack, family):
    stack.serve("echo", "tcp", 7)
    with namespace.connect(HOST[family], 7, SECONDS) as client:
        assert exchange(client, DATA) == sha256(DATA)
    with kernel_listener(namespace, family) as listener:
        client = stack.create_connection((KERNEL[family], listener.getsockname()[1]))
        server, _ = listener.accept()
        with client, server:
            server.settimeout(SECONDS)
            client.send(b"hello", socket.MSG_OOB)
            assert server.recv(4, socket.MSG_WAITALL) == b"hell"  # "o" is out of line there
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for size in range(1, 100):
                client.sendall(DATA[:size])
                assert server.recv(size, socket.MSG_WAITALL) == DATA[:size]
            client.abort()
            with pytest.raises(ConnectionResetError):
                server.recv(1)


def refusals(namespace, stack, family):
    with suppress(ConnectionRefusedError):
        namespace.connect(HOST[family], 9)
    for size in (0, 100, 1200):
        with datagrams(namespace, family, 9) as client:
            client.send(bytes(size))
            with pytest.raises(ConnectionRefusedError):
                client.recv(1)
    told = stack.counters()["icmp_errors_out"]
    with namespace.socket(KIND[family], socket.SOCK_RAW, 200) as unknown:
        unknown.sendto(bytes(100), (HOST[family], 0))
        wait_until(lambda: stack.counters()["icmp_errors_out"] > told)


@both_families
def test_every_packet_over_a_device_that_loses_some(namespace, family):
    """SACK blocks, duplicate ACKs and retransmissions, too."""
    device = LossyDevice(namespace, loss=0.05, seed=1)
    try:
        with pystack.Stack(*NETS, device=device) as stack, judged(stack) as judge:
            stack.serve("echo", "tcp", 7)
            with namespace.connect(HOST[family], 7, SECONDS) as client:
                assert exchange(client, DATA) == sha256(DATA)
            assert stack.counters()["tcp_retransmitted_segments"]
    finally:
        device.close_file()
    assert judge.kinds["sack"] > 10


def test_the_judge_finds_faults(namespace):
    """Any bit of a packet that is wrong is seen, but for those that nothing covers."""
    with virtual_net(namespace) as stack:
        judge = Judge()
        stack.capture(judge)
        stack.serve("echo", "tcp", 7)
        with namespace.connect(HOST[4], 7, SECONDS) as client, Background(client.sendall, b"x"):
            assert client.recv(1) == b"x"
        stack.capture(None)
    judge.judge()
    packet = max(judge.packets, key=len)
    for bit in range(8 * len(packet)):
        spoilt = Judge()
        wrong = bytearray(packet)
        wrong[bit // 8] ^= 1 << bit % 8
        spoilt.write(bytes(wrong), 0, True)
        with pytest.raises((AssertionError, dpkt.UnpackError, struct.error, KeyError)):
            spoilt.judge()
