"""Claims about datagrams to groups and to all: who hears them, and where ours go."""

from __future__ import annotations

import errno

import pytest
from scenario import udp_wire
from scenario.group_wire import FAMILIES, IPV4
from scenario.udp_wire import icmp_packet, ip_packet, parse, refused, running_host, udp_packet

JOIN, LEAVE, JOIN_SOURCE, LEAVE_SOURCE, BLOCK_SOURCE, UNBLOCK = range(1, 7)
READ = 0x01
ECHO = 1


@pytest.fixture
def host():
    with running_host() as host:
        yield host


@pytest.fixture(params=FAMILIES, ids=lambda family: "IPv6" if family.v6 else "IPv4")
def family(request):
    return request.param


def listener(host, family, address=None, group=None, **options):
    """A socket at port 5000."""
    socket = host.socket(v6=family.v6).set(reuse_address=True, **options)
    socket.bind(address or ("::" if family.v6 else "0.0.0.0"), 5000)
    if group:
        socket.member(JOIN, group)
        host.transmit()
    return socket


def comes(host, family, group=None, source=None, data=b"to many"):
    host.receive(udp_packet(source or family.peer, 53, group or family.group, 5000, data))


def heard(socket):
    got = socket.recv()
    return None if got is None else got.data


def test_a_member_hears_its_group(host, family):
    """RFC 1112 section 4."""
    socket = listener(host, family, group=family.group)
    comes(host, family)
    got = socket.recv()
    assert (got.data, got.source, got.port) == (b"to many", family.peer, 53)
    assert got.destination == family.group
    assert host.transmit() == []


def test_every_member_hears_it(host, family):
    sockets = [listener(host, family, group=family.group) for _ in range(3)]
    comes(host, family)
    assert [heard(socket) for socket in sockets] == [b"to many"] * 3


def test_what_nobody_has_joined_is_dropped_in_silence(host, family):
    """RFC 1122 section 3.2.2: never an error."""
    socket = listener(host, family)
    comes(host, family)
    assert heard(socket) is None
    assert host.transmit() == []
    assert host.counters["ip_drop_broadcast_or_multicast"] == 1


def test_a_port_that_no_member_has_is_dropped_in_silence(host, family):
    """RFC 1122 section 4.1.3.6, RFC 4443 section 2.4 (e.3)."""
    listener(host, family, group=family.group)
    host.receive(udp_packet(family.peer, 53, family.group, 5001, b"?"))
    assert host.transmit() == []
    assert host.counters["ip_drop_broadcast_or_multicast"] == 1


def test_who_has_left_hears_it_no_more(host, family):
    socket = listener(host, family, group=family.group)
    socket.member(LEAVE, family.group)
    comes(host, family)
    assert heard(socket) is None


def test_others_at_the_port_hear_it_unless_they_do_not_want_it(host, family):
    """IP_MULTICAST_ALL."""
    listener(host, family, group=family.group)
    bystander = listener(host, family)
    picky = listener(host, family).multicast(family.v6, all=False)
    comes(host, family)
    assert heard(bystander) == b"to many"
    assert heard(picky) is None


def test_a_socket_bound_to_a_group_hears_that_group_only(host, family):
    socket = listener(host, family, family.group, family.group)
    socket.member(JOIN, family.other)
    comes(host, family)
    comes(host, family, family.other)
    host.receive(udp_packet(family.peer, 53, family.ours, 5000, b"to one"))
    assert heard(socket) == b"to many"
    assert heard(socket) is None


def test_a_socket_bound_to_a_host_does_not_hear_groups(host, family):
    socket = listener(host, family, family.ours, family.group)
    comes(host, family)
    assert heard(socket) is None


def test_sources_are_filtered_for_each_socket(host, family):
    """RFC 3376 section 3.2, RFC 3810 section 4.2."""
    everything = listener(host, family, group=family.group)
    without, only = listener(host, family, group=family.group), listener(host, family)
    without.member(BLOCK_SOURCE, family.group, family.peer)
    only.member(JOIN_SOURCE, family.group, family.peer)
    for source in (family.peer, family.stranger):
        comes(host, family, source=source, data=source.encode())
    assert [heard(everything) for _ in range(3)] == [
        family.peer.encode(), family.stranger.encode(), None,
    ]  # fmt: skip
    assert [heard(without) for _ in range(2)] == [family.stranger.encode(), None]
    assert [heard(only) for _ in range(2)] == [family.peer.encode(), None]


def test_a_source_that_nobody_wants_stops_at_the_interface(host, family):
    socket = listener(host, family, group=family.group)
    bystander = listener(host, family)
    socket.member(BLOCK_SOURCE, family.group, family.peer)
    comes(host, family)
    assert heard(bystander) is None
    socket.member(UNBLOCK, family.group, family.peer)
    comes(host, family)
    assert heard(bystander) == b"to many"


def test_fragments_to_a_group_are_put_together(host):
    socket = listener(host, IPV4, group=IPV4.group)
    whole = udp_packet(IPV4.peer, 53, IPV4.group, 5000, bytes(range(200)))
    payload = whole[20:]
    for offset in (0, 104):
        piece = payload[offset : offset + 104]
        packet = bytearray(ip_packet(IPV4.peer, IPV4.group, 17, piece))
        packet[6:8] = (offset // 8 | (0x2000 if offset == 0 else 0)).to_bytes(2, "big")
        packet[10:12] = b"\0\0"
        packet[10:12] = udp_wire.dpkt.in_cksum(bytes(packet[:20])).to_bytes(2, "big")
        host.receive(bytes(packet))
    assert heard(socket) == bytes(range(200))


def test_an_ipv6_socket_hears_ipv4_groups(host):
    """RFC 3493 section 3.7."""
    socket = host.socket(v6=True)
    socket.bind("::", 5000)
    socket.member(JOIN, IPV4.group)
    comes(host, IPV4)
    assert heard(socket) == b"to many"


def test_a_connected_socket_hears_its_peer_only(host, family):
    socket = listener(host, family, family.group, family.group)
    socket.connect(family.peer, 53)
    comes(host, family, source=family.stranger)
    assert heard(socket) is None
    comes(host, family)
    assert heard(socket) == b"to many"


def test_services_do_not_answer_groups_or_broadcasts(host, family):
    """They would answer for a thousand."""
    listener(host, family, service=ECHO)
    listener(host, family, group=family.group)
    comes(host, family)
    assert host.transmit() == []


@pytest.mark.parametrize("protocol", [6, 99])
def test_nothing_but_udp_takes_what_is_sent_to_a_group(host, family, protocol):
    """RFC 1122 section 4.2.3.10; RFC 4443 section 2.4 (e.3)."""
    listener(host, family, group=family.group)
    host.receive(ip_packet(family.peer, family.group, protocol, bytes(20)))
    assert host.transmit() == []
    assert host.counters["ip_drop_broadcast_or_multicast"] == 1


def test_an_echo_request_to_a_group_is_not_answered(host, family):
    """RFC 1122 section 3.2.2.6 allows that."""
    listener(host, family, group=family.group)
    for group in (family.group, family.all_hosts):
        kind = bytes([128 if family.v6 else 8, 0, 0, 0, 0, 1, 0, 1])
        host.receive(icmp_packet(family.peer, group, kind))
    assert host.transmit() == []


# Broadcast


@pytest.mark.parametrize("address", ["255.255.255.255", "10.3.0.255"])
def test_a_broadcast_is_heard_by_all_at_its_port(host, address):
    """RFC 1122 section 3.3.6."""
    sockets = [listener(host, IPV4) for _ in range(2)]
    bound = listener(host, IPV4, IPV4.ours)
    at_it = listener(host, IPV4, address)
    comes(host, IPV4, address)
    assert [heard(socket) for socket in [*sockets, at_it]] == [b"to many"] * 3
    assert heard(bound) is None


def test_a_broadcast_that_nobody_hears_is_dropped_in_silence(host):
    """RFC 1122 section 3.2.2."""
    comes(host, IPV4, "10.3.0.255")
    assert host.transmit() == []
    assert host.counters["ip_drop_broadcast_or_multicast"] == 1


# Out


def test_what_goes_to_a_group_has_ttl_1(host, family):
    """RFC 1112 section 6.1; RFC 3493 section 5.2."""
    socket = host.socket(v6=family.v6)
    socket.send(b"out", (family.group, 5000))
    [packet] = host.transmit()
    assert parse(packet).ttl == 1
    socket.multicast(family.v6, ttl=17).send(b"out", (family.group, 5000))
    [packet] = host.transmit()
    assert parse(packet).ttl == 17
    socket.send(b"out", (family.peer, 5000))
    [packet] = host.transmit()
    assert parse(packet).ttl == 64


def test_members_on_this_stack_hear_it_too(host, family):
    """RFC 1112 section 6.1: loop-back, unless it is turned off."""
    member = listener(host, family, group=family.group)
    socket = host.socket(v6=family.v6)
    socket.send(b"both", (family.group, 5000))
    assert len(host.transmit()) == 1
    assert heard(member) == b"both"
    socket.multicast(family.v6, loop=False).send(b"out", (family.group, 5000))
    assert len(host.transmit()) == 1
    assert heard(member) is None


def test_with_ttl_0_it_stays_here(host, family):
    """RFC 1112 section 6.1."""
    member = listener(host, family, group=family.group)
    socket = host.socket(v6=family.v6).multicast(family.v6, ttl=0)
    socket.send(b"in", (family.group, 5000))
    assert host.transmit() == []
    assert heard(member) == b"in"


def test_the_source_can_be_chosen(host, family):
    """IP_MULTICAST_IF, IP_PKTINFO."""
    second = "fd03::2" if family.v6 else "10.3.0.2"
    third = "fd03::3" if family.v6 else "10.3.0.3"
    socket = host.socket(v6=family.v6).multicast(family.v6, source=second)
    socket.send(b"out", (family.group, 5000))
    socket.send(b"out", (family.group, 5000), source=third)
    assert [parse(packet).source for packet in host.transmit()] == [second, third]


def test_who_is_bound_to_a_group_speaks_from_an_address_of_ours(host, family):
    socket = listener(host, family, family.group, family.group)
    socket.send(b"out", (family.peer, 53))
    [packet] = host.transmit()
    assert (parse(packet).source, parse(packet).port) == (family.ours, 5000)
    socket.connect(family.peer, 53)
    socket.send(b"out")
    [packet] = host.transmit()
    assert parse(packet).source == family.ours
    assert socket.name == (family.group, 5000)


def test_a_large_datagram_to_a_group_is_cut(host, family):
    member = listener(host, family, group=family.group)
    socket = host.socket(v6=family.v6)
    socket.send(bytes(4000), (family.group, 5000))
    assert len(host.transmit()) == 3
    assert heard(member) == bytes(4000)


def test_a_broadcast_needs_to_be_asked_for(host):
    """SO_BROADCAST."""
    socket = host.socket()
    with refused(errno.EACCES):
        socket.send(b"all", ("255.255.255.255", 5000))
