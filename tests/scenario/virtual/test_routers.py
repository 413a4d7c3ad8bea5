"""Routers: RFC 1812 section 5, RFC 8200 section 3, RFC 2827, and how routes are found."""

from __future__ import annotations

import errno
import itertools
import socket
import struct

import dpkt
import pytest

import pystack

V4 = ("10.0.0.1", "10.0.9.1")
V6 = ("fd00::1", "fd09::1")


@pytest.fixture
def chain(net):
    """a - r1 - r2 - r3 - b, 1 ms each."""
    a = net.host("10.0.0.1", "fd00::1", name="a")
    b = net.host("10.0.9.1", "fd09::1", name="b")
    routers = [net.router(f"10.1.0.{n}", f"fd01::{n}", name=f"r{n}") for n in (1, 2, 3)]
    path = [a, *routers, b]
    for one, other in itertools.pairwise(path):
        net.link(one, other, delay="1ms")
    return path


def family_of(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@pytest.mark.parametrize("to", ["10.0.9.1", "fd09::1"])
def test_a_connection_through_routers(net, chain, to):
    a, *routers, b = chain
    with (
        b.create_server((to, 80), family=family_of(to)) as listener,
        a.create_connection((to, 80)) as client,
    ):
        assert net.now == pytest.approx(0.008)
        server, peer = listener.accept()
        assert peer[0] == (V6 if ":" in to else V4)[0]
        with server:
            client.sendall(bytes(100_000))
            received = 0
            while received < 100_000:
                received += len(server.recv(65536))
    assert all(router.forwarding["forwarded"] > 70 for router in routers)


def raw(host, packet):
    """Put a packet on a host's first wire, past its stack: from a neighbour that misbehaves."""
    link = host.links[0]
    link.out_of(host).inject(packet)


def udp4(source, destination, ttl=64, payload=b"x" * 32, **fields):
    udp = dpkt.udp.UDP(sport=5, dport=9, data=payload, ulen=8 + len(payload))
    return bytes(
        dpkt.ip.IP(
            src=socket.inet_aton(source), dst=socket.inet_aton(destination), p=17, ttl=ttl,
            data=udp, len=28 + len(payload), **fields,
        )
    )  # fmt: skip


def udp6(source, destination, hops=64, payload=b"x" * 32):
    source, destination = (socket.inet_pton(socket.AF_INET6, one) for one in (source, destination))
    udp = dpkt.udp.UDP(sport=5, dport=9, data=payload, ulen=8 + len(payload))
    return bytes(
        dpkt.ip6.IP6(
            src=source, dst=destination, nxt=17, hlim=hops, plen=8 + len(payload), data=udp
        )
    )


def arrivals(host):
    """The packets that arrive at a host, from now on."""
    seen = []

    class Writer:
        def write(self, packet, time_ns, outbound):
            if not outbound:
                seen.append(packet)

    host.capture(Writer())
    return seen


def test_each_router_takes_one_hop_off(net, chain):
    """RFC 1812 section 5.3.1; the header checksum stays right (RFC 1624)."""
    a, *_, b = chain
    seen = arrivals(b)
    raw(a, udp4(*V4, ttl=9))
    raw(a, udp6(*V6, hops=9))
    net.settle()
    four, six = dpkt.ip.IP(seen[0]), dpkt.ip6.IP6(seen[1])
    assert (four.ttl, six.hlim) == (6, 6)
    was, four.sum = four.sum, 0
    assert dpkt.ip.IP(bytes(four)).sum == was


@pytest.mark.parametrize("v6", [False, True])
def test_traceroute_shows_every_router(net, chain, v6):
    """Time Exceeded comes from each in turn, then port unreachable from the host."""
    a, *routers, _b = chain
    seen = arrivals(a)
    family = socket.AF_INET6 if v6 else socket.AF_INET
    with a.socket(family, socket.SOCK_DGRAM) as probe:
        probe.settimeout(1)
        for hops in range(1, 5):
            if v6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
            else:
                probe.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
            probe.sendto(b"probe", ("fd09::1" if v6 else "10.0.9.1", 33434 + hops))
            net.sleep("100ms")
    errors = [dpkt.ip6.IP6(one) if v6 else dpkt.ip.IP(one) for one in seen]
    froms = [socket.inet_ntop(family, error.src) for error in errors]
    expected = [router.addresses[v6] for router in routers]
    assert froms == [*expected, "fd09::1" if v6 else "10.0.9.1"]
    kinds = [(error.data.type, error.data.code) for error in errors]
    assert kinds == ([(3, 0)] * 3 + [(1, 4)] if v6 else [(11, 0)] * 3 + [(3, 3)])


def test_what_is_quoted_is_the_packet_as_it_came(net, chain):
    """RFC 1812 section 4.3.2.3: not with one hop less."""
    a, *_ = chain
    seen = arrivals(a)
    raw(a, udp4(*V4, ttl=1))
    net.settle()
    (error,) = seen
    assert dpkt.ip.IP(error).tos == 0xC0
    assert dpkt.ip.IP(bytes(dpkt.ip.IP(error).data.data.data)).ttl == 1


def test_no_route_is_net_unreachable(net, chain):
    a, *_ = chain
    seen = arrivals(a)
    with a.socket(type=socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.IPPROTO_IP, pystack.IP_RECVERR, 1)
        one.connect(("203.0.113.5", 9))
        one.send(b"x")
        with pytest.raises(OSError) as caught:
            one.recv(1)
    assert caught.value.errno == errno.ENETUNREACH
    assert dpkt.ip.IP(seen[0]).src == socket.inet_aton("10.1.0.1")


def test_a_routing_loop_ends_with_the_hops(net, chain):
    a, r1, r2, *_ = chain
    r1.route("203.0.113.0/24", r1.links[1])
    r2.route("203.0.113.0/24", r2.links[0])
    seen = arrivals(a)
    raw(a, udp4("10.0.0.1", "203.0.113.5", ttl=64))
    net.settle()
    assert dpkt.ip.IP(seen[0]).data.type == 11
    assert r1.forwarding["forwarded"] + r2.forwarding["forwarded"] == 63 + 1  # and the error


MARTIANS = [
    ("0.0.0.0", "10.0.9.1"), ("127.0.0.1", "10.0.9.1"), ("224.0.0.1", "10.0.9.1"),
    ("255.255.255.255", "10.0.9.1"), ("240.0.0.1", "10.0.9.1"), ("169.254.1.1", "10.0.9.1"),
    ("0.1.2.3", "10.0.9.1"), ("10.0.0.1", "127.0.0.1"), ("10.0.0.1", "224.0.0.9"),
    ("10.0.0.1", "240.0.0.1"), ("10.0.0.1", "169.254.9.9"), ("10.0.0.1", "0.0.0.0"),
]  # fmt: skip
MARTIANS6 = [
    ("::", "fd09::1"), ("::1", "fd09::1"), ("ff02::1", "fd09::1"), ("fe80::1", "fd09::1"),
    ("fd00::1", "::1"), ("fd00::1", "fe80::9"), ("fd00::1", "ff05::2"), ("fd00::1", "::"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "destination"), MARTIANS + MARTIANS6)
def test_martians_are_not_passed_on(net, chain, source, destination):
    """RFC 1812 section 5.3.7, RFC 4291 sections 2.5.3 and 2.5.6; silently."""
    a, r1, *_ = chain
    r1.ingress_filter = False
    seen = arrivals(a)
    for _ in range(2):
        raw(a, (udp6 if ":" in source else udp4)(source, destination))
    net.settle()
    assert r1.forwarding["forwarded"] == 0
    assert seen == []


def test_hosts_speak_for_themselves_only(net, chain):
    """RFC 2827: a source that is elsewhere is not let in where hosts are."""
    a, r1, r2, *_, b = chain
    seen = arrivals(b)
    raw(a, udp4("10.0.9.7", "10.0.9.1"))
    net.settle()
    assert (r1.forwarding["martians"], seen) == (1, [])
    r1.ingress_filter = False
    raw(a, udp4("10.0.7.7", "10.0.9.1"))
    net.settle()
    assert len(seen) == 1
    assert r2.forwarding["martians"] == 0


@pytest.mark.parametrize("packet", [b"", b"\x45", b"\x45" + bytes(30), b"\x60" + bytes(20)])
def test_nonsense_is_dropped(net, chain, packet):
    a, r1, *_ = chain
    raw(a, packet)
    net.settle()
    assert r1.forwarding["bad_headers"] == 1


def test_a_wrong_header_checksum_is_not_forwarded(net, chain):
    """RFC 1812 section 5.2.2."""
    a, r1, *_ = chain
    packet = bytearray(udp4(*V4))
    packet[10] ^= 1
    raw(a, bytes(packet))
    net.settle()
    assert r1.forwarding["bad_headers"] == 1


def test_a_source_route_is_not_followed(net, chain):
    """RFC 7126 section 4.3."""
    a, r1, *_ = chain
    packet = bytearray(udp4(*V4))
    option = bytes([131, 7, 4]) + socket.inet_aton("10.1.0.3") + b"\0"
    packet[20:20] = option
    packet[0] = 0x47
    packet[2:4] = struct.pack(">H", len(packet))
    header = dpkt.ip.IP(bytes(packet))
    header.sum = 0
    raw(a, bytes(header))
    net.settle()
    assert r1.forwarding["martians"] == 1


# Packets that are too long.


@pytest.fixture
def narrow(net, chain):
    a, r1, r2, r3, b = chain
    r2.links[1].set(mtu=1300)
    return a, r1, r2, r3, b


def test_routers_cut_what_may_be_cut(net, narrow):
    """RFC 791 section 3.2; the receiver puts it together again."""
    a, _, r2, _, b = narrow
    with a.socket(type=socket.SOCK_DGRAM) as one, b.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("10.0.9.1", 9))
        one.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER: do not
        data = bytes(range(256)) * 17
        one.sendto(data, ("10.0.9.1", 9))
        assert other.recv(65536) == data
    assert r2.forwarding["fragmented"] == 3  # every fragment is cut again


def test_fragments_of_fragments_are_right(net, narrow):
    """Offsets and the flag of more fragments go on from those that were there."""
    *_, b = narrow
    a = narrow[0]
    seen = arrivals(b)
    raw(a, udp4(*V4, payload=bytes(range(256)) * 5, _flags_offset=0x2000 | 100))
    raw(a, udp4(*V4, payload=bytes(range(256)) * 5, _flags_offset=100))
    net.settle()
    pieces = [dpkt.ip.IP(one) for one in seen]
    assert [(p.offset, p.mf, len(p)) for p in pieces] == [
        (100, 1, 1300), (260, 1, 28), (100, 1, 1300), (260, 0, 28),
    ]  # fmt: skip


def test_options_are_copied_into_fragments_if_they_say_so(net, narrow):
    """RFC 791 section 3.1."""
    a, *_, b = narrow
    seen = arrivals(b)
    options = bytes([7, 7, 8]) + bytes(4) + bytes([0x88, 4, 1, 2]) + b"\0"  # RR, stream identifier
    packet = bytearray(udp4(*V4, payload=bytes(1400)))
    packet[20:20] = options
    packet[0] = 0x48
    packet[2:4] = struct.pack(">H", len(packet))
    header = dpkt.ip.IP(bytes(packet))
    header.sum = 0
    raw(a, bytes(header))
    net.settle()
    assert [dpkt.ip.IP(one).hl for one in seen] == [8, 6]
    assert seen[1][20:24] == bytes([0x88, 4, 1, 2])


@pytest.mark.parametrize("v6", [False, True])
def test_path_mtu_discovery_finds_the_narrow_link(net, narrow, v6):
    """RFC 1191, RFC 8201."""
    a, _, r2, _, b = narrow
    to = "fd09::1" if v6 else "10.0.9.1"
    seen = arrivals(a)
    with (
        b.create_server((to, 80), family=family_of(to)) as listener,
        a.create_connection((to, 80)) as client,
    ):
        server, _ = listener.accept()
        with server:
            client.sendall(bytes(50_000))
            received = 0
            while received < 50_000:
                received += len(server.recv(65536))
    assert r2.forwarding["too_long"] > 0
    assert r2.forwarding["fragmented"] == 0
    errors = [dpkt.ip6.IP6(one) if v6 else dpkt.ip.IP(one) for one in seen]
    errors = [one for one in errors if (one.nxt if v6 else one.p) in (1, 58)]
    if v6:
        assert {(e.data.type, bytes(e.data)[4:8]) for e in errors} == {(2, struct.pack(">I", 1300))}
    else:
        assert {(e.data.type, e.data.code, bytes(e.data)[6:8]) for e in errors} == {
            (3, 4, struct.pack(">H", 1300))
        }


def test_a_black_hole_says_nothing(net, narrow):
    a, _, r2, _, b = narrow
    r2.links[1].set(oversize="drop")
    seen = arrivals(a)
    raw(a, udp4(*V4, payload=bytes(1400), _flags_offset=0x4000))
    raw(a, udp4(*V4, payload=bytes(1400)))
    net.settle()
    assert seen == []
    assert b.counters()["packets_in"] == 0


def test_errors_about_errors_are_not_sent(net, chain):
    """RFC 1812 section 4.3.2.7."""
    a, *_ = chain
    seen = arrivals(a)
    error = dpkt.icmp.ICMP(type=3, code=1, data=dpkt.icmp.ICMP.Unreach(data=udp4(*V4)))
    packet = dpkt.ip.IP(
        src=socket.inet_aton("10.0.0.1"), dst=socket.inet_aton("10.0.9.1"), p=1, ttl=1,
        data=error, len=20 + len(error),
    )  # fmt: skip
    raw(a, bytes(packet))
    net.settle()
    assert seen == []


def test_routers_answer_pings(net, chain):
    a, r1, r2, r3, _ = chain
    with a.socket(type=socket.SOCK_DGRAM, proto=1) as echo:
        echo.settimeout(1)
        for router in (r1, r2, r3):
            echo.sendto(b"\x08\0\0\0\0\0\0\x01hello", (router.address, 0))
            assert echo.recv(100)[8:] == b"hello"


# Routes.


def test_the_shortest_way_is_taken_and_given_routes_win(net):
    a, b = net.host("10.0.0.1", name="a"), net.host("10.0.1.1", name="b")
    r, s, t = (net.router(f"10.9.0.{n}", name=n) for n in "123")
    for one, other in ((a, r), (r, s), (s, t), (r, t), (t, b)):
        net.link(one, other, delay="1ms")
    with a.socket(type=socket.SOCK_DGRAM) as one, b.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("10.0.1.1", 9))
        one.sendto(b"x", ("10.0.1.1", 9))
        other.recv(1)
        assert net.now == pytest.approx(0.003)
        r.route("10.0.1.0/24", r.links[1])
        r.route("10.0.1.1/32", r.links[1])
        one.sendto(b"x", ("10.0.1.1", 9))
        other.recv(1)
        assert net.now == pytest.approx(0.007)


def test_a_host_with_several_links_chooses_by_destination(net):
    a = net.host("10.0.0.1", name="a")
    others = [net.host(f"10.0.{n}.0/24", name=f"n{n}") for n in (1, 2, 3)]
    for n, other in enumerate(others, 1):
        net.link(a, other, delay=n)
    for n, other in enumerate(others, 1):
        with other.create_server((f"10.0.{n}.77", 80)):
            began = net.now
            a.create_connection((f"10.0.{n}.77", 80)).close()
            assert net.now - began == 2 * n


def test_hosts_do_not_forward(net):
    """RFC 1122 section 3.3.1.1: only routers do."""
    a, b, c = (net.host(f"10.0.0.{n}") for n in (1, 2, 3))
    net.link(a, b)
    net.link(b, c)
    seen = arrivals(c)
    raw(a, udp4("10.0.0.1", "10.0.0.3"))
    net.settle()
    assert seen == []
