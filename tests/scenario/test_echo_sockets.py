"""Claims about echo sockets: ping from an ordinary socket, as Linux's IPPROTO_ICMP datagrams."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenario.udp_wire import (
    IPV4,
    IPV6,
    echo_message,
    family_name,
    icmp_error,
    icmp_packet,
    parse,
    refused,
    running_host,
)

FAMILIES = [IPV4, IPV6]
READ, ERROR = 0x01, 0x04


def request_type(family):
    return 128 if family.v6 else 8


def reply_type(family):
    return 129 if family.v6 else 0


@pytest.fixture
def host():
    with running_host() as host:
        yield host


@pytest.fixture(params=FAMILIES, ids=family_name)
def family(request):
    return request.param


def echo_socket(host, family):
    return host.socket(58 if family.v6 else 1, family.v6)


def ping(family, sequence=1, data=b"", identifier=0):
    return echo_message(request_type(family), identifier, sequence, data)


def reply(family, identifier, sequence=1, data=b"", source=None, destination=None):
    message = echo_message(reply_type(family), identifier, sequence, data)
    return icmp_packet(source or family.peer, destination or family.ours, message)


@given(data=st.binary(max_size=1400), sequence=st.integers(0, 65535), written=st.integers(0, 65535))
@pytest.mark.parametrize("family", FAMILIES, ids=family_name)
def test_a_request_goes_out_under_the_socket_s_identifier(family, data, sequence, written):
    """RFC 792, RFC 4443 section 4.1; the checksum is dpkt's."""
    with running_host() as host:
        socket = echo_socket(host, family)
        socket.bind(family.ours, 77)
        message = ping(family, sequence, data, written)
        assert socket.send(message, (family.peer, 0)) == len(message)
        [packet] = host.transmit()
        expected = icmp_packet(family.ours, family.peer, ping(family, sequence, data, 77))
        assert parse(packet) == parse(expected)
        assert packet[-len(message) :] == expected[-len(message) :]


def test_a_reply_comes_with_its_icmp_header(host, family):
    """As Linux delivers it."""
    socket = echo_socket(host, family)
    socket.connect(family.peer)
    socket.send(ping(family, 5, b"abc"))
    identifier = socket.name[1]
    packet = reply(family, identifier, 5, b"abc", destination=socket.name[0])
    host.receive(packet)
    assert host.ready() == [(socket, READ)]
    received = socket.recv()
    assert received.data == packet[-11:]
    assert received[1:4] == (family.peer, 0, socket.name[0])
    host.transmit()


def test_we_can_ping_ourselves(host, family):
    socket = echo_socket(host, family)
    socket.send(ping(family, 3, b"abc"), (family.second, 0))
    received = socket.recv()
    assert received.source == family.second
    assert received.data[0] == reply_type(family)
    assert received.data[6:] == b"\0\3abc"


def test_replies_are_told_apart_by_identifier(host, family):
    sockets = [echo_socket(host, family) for _ in range(3)]
    for socket in sockets:
        socket.send(ping(family), (family.peer, 0))
    identifiers = [socket.name[1] for socket in sockets]
    assert len({*identifiers, 0}) == 4
    for number, identifier in enumerate(identifiers):
        host.receive(reply(family, identifier, data=bytes([number])))
    assert [socket.recv().data[-1] for socket in sockets] == [0, 1, 2]
    host.transmit()


def test_a_reply_that_nobody_waits_for_is_dropped(host, family):
    socket = echo_socket(host, family)
    socket.bind(family.ours, 77)
    host.receive(reply(family, 78))
    host.receive(reply(family, 77, destination=family.second))
    assert socket.recv() is None
    assert host.counters["icmp_drop_reply_not_ours"] == 2
    assert host.transmit() == []


def test_a_connected_echo_socket_hears_its_peer_only(host, family):
    socket = echo_socket(host, family)
    socket.bind(family.ours, 77)
    socket.connect(family.peer, 7)  # there are no ports
    host.receive(reply(family, 77, source=family.stranger))
    assert socket.recv() is None
    host.receive(reply(family, 77))
    assert socket.recv() is not None


def test_an_identifier_is_one_socket_s_in_one_protocol(host):
    echo_socket(host, IPV4).bind(IPV4.any, 77)
    with refused(errno.EADDRINUSE):
        echo_socket(host, IPV4).bind(IPV4.ours, 77)
    echo_socket(host, IPV6).bind(IPV6.any, 77)
    host.socket().bind(IPV4.ours, 77)


def test_only_echo_requests_can_be_sent(host, family):
    """EINVAL, as in Linux."""
    socket = echo_socket(host, family)
    other = request_type(IPV6 if family is IPV4 else IPV4)
    for message in (
        b"",
        ping(family)[:7],
        echo_message(reply_type(family), 1, 1),
        echo_message(other, 1, 1),
        echo_message(request_type(family), 1, 1, code=1),
    ):
        with refused(errno.EINVAL):
            socket.send(message, (family.peer, 0))
    assert host.transmit() == []


def test_icmpv6_is_not_spoken_over_ipv4(host):
    socket = echo_socket(host, IPV6)
    with refused(errno.ENETUNREACH):
        socket.send(ping(IPV6), (f"::ffff:{IPV4.peer}", 0))
    with refused(errno.EINVAL):
        socket.bind(f"::ffff:{IPV4.ours}", 77)


def test_a_request_must_fit_an_ip_packet(host):
    socket = echo_socket(host, IPV4)
    socket.send(ping(IPV4, data=bytes(65507)), (IPV4.peer, 0))
    assert len(host.transmit()) == 45
    with refused(errno.EMSGSIZE):
        socket.send(ping(IPV4, data=bytes(65508)), (IPV4.peer, 0))


def test_an_error_about_our_request_is_told(host, family):
    socket = echo_socket(host, family)
    socket.connect(family.peer)
    socket.send(ping(family))
    [offending] = host.transmit()
    kind, code = (1, 1) if family.v6 else (3, 13)
    host.receive(icmp_error(family.stranger, kind, code, offending))
    assert host.ready() == [(socket, ERROR)]
    assert socket.error == (errno.EACCES if family.v6 else errno.EHOSTUNREACH)


def test_an_error_about_somebody_else_s_request_is_not(host, family):
    socket = echo_socket(host, family)
    socket.connect(family.peer)
    local, identifier = socket.name
    kind, code = (1, 3) if family.v6 else (3, 1)
    other_identifier = echo_message(request_type(family), identifier ^ 1, 1)
    not_a_request = echo_message(reply_type(family), identifier, 1)
    for message in (other_identifier, not_a_request):
        offending = icmp_packet(local, family.peer, message)
        host.receive(icmp_error(family.stranger, kind, code, offending))
    assert socket.error == 0
    assert host.counters["icmp_drop_error_not_ours"] == 2
    host.transmit()


def test_close_gives_the_identifier_and_the_replies_back(host, family):
    socket = echo_socket(host, family)
    socket.bind(family.ours, 77)
    host.receive(reply(family, 77))
    assert host.live == 1
    socket.close()
    assert host.live == 0
    echo_socket(host, family).bind(family.ours, 77)
