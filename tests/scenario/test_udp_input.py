"""Claims about the datagrams that arrive: who gets them, and which are dropped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from native import udp
from scenario.udp_wire import (
    FAMILIES,
    IPV4,
    IPV6,
    family_name,
    ip_packet,
    parse,
    raw_udp_packet,
    running_host,
    udp_packet,
)

READ = 0x01
QUEUE_LIMIT = 212992


@pytest.fixture
def host():
    with running_host() as host:
        yield host


@pytest.fixture(params=FAMILIES, ids=family_name)
def family(request):
    return request.param


def bound(host, family, address, port=53, **options):
    socket = host.socket(v6=family.v6).set(**options)
    socket.bind(address, port)
    return socket


def drain(socket):
    return [received.data for received in iter(socket.recv, None)]


def test_a_datagram_comes_with_all_that_is_known_of_it(host, family):
    """RFC 1122 section 4.1.3.5 and 4.1.4."""
    socket = bound(host, family, family.any)
    host.receive(udp_packet(family.peer, 9, family.second, 53, b"abc", ttl=33, tos=0xB8))
    received = socket.recv()
    assert received[:4] == (b"abc", family.peer, 9, family.second)
    assert (received.ttl, received.tos, received.gso_size) == (33, 0xB8, 0)
    assert host.counters["udp_datagrams_in"] == 1


@given(data=st.binary(max_size=3000))
@pytest.mark.parametrize("family", FAMILIES, ids=family_name)
def test_a_datagram_arrives_as_it_was(family, data):
    with running_host() as host:
        socket = bound(host, family, family.ours)
        host.receive(udp_packet(family.peer, 9, family.ours, 53, data))
        assert drain(socket) == [data]
        assert socket.queue_bytes == 0


def test_every_arrival_is_told(host, family):
    socket = bound(host, family, family.ours)
    for _ in range(2):
        host.receive(udp_packet(family.peer, 9, family.ours, 53))
        assert host.ready() == [(socket, READ)]
    assert host.ready() == []


def test_peeking_leaves_the_datagram(host):
    socket = bound(host, IPV4, IPV4.ours)
    assert socket.peek() is None
    host.receive(udp_packet(IPV4.peer, 9, IPV4.ours, 53, b"abc"))
    assert socket.peek() == socket.peek() == socket.recv()
    assert socket.peek() is None


def test_the_most_specific_socket_gets_it(host, family):
    """Linux's order: connected, bound to the address, bound to every address."""
    sockets = {
        "every address": bound(host, family, family.any, reuse_address=True),
        "its address": bound(host, family, family.ours, reuse_address=True),
        "connected": bound(host, family, family.ours, reuse_address=True),
    }
    sockets["connected"].connect(family.peer, 9)
    arrivals = [
        (family.peer, 9, family.ours),
        (family.peer, 8, family.ours),
        (family.stranger, 9, family.ours),
        (family.peer, 9, family.second),
    ]
    for number, (source, port, destination) in enumerate(arrivals):
        host.receive(udp_packet(source, port, destination, 53, bytes([number])))
    assert {name: drain(socket) for name, socket in sockets.items()} == {
        "connected": [b"\0"],
        "its address": [b"\1", b"\2"],
        "every address": [b"\3"],
    }


def test_an_ipv4_socket_comes_before_the_ipv6_wildcard(host):
    six = bound(host, IPV6, "::", reuse_address=True)
    four = bound(host, IPV4, "0.0.0.0", reuse_address=True)
    host.receive(udp_packet(IPV4.peer, 9, IPV4.ours, 53, b"4"))
    host.receive(udp_packet(IPV6.peer, 9, IPV6.ours, 53, b"6"))
    assert (drain(four), drain(six)) == ([b"4"], [b"6"])
    four.close()
    host.receive(udp_packet(IPV4.peer, 9, IPV4.ours, 53, b"4"))
    assert six.recv()[:2] == (b"4", IPV4.peer)


def test_the_ipv6_wildcard_takes_ipv4_only_if_it_wants_to(host):
    """RFC 3493 section 5.3."""
    willing = bound(host, IPV6, "::", reuse_address=True)
    bound(host, IPV6, "::", v6only=True, reuse_address=True)
    host.receive(udp_packet(IPV4.peer, 9, IPV4.ours, 53, b"4"))
    assert drain(willing) == [b"4"]
    willing.close()
    host.receive(udp_packet(IPV4.peer, 9, IPV4.ours, 53, b"4"))
    assert host.counters["udp_port_unreachable"] == 1
    host.transmit()


def test_nobody_there_is_answered_by_port_unreachable(host, family):
    """RFC 1122 section 4.1.3.1; RFC 4443 section 3.1."""
    offending = udp_packet(family.peer, 9, family.ours, 53, b"?")
    host.receive(offending)
    [error] = map(parse, host.transmit())
    assert (error.source, error.destination) == (family.ours, family.peer)
    assert (error.type, error.code) == ((1, 4) if family.v6 else (3, 3))
    assert error.data[4:] == offending
    assert host.counters["udp_port_unreachable"] == 1


@pytest.mark.parametrize("action", ["DROP", "REFUSE", "MIRROR"])
def test_the_policy_comes_before_a_bound_socket(host, family, action):
    """design.md section 6."""
    everywhere = bound(host, family, family.any, reuse_address=True)
    socket = bound(host, family, family.ours, reuse_address=True)
    network = family.ours + ("/128" if family.v6 else "/32")
    host.policy(network, getattr(udp, f"POLICY_{action}"), first=53, last=53)
    arrival = udp_packet(family.peer, 9, family.ours, 53, b"?")
    host.receive(arrival)
    host.receive(udp_packet(family.peer, 9, family.second, 53, b"elsewhere"))
    assert (drain(socket), drain(everywhere)) == ([], [b"elsewhere"])
    answers = [parse(packet) for packet in host.transmit()]
    if action == "DROP":
        assert answers == []
        assert host.counters["ip_drop_by_policy"] == 1
    elif action == "REFUSE":
        assert [answer.type for answer in answers] == [1 if family.v6 else 3]
    else:
        assert [a[:5] for a in answers] == [(family.ours, 9, family.peer, 53, b"?")]


@pytest.mark.parametrize("action", ["DROP", "REFUSE", "MIRROR"])
def test_a_connected_socket_comes_before_the_policy(host, family, action):
    socket = host.socket(v6=family.v6)
    socket.connect(family.peer, 53)
    host.policy("::/0" if family.v6 else "0.0.0.0/0", getattr(udp, f"POLICY_{action}"))
    host.receive(udp_packet(family.peer, 53, *socket.name, b"answer"))
    assert drain(socket) == [b"answer"]


@pytest.mark.parametrize("said", [0, 7, 13, 65535])
def test_a_length_that_can_not_be_is_dropped(host, family, said):
    """RFC 768: at least 8, and no more than there is."""
    socket = bound(host, family, family.ours)
    host.receive(raw_udp_packet(family.peer, 9, family.ours, 53, said, 0, b"1234"))
    assert drain(socket) == []
    assert host.counters["udp_drop_bad_length"] == 1


@pytest.mark.parametrize("length", range(8))
def test_less_than_a_header_is_dropped(host, family, length):
    bound(host, family, family.ours)
    host.receive(ip_packet(family.peer, family.ours, 17, bytes(length)))
    assert host.counters["udp_drop_too_short"] == 1


def test_what_follows_the_datagram_is_cut_off(host, family):
    """RFC 768: the length is that of header and data; IP may have carried more."""
    socket = bound(host, family, family.ours)
    packet = udp_packet(family.peer, 9, family.ours, 53, b"abc")
    checksum = int.from_bytes(packet[-5:-3], "big")
    host.receive(raw_udp_packet(family.peer, 9, family.ours, 53, 11, checksum, b"abc" + b"rest"))
    assert drain(socket) == [b"abc"]


@given(position=st.integers(0, 29), bit=st.integers(0, 7))
@pytest.mark.parametrize("family", FAMILIES, ids=family_name)
def test_one_wrong_bit_never_arrives(family, position, bit):
    """RFC 1122 section 4.1.3.4: a datagram with a bad checksum is discarded silently."""
    packet = bytearray(udp_packet(family.peer, 9, family.ours, 53, bytes(range(22))))
    packet[-30 + position] ^= 1 << bit
    with running_host() as host:
        socket = bound(host, family, family.ours)
        host.receive(bytes(packet))
        assert drain(socket) == []
        dropped = host.counters.keys() - {"packets_in"}
        assert dropped <= {"udp_drop_bad_checksum", "udp_drop_bad_length"}
        assert host.transmit() == []


def test_no_checksum_is_accepted_in_ipv4_only(host, family):
    """RFC 768; RFC 8200 section 8.1."""
    socket = bound(host, family, family.ours)
    host.receive(raw_udp_packet(family.peer, 9, family.ours, 53, 11, 0, b"abc"))
    assert drain(socket) == ([] if family.v6 else [b"abc"])
    assert host.counters.get("udp_drop_zero_checksum", 0) == family.v6


@pytest.mark.parametrize("csum", [udp.CSUM_VERIFIED, udp.CSUM_PARTIAL])
def test_a_checksum_is_not_looked_at_twice(host, family, csum):
    """design.md section 2.3: offload metadata travel with the packet."""
    socket = bound(host, family, family.ours)
    host.receive(raw_udp_packet(family.peer, 9, family.ours, 53, 11, 0xBAD, b"abc"), csum=csum)
    assert drain(socket) == [b"abc"]


def test_a_bad_checksum_draws_no_port_unreachable(host, family):
    """RFC 1122 section 4.1.3.4: silently."""
    host.receive(raw_udp_packet(family.peer, 9, family.ours, 53, 11, 0xBAD, b"abc"))
    assert host.transmit() == []
    assert host.counters["udp_drop_bad_checksum"] == 1


def train(family, data):
    return raw_udp_packet(family.peer, 9, family.ours, 53, 8 + len(data), 0x1234, data)


def receive_train(host, family, data, size):
    gso = udp.GSO_UDP6 if family.v6 else udp.GSO_UDP4
    host.receive(train(family, data), csum=udp.CSUM_PARTIAL, gso=gso, gso_size=size)


@given(data=st.binary(min_size=1, max_size=5000), size=st.integers(1, 1472))
@pytest.mark.parametrize("family", FAMILIES, ids=family_name)
def test_a_train_arrives_as_datagrams(family, data, size):
    with running_host() as host:
        socket = bound(host, family, family.ours, queue_limit=1 << 31)
        receive_train(host, family, data, size)
        pieces = drain(socket)
        assert pieces == [data[i : i + size] for i in range(0, len(data), size)]
        assert host.counters["udp_datagrams_in"] == len(pieces)


def test_a_train_arrives_whole_if_the_socket_wants_it(host, family):
    """UDP_GRO."""
    socket = bound(host, family, family.ours, gro=True)
    receive_train(host, family, bytes(3500), 1000)
    receive_train(host, family, bytes(1000), 1000)
    whole, single = socket.recv(), socket.recv()
    assert (len(whole.data), whole.gso_size) == (3500, 1000)
    assert (len(single.data), single.gso_size) == (1000, 0)


def test_a_train_without_a_size_is_one_datagram(host, family):
    socket = bound(host, family, family.ours)
    receive_train(host, family, b"abc", 0)
    assert drain(socket) == [b"abc"]


def test_a_full_queue_drops_the_newest(host, family):
    """A bound on everything that a peer can grow: design.md section 2.5."""
    socket = bound(host, family, family.ours)
    for number in range(2000):
        host.receive(udp_packet(family.peer, 9, family.ours, 53, number.to_bytes(2, "big")))
        assert socket.queue_bytes <= QUEUE_LIMIT
    dropped = host.counters["udp_drop_queue_full"]
    received = drain(socket)
    assert len(received) == 2000 - dropped == host.counters["udp_datagrams_in"]
    assert received == [number.to_bytes(2, "big") for number in range(len(received))]
    assert 0 < dropped < 2000
    host.receive(udp_packet(family.peer, 9, family.ours, 53, b"again"))
    assert drain(socket) == [b"again"]


@pytest.mark.parametrize("length", [0, 1, 200, 1400, 2100, 9000, 30000])
def test_a_small_datagram_does_not_hold_a_large_buffer(host, length):
    socket = bound(host, IPV4, IPV4.ours)
    data = bytes(length)
    host.receive(udp_packet(IPV4.peer, 9, IPV4.ours, 53, data), capacity=65536)
    assert socket.queue_bytes < max(4096, length + 512)
    received = socket.recv()
    assert received.data == data
    assert received.capacity < max(4096, length + 512)


def test_a_large_datagram_stays_where_it_is(host):
    socket = bound(host, IPV4, IPV4.ours)
    host.receive(udp_packet(IPV4.peer, 9, IPV4.ours, 53, bytes(60000)), capacity=65536)
    assert socket.recv().capacity > 65536


def test_one_datagram_always_fits_an_empty_queue(host):
    socket = bound(host, IPV4, IPV4.ours, queue_limit=1)
    host.receive(udp_packet(IPV4.peer, 9, IPV4.ours, 53, bytes(60000)))
    host.receive(udp_packet(IPV4.peer, 9, IPV4.ours, 53, b""))
    assert [len(data) for data in drain(socket)] == [60000]
    assert host.counters["udp_drop_queue_full"] == 1


def test_pieces_of_a_train_that_do_not_fit_are_dropped(host):
    socket = bound(host, IPV4, IPV4.ours, queue_limit=10000)
    receive_train(host, IPV4, bytes(60 * 1000), 1000)
    assert len(drain(socket)) == 60 - host.counters["udp_drop_queue_full"]
    assert host.counters["udp_drop_queue_full"] > 50


@given(
    data=st.binary(max_size=64),
    said=st.integers(0, 80),
    checksum=st.integers(0, 65535),
    gso=st.integers(0, 5),
    gso_size=st.integers(0, 80),
    csum=st.integers(0, 2),
    gro=st.booleans(),
)
@pytest.mark.parametrize("family", FAMILIES, ids=family_name)
def test_garbage_leaks_nothing(family, data, said, checksum, gso, gso_size, csum, gro):
    """RFC 1122 section 1.2.2: be liberal in what you accept."""
    with running_host() as host:
        socket = bound(host, family, family.any, gro=gro)
        packet = raw_udp_packet(family.peer, 9, family.ours, 53, said, checksum, data)
        host.receive(packet, csum=csum, gso=gso, gso_size=gso_size)
        assert b"".join(drain(socket)) in (b"", data[: max(0, said - 8)])
        host.transmit_raw()
        assert host.live == 0
