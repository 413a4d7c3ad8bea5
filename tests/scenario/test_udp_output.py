"""Claims about the datagrams that sockets send; dpkt reads and judges every one of them."""

from __future__ import annotations

import errno

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from native import udp
from scenario.udp_wire import (
    FAMILIES,
    IPV4,
    IPV6,
    family_name,
    parse,
    refused,
    running_host,
    udp_packet,
)

DONT, WANT, DO = range(3)


@pytest.fixture
def host():
    with running_host() as host:
        yield host


@pytest.fixture(params=FAMILIES, ids=family_name)
def family(request):
    return request.param


def sender(host, family, **options):
    socket = host.socket(v6=family.v6).set(**options)
    socket.bind(family.ours, 5000)
    return socket


def headers(family):
    return (40 if family.v6 else 20) + 8


@given(data=st.binary(max_size=1452), port=st.integers(1, 65535))
@example(data=b"", port=9)
@example(data=b"\0", port=65535)
@pytest.mark.parametrize("family", FAMILIES, ids=family_name)
def test_a_datagram_is_what_dpkt_would_have_sent(family, data, port):
    """RFC 768; RFC 8200 section 8.1."""
    with running_host() as host:
        assert sender(host, family).send(data, (family.peer, port)) == len(data)
        [packet] = host.transmit()
        transport = 40 if family.v6 else 20
        expected = udp_packet(family.ours, 5000, family.peer, port, data)
        assert packet[transport:] == expected[transport:]
        assert parse(packet)[:5] == (family.ours, 5000, family.peer, port, data)
        assert host.counters == {"udp_datagrams_out": 1}


def test_a_checksum_of_zero_is_sent_as_ffff(host, family):
    """RFC 768; RFC 8200 section 8.1."""
    socket = sender(host, family)
    socket.send(b"\0\0", (family.peer, 9))
    at = headers(family) - 2
    [packet] = host.transmit()
    checksum = packet[at : at + 2]
    socket.send(checksum, (family.peer, 9))  # what was missing to 0xffff
    [packet] = host.transmit()
    assert packet[at : at + 2] == b"\xff\xff"
    assert parse(packet).data == checksum


def test_the_device_may_complete_the_checksum(host, family):
    sender(host, family).send(b"abc", (family.peer, 9))
    [sent] = host.transmit_raw()
    assert (sent.csum, sent.gso) == (udp.CSUM_PARTIAL, udp.GSO_NONE)


def test_ttl_and_tos_are_the_socket_s(host, family):
    """RFC 1122 section 4.1.4; RFC 2474."""
    socket = sender(host, family, ttl=7, tos=0xB8)
    socket.send(b"!", (family.peer, 9))
    socket.set(ttl=0, tos=0).send(b"!", (family.peer, 9))
    marks = [(packet.ttl, packet.tos) for packet in map(parse, host.transmit())]
    assert marks == [(7, 0xB8), (64, 0)]


def test_the_flow_label_is_the_socket_s(host):
    """RFC 6437 section 3: the same for each packet of a flow, and not to be guessed."""
    labels = []
    for port in (5000, 5001, 5002):
        socket = host.socket(v6=True)
        socket.bind(IPV6.ours, port)
        socket.send(b"1", (IPV6.peer, 9))
        socket.send(b"2", (IPV6.peer, 9))
        first, second = (int.from_bytes(p[1:4], "big") & 0xFFFFF for p in host.transmit())
        assert first == second
        labels.append(first)
    assert len(set(labels)) == 3


def test_a_wildcard_socket_speaks_from_a_chosen_address(host, family):
    socket = host.socket(v6=family.v6)
    socket.bind(family.any, 5000)
    socket.send(b"!", (family.peer, 9))
    socket.send(b"!", (family.peer, 9), source=family.third)
    sources = [(packet.source, packet.port) for packet in map(parse, host.transmit())]
    assert sources[0][0] in (family.ours, family.far)
    assert sources[1] == (family.third, 5000)


def test_the_source_must_be_ours_and_of_the_family(host, family):
    socket = host.socket(v6=True)
    stranger = IPV6.ours if family is IPV4 else f"::ffff:{IPV4.ours}"
    for source in (family.peer, stranger):
        with refused(errno.EINVAL):
            socket.send(b"!", (family.peer, 9), source=source)
    assert host.transmit() == []


def test_an_ipv6_socket_sends_ipv4_by_mapped_addresses(host):
    """RFC 3493 section 3.7."""
    socket = host.socket(v6=True)
    socket.bind("::", 5000)
    socket.send(b"!", (f"::ffff:{IPV4.peer}", 9))
    [packet] = map(parse, host.transmit())
    assert packet.destination == IPV4.peer


def test_sending_binds_to_an_ephemeral_port_and_keeps_it(host, family):
    socket = host.socket(v6=family.v6)
    socket.send(b"1", (family.peer, 9))
    socket.send(b"2", (family.stranger, 9))
    ports = {packet.port for packet in map(parse, host.transmit())}
    assert ports == {socket.name[1]}
    assert 32768 <= socket.name[1] <= 60999
    assert socket.name[0] == family.any


def test_a_connected_socket_may_still_send_elsewhere(host, family):
    socket = sender(host, family)
    socket.connect(family.peer, 9)
    socket.send(b"1")
    socket.send(b"2", (family.stranger, 10))
    sent = [(p.destination, p.destination_port, p.data) for p in map(parse, host.transmit())]
    assert sent == [(family.peer, 9, b"1"), (family.stranger, 10, b"2")]


def test_a_destination_is_required(host, family):
    socket = sender(host, family)
    with refused(errno.EDESTADDRREQ):
        socket.send(b"!")
    with refused(errno.EINVAL):
        socket.send(b"!", (family.peer, 0))
    assert host.transmit() == []


def test_a_network_must_lead_there():
    with running_host() as host:
        lonely = udp.Host("10.3.0.0/24")
        with refused(errno.ENETUNREACH):
            lonely.socket(v6=True).send(b"!", (IPV6.peer, 9))
        with refused(errno.ENETUNREACH):
            host.socket().send(b"!", ("127.0.0.1", 9))


@pytest.mark.parametrize("length", [1473, 4000, 65507])
def test_what_is_larger_than_the_path_goes_in_fragments(host, length):
    """RFC 791 section 2.3."""
    data = bytes(i & 0xFF for i in range(length))
    sender(host, IPV4, mtu_discover=DONT).send(data, (IPV4.peer, 9))
    packets = host.transmit()
    assert len(packets) == -(-(length + 8) // 1480)
    peer = udp.Host("192.0.2.0/24")
    listener = peer.socket()
    listener.bind(IPV4.peer, 9)
    for packet in packets:
        peer.receive(packet)
    assert listener.recv().data == data


def test_what_is_larger_than_the_path_goes_in_fragments_in_ipv6_too(host):
    """RFC 8200 section 4.5."""
    data = bytes(range(256)) * 20
    sender(host, IPV6).send(data, (IPV6.peer, 9))
    peer = udp.Host("2001:db8::/64")
    listener = peer.socket(v6=True)
    listener.bind(IPV6.peer, 9)
    for packet in host.transmit():
        assert len(packet) <= 1500
        peer.receive(packet)
    assert listener.recv().data == data


def test_with_path_mtu_discovery_a_datagram_must_fit_the_path(host, family):
    """IP_PMTUDISC_DO."""
    socket = sender(host, family, mtu_discover=DO)
    fitting = 1500 - headers(family)
    with refused(errno.EMSGSIZE):
        socket.send(bytes(fitting + 1), (family.peer, 9))
    socket.send(bytes(fitting), (family.peer, 9))
    assert len(host.transmit()) == 1


def test_no_datagram_is_longer_than_its_length_field_can_say(host):
    with refused(errno.EMSGSIZE):
        sender(host, IPV4).send(bytes(65508), (IPV4.peer, 9))
    with refused(errno.EMSGSIZE):
        sender(host, IPV6).send(bytes(65528), (IPV6.peer, 9))
    assert host.transmit() == []


def test_what_goes_to_ourselves_comes_back(host, family):
    server = sender(host, family)
    client = host.socket(v6=family.v6)
    client.send(bytes(20000), (family.ours, 5000))
    received = server.recv()
    assert received.data == bytes(20000)
    assert received.port == client.name[1]
    assert host.transmit() == []


@given(
    pieces=st.integers(1, 63),
    size=st.integers(1, 1452),
    last=st.integers(0, 1452),
    max_train=st.sampled_from([0, 1500, 9000, 65535]),
)
@example(pieces=45, size=1452, last=100, max_train=65535)
@pytest.mark.parametrize("family", FAMILIES, ids=family_name)
def test_a_train_is_many_datagrams(family, pieces, size, last, max_train):
    """UDP_SEGMENT; each datagram as RFC 768 wants it."""
    length = min(pieces * size + min(last, size), 65507 if not family.v6 else 65487)
    data = bytes(i * 7 & 0xFF for i in range(length))
    with running_host(max_train=max_train) as host:
        assert sender(host, family).send(data, (family.peer, 9), gso_size=size) == length
        packets = list(map(parse, host.transmit()))
        assert [p.data for p in packets] == [data[i : i + size] for i in range(0, length, size)]
        assert all(p[:4] == (family.ours, 5000, family.peer, 9) for p in packets)
        assert host.counters["udp_datagrams_out"] == len(packets)


def test_a_train_is_one_packet_to_the_device(host, family):
    sender(host, family).send(bytes(10000), (family.peer, 9), gso_size=1000)
    [sent] = host.transmit_raw()
    gso = udp.GSO_UDP6 if family.v6 else udp.GSO_UDP4
    assert sent[1:] == (udp.CSUM_PARTIAL, gso, 1000)
    assert len(sent.data) == headers(family) + 10000


def test_no_train_is_longer_than_the_device_takes():
    with running_host(max_train=4000) as host:
        sender(host, IPV4).send(bytes(9500), (IPV4.peer, 9), gso_size=1000)
        sent = host.transmit_raw()
        assert [len(packet.data) - 28 for packet in sent] == [3000, 3000, 3000, 500]
        assert [packet.gso_size for packet in sent] == [1000, 1000, 1000, 0]


@pytest.mark.parametrize("length", [0, 999, 1000])
def test_data_of_one_piece_is_no_train(host, family, length):
    sender(host, family).send(bytes(length), (family.peer, 9), gso_size=1000)
    [sent] = host.transmit_raw()
    assert sent.gso == udp.GSO_NONE
    assert len(sent.data) == headers(family) + length


def test_a_train_has_64_pieces_at_most(host, family):
    """UDP_MAX_SEGMENTS."""
    socket = sender(host, family)
    socket.send(bytes(6400), (family.peer, 9), gso_size=100)
    assert len(host.transmit()) == 64
    with refused(errno.EINVAL):
        socket.send(bytes(6401), (family.peer, 9), gso_size=100)


def test_a_piece_must_fit_the_path(host, family):
    """EMSGSIZE, as in Linux since 6.14."""
    socket = sender(host, family)
    most = 1500 - headers(family)
    socket.send(bytes(3000), (family.peer, 9), gso_size=most)
    with refused(errno.EMSGSIZE):
        socket.send(bytes(3000), (family.peer, 9), gso_size=most + 1)
    with refused(errno.EMSGSIZE):
        socket.send(bytes(most + 1), (family.peer, 9), gso_size=2000)
    socket.send(bytes(100), (family.peer, 9), gso_size=2000)
    assert len(host.transmit()) == 4


def test_a_train_to_ourselves_arrives_as_datagrams(host, family):
    server = sender(host, family)
    host.socket(v6=family.v6).send(bytes(2500), (family.ours, 5000), gso_size=1000)
    assert [len(server.recv().data) for _ in range(3)] == [1000, 1000, 500]
    assert server.recv() is None
