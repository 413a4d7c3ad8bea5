"""Claims about ICMP errors: which socket hears of them, and what they change."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenario.udp_wire import (
    FAMILIES,
    IPV4,
    family_name,
    icmp_error,
    refused,
    running_host,
    udp_packet,
)

ERROR = 0x04
DONT, DO = 0, 2  # IP_PMTUDISC_*
# type, code: IPv4, then IPv6
PORT_UNREACHABLE = (3, 3), (1, 4)
HOST_UNREACHABLE = (3, 1), (1, 3)
PROHIBITED = (3, 13), (1, 1)
TOO_BIG = (3, 4), (2, 0)
TIME_EXCEEDED = (11, 0), (3, 0)
PARAMETER = (12, 0), (4, 0)
HOST_PROHIBITED = (3, 10), (1, 9)  # IPv6: a code that RFC 4443 does not know
# And what Linux makes of them.
PASSING = [
    (HOST_UNREACHABLE, (errno.EHOSTUNREACH, errno.EHOSTUNREACH)),
    (TIME_EXCEEDED, (errno.EHOSTUNREACH, errno.EHOSTUNREACH)),
    (((3, 0), (1, 0)), (errno.ENETUNREACH, errno.ENETUNREACH)),
    (((3, 5), (1, 2)), (errno.EOPNOTSUPP, errno.EHOSTUNREACH)),
    (((3, 11), (1, 0)), (errno.ENETUNREACH, errno.ENETUNREACH)),
    (((3, 12), (1, 3)), (errno.EHOSTUNREACH, errno.EHOSTUNREACH)),
]


@pytest.fixture
def host():
    with running_host() as host:
        yield host


@pytest.fixture(params=FAMILIES, ids=family_name)
def family(request):
    return request.param


def connected(host, family, **options):
    socket = host.socket(v6=family.v6).set(**options)
    socket.bind(family.ours, 5000)
    socket.connect(family.peer, 53)
    return socket


def unconnected(host, family, **options):
    socket = host.socket(v6=family.v6).set(**options)
    socket.bind(family.any, 5000)
    return socket


def answer_by(host, family, error, word=0, reporter=None):
    """The network answers the packet that was just sent by an ICMP error."""
    [offending] = host.transmit()
    kind, code = error[family.v6]
    host.receive(icmp_error(reporter or family.stranger, kind, code, offending, word))


def test_a_refused_datagram_is_told_to_the_connected_socket(host, family):
    """RFC 1122 section 4.1.3.3."""
    socket = connected(host, family)
    socket.send(b"?")
    answer_by(host, family, PORT_UNREACHABLE, reporter=family.peer)
    assert host.ready() == [(socket, ERROR)]
    assert socket.error == errno.ECONNREFUSED
    assert host.counters["udp_errors_delivered"] == 1


def test_the_next_send_reports_the_error_and_takes_it(host, family):
    socket = connected(host, family)
    socket.send(b"?")
    answer_by(host, family, PORT_UNREACHABLE)
    with refused(errno.ECONNREFUSED):
        socket.send(b"?")
    assert host.transmit() == []
    assert socket.send(b"?") == 1
    assert len(host.transmit()) == 1


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (PROHIBITED, (errno.EHOSTUNREACH, errno.EACCES)),
        (PARAMETER, (errno.EPROTO, errno.EPROTO)),
        (HOST_PROHIBITED, (errno.EHOSTUNREACH, errno.EPROTO)),
    ],
)
def test_other_errors_are_told_to_the_connected_socket_too(host, family, error, number):
    """RFC 1122 section 4.1.3.3."""
    socket = connected(host, family)
    socket.send(b"?")
    answer_by(host, family, error)
    assert socket.error == number[family.v6]


@pytest.mark.parametrize(("error", "number"), PASSING)
def test_what_may_pass_is_told_to_who_asks_for_all_errors(host, family, error, number):
    """IP_RECVERR, as Linux: traceroute hears of Time Exceeded, others do not."""
    socket = connected(host, family, ttl=1)
    socket.send(b"?")
    answer_by(host, family, error)
    assert socket.error == 0
    assert host.ready() == []
    socket.set(report_errors=True).send(b"?")
    answer_by(host, family, error)
    assert socket.error == number[family.v6]


def test_an_unconnected_socket_hears_of_errors_if_it_asks_for_them(host, family):
    socket = unconnected(host, family)
    socket.send(b"?", (family.peer, 53))
    answer_by(host, family, PORT_UNREACHABLE)
    assert socket.error == 0
    assert "icmp_drop_error_not_ours" not in host.counters
    socket.set(report_errors=True).send(b"?", (family.peer, 53))
    answer_by(host, family, PORT_UNREACHABLE)
    assert socket.error == errno.ECONNREFUSED


def test_an_error_about_what_we_never_sent_is_dropped(host, family):
    """design.md section 8, issue 2: only errors about something that we really sent."""
    socket = connected(host, family, report_errors=True)
    kind, code = PORT_UNREACHABLE[family.v6]
    never_sent = [
        udp_packet(family.ours, 5001, family.peer, 53),
        udp_packet(family.ours, 5000, family.peer, 54),
        udp_packet(family.ours, 5000, family.stranger, 53),
        udp_packet(family.second, 5000, family.peer, 53),
    ]
    for offending in never_sent:
        host.receive(icmp_error(family.peer, kind, code, offending))
    assert host.counters["icmp_drop_error_not_ours"] == len(never_sent)
    assert socket.error == 0


@pytest.mark.parametrize("open_socket", [connected, unconnected])
def test_too_big_lowers_the_path_mtu(host, family, open_socket):
    """RFC 1191 section 6.2, RFC 8201 section 5.4."""
    socket = open_socket(host, family)
    socket.send(bytes(1400), (family.peer, 53))
    answer_by(host, family, TOO_BIG, word=1300)
    assert host.path_mtu(family.ours, family.peer) == 1300
    assert socket.error == (errno.EMSGSIZE if open_socket is connected else 0)


def test_too_big_is_not_told_to_who_does_not_discover_the_path_mtu(host, family):
    """IP_PMTUDISC_DONT."""
    socket = connected(host, family, mtu_discover=DONT)
    socket.send(bytes(1200))
    answer_by(host, family, TOO_BIG, word=1280)
    assert socket.error == 0
    assert host.ready() == []


def test_too_big_is_told_to_who_forbids_fragments(host, family):
    """IP_PMTUDISC_DO."""
    socket = connected(host, family, mtu_discover=DO)
    socket.send(bytes(1400))
    answer_by(host, family, TOO_BIG, word=1300)
    assert socket.error == errno.EMSGSIZE
    with refused(errno.EMSGSIZE):
        socket.send(bytes(1))
    with refused(errno.EMSGSIZE):
        socket.send(bytes(1400))
    socket.send(bytes(1300 - (48 if family.v6 else 28)))
    assert len(host.transmit()) == 1


def test_too_big_about_what_we_never_sent_changes_nothing(host, family):
    """RFC 8201 section 4; RFC 5927 section 4.1 for TCP says why."""
    kind, code = TOO_BIG[family.v6]
    offending = udp_packet(family.ours, 5000, family.peer, 53)
    host.receive(icmp_error(family.stranger, kind, code, offending, 1300))
    assert host.path_mtu(family.ours, family.peer) == 1500
    assert host.counters["icmp_drop_error_not_ours"] == 1


def test_errors_find_the_ipv6_socket_that_speaks_ipv4(host):
    """RFC 3493 section 3.7."""
    socket = host.socket(v6=True)
    socket.connect(f"::ffff:{IPV4.peer}", 53)
    socket.send(b"?")
    answer_by(host, IPV4, PORT_UNREACHABLE)
    assert socket.error == errno.ECONNREFUSED


def test_a_port_that_nobody_has_refuses_our_own_datagrams_too(host, family):
    socket = host.socket(v6=family.v6)
    socket.connect(family.second, 53)
    socket.send(b"?")
    assert [(s, events) for s, events in host.ready()] == [(socket, ERROR)]
    assert socket.error == errno.ECONNREFUSED


@given(
    kind=st.integers(0, 255),
    code=st.integers(0, 16),
    word=st.integers(0, 2**32 - 1),
    cut=st.integers(0, 12),
    garbage=st.binary(max_size=40),
)
@pytest.mark.parametrize("family", FAMILIES, ids=family_name)
def test_quoted_garbage_does_no_harm(family, kind, code, word, cut, garbage):
    with running_host() as host:
        socket = connected(host, family, report_errors=True)
        socket.send(b"?")
        [offending] = host.transmit()
        quoted = offending[: (40 if family.v6 else 20) + cut] + garbage
        host.receive(icmp_error(family.peer, kind, code, quoted, word))
        host.transmit()
        while socket.take_report():
            pass
        assert host.live == 0
