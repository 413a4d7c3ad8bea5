"""Checksums on simulated wires: whole for whoever looks, though until then nobody needs them."""

from __future__ import annotations

import socket
from io import BytesIO

import dpkt
import pytest

V4, V6 = ("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")
families = pytest.mark.parametrize("ends", [V4, V6], ids=["v4", "v6"])
IP_MTU_DISCOVER = 10
UDP_SEGMENT = 103
PAYLOAD = bytes(range(256)) * 400


def is_whole(data):
    packet = dpkt.ip.IP(data) if data[0] >> 4 == 4 else dpkt.ip6.IP6(data)
    packet.sum = packet.data.sum = 0
    return bytes(packet) == data


def carry(a, b, to, fragile=True):
    """Send PAYLOAD from a to b, in trains; fragile: routers may not cut it."""
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with (
        b.create_server((to, 80), family=family) as listener,
        a.create_connection((to, 80)) as client,
    ):
        server, _ = listener.accept()
        if not fragile:
            client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 0)
        client.sendall(PAYLOAD)
        client.close()
        with server:
            assert server.recv(len(PAYLOAD) + 1, socket.MSG_WAITALL) == PAYLOAD


@pytest.fixture
def pair(net, ends):
    hosts = [net.host(end) for end in ends]
    return *hosts, net.link(*hosts, delay="1ms", rate="1Gbit/s")


def full_sized(seen):
    return [data for data in seen if len(data) == 1500]


@families
@pytest.mark.parametrize("where", ["on_depart", "on_arrive", "filter"])
def test_whoever_looks_sees_whole_ones(net, pair, ends, where):
    a, b, link = pair
    seen = []

    def look(packet, *_):
        seen.append(packet)
        return True

    if where == "filter":
        link.there.set(delay="1ms", rate="1Gbit/s", filter=look)
    else:
        setattr(link.there.way, where, look)
    carry(a, b, ends[1])
    assert len(full_sized(seen)) > 50
    assert all(map(is_whole, seen))


@families
@pytest.mark.parametrize("at", [0, 1])
def test_captures_show_whole_ones(net, pair, ends, at):
    *hosts, link = pair
    file = BytesIO()
    link.pcap(file, at=hosts[at])
    carry(*hosts, ends[1])
    seen = [data for _, data in dpkt.pcapng.Reader(BytesIO(file.getvalue()))]
    assert len(full_sized(seen)) > 50
    assert all(map(is_whole, seen))


@families
def test_a_stacks_own_capture_shows_whole_ones(net, pair, ends):
    a, b, _ = pair
    seen = []

    class Writer:
        def write(self, packet, time_ns, outbound):
            seen.append(packet)

    b.capture(Writer())
    carry(a, b, ends[1])
    assert len(full_sized(seen)) > 50
    assert all(map(is_whole, seen))


@families
def test_what_the_wire_has_spoiled_is_found(net, pair, ends):
    """Wherever the bit is: in headers it may also make a packet that is for nobody."""
    a, b, link = pair
    link.there.set(delay="1ms", corrupt="20%")
    carry(a, b, ends[1])
    assert link.there.counters["corrupted"] > 10
    found = b.counters()
    assert found["tcp_drop_bad_checksum"] > 0.8 * link.there.counters["corrupted"]


def test_the_wire_spoils_one_bit_only(net):
    """So the checksum is off by a power of two."""
    a, b = net.host(V4[0]), net.host(V4[1])
    link = net.link(a, b, delay="1ms")
    spoiled = []
    link.there.way.on_arrive = lambda packet, *_: spoiled.append(packet)
    with b.create_server((V4[1], 80)), a.socket() as client:
        client.connect((V4[1], 80))
        link.there.set(delay="1ms", corrupt=1)
        client.send(PAYLOAD)
        net.sleep(0.01)
    off = set()
    for data in full_sized(spoiled):
        packet = dpkt.ip.IP(data)
        header, stored = packet.sum, packet.data.sum
        packet.sum = packet.data.sum = 0
        bytes(packet)
        if packet.sum == header:
            off.add((packet.data.sum - stored) % 65535)
    assert len(off) > 3
    assert off <= {(sign << bit) % 65535 for sign in (1, -1) for bit in range(16)} | {0}


@families
def test_duplicates_are_as_good(net, pair, ends):
    a, b, link = pair
    link.there.set(delay="1ms", duplicate=1)
    seen = []
    link.there.way.on_arrive = lambda packet, *_: seen.append(packet)
    carry(a, b, ends[1])
    assert len(full_sized(seen)) > 100
    assert all(map(is_whole, seen))


def test_fragments_carry_whole_ones(net):
    """A router cuts segments that may be cut: the checksum is of the whole."""
    a, b, router = net.host(V4[0]), net.host(V4[1]), net.router("10.1.0.1")
    net.link(a, router)
    net.link(router, b).there.set(mtu=600)
    carry(a, b, V4[1], fragile=False)
    assert router.forwarding["fragmented"] > 50
    assert b.counters()["tcp_drop_bad_checksum"] == 0


def test_hosts_quote_whole_ones(net):
    """Of a train of datagrams to a port that nobody has."""
    a, b = net.host(V4[0]), net.host(V4[1])
    quoted = []
    way = net.link(a, b).back.way
    way.on_arrive = lambda packet, *_: quoted.append(packet[28:])
    with a.socket(type=socket.SOCK_DGRAM) as source:
        source.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 500)
        source.sendto(PAYLOAD[:2000], (V4[1], 9))
        net.sleep(1)
    assert len(quoted) == 4
    assert all(map(is_whole, quoted))


def test_routers_quote_whole_ones(net):
    a, b, router = net.host(V4[0]), net.host(V4[1]), net.router("10.1.0.1")
    first = net.link(a, router)
    second = net.link(router, b)
    quoted = []

    def look(packet, *_):
        ip = dpkt.ip.IP(packet)
        if isinstance(ip.data, dpkt.icmp.ICMP):
            quoted.append(bytes(ip.data.data)[4:])

    first.back.way.on_arrive = look
    with b.create_server((V4[1], 80)) as listener, a.create_connection((V4[1], 80)) as client:
        listener.accept()[0].close()
        second.there.set(mtu=576)
        client.send(PAYLOAD)
        net.sleep(1)
    assert quoted
    sent = dpkt.ip.IP(quoted[0])
    assert sent.len == 1500
    # 548 bytes of it are there; what it was made of is known.
    header = quoted[0][20:][: (quoted[0][32] >> 4) * 4]
    whole = dpkt.ip.IP(quoted[0][:20] + header + PAYLOAD[: 1480 - len(header)])
    assert is_whole(bytes(whole))
