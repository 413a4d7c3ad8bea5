"""Claims about the error queue of datagram sockets (IP_RECVERR), and ICMP extensions in it."""

from __future__ import annotations

import errno
import struct

import dpkt
import pytest
from scenario.udp_wire import FAMILIES, echo_message, family_name, icmp_error, refused, running_host

READ, ERROR = 0x01, 0x04
DO = 2  # IP_PMTUDISC_DO
LOCAL, ICMP, ICMP6 = 1, 2, 3  # SO_EE_ORIGIN_*
PORT_UNREACHABLE = (3, 3), (1, 4)
TIME_EXCEEDED = (11, 0), (3, 0)
PARAMETER = (12, 0), (4, 0)
TOO_BIG = (3, 4), (2, 0)
MPLS = struct.pack("!I", 16001 << 12 | 5 << 9 | 1 << 8 | 3)


@pytest.fixture
def host():
    with running_host() as host:
        yield host


@pytest.fixture(params=FAMILIES, ids=family_name)
def family(request):
    return request.param


def asking(host, family, **options):
    socket = host.socket(v6=family.v6).set(report_errors=True, **options)
    socket.bind(family.ours, 5000)
    return socket


def answer_by(host, family, error, word=0, extension=b"", cut=None):
    """The network answers what was just sent by an error, with extensions if there are any."""
    [offending] = host.transmit()
    kind, code = error[family.v6]
    quoted = offending[:cut]
    if extension:
        quoted = offending[:128].ljust(128, b"\0")
        word |= 16 << 24 if family.v6 else 32 << 16
    host.receive(icmp_error(family.stranger, kind, code, quoted + extension, word))


def structure(objects, version=2):
    head = bytes([version << 4, 0, 0, 0])
    checksum = dpkt.in_cksum(head + objects)
    return head[:2] + struct.pack("!H", checksum) + objects


def extension_object(data, class_number=1, kind=1):
    return struct.pack("!HBB", 4 + len(data), class_number, kind) + data


def test_a_report_says_what_came_back_and_about_what(host, family):
    """Linux's struct sock_extended_err; RFC 1122 section 4.1.3.3."""
    socket = asking(host, family)
    socket.send(b"what was sent", (family.peer, 53))
    answer_by(host, family, PORT_UNREACHABLE)
    report = socket.take_report()
    assert report.data == b"what was sent"
    assert (report.remote, report.port, report.offender) == (family.peer, 53, family.stranger)
    assert report.error == errno.ECONNREFUSED
    assert report.origin == (ICMP6 if family.v6 else ICMP)
    assert (report.type, report.code) == PORT_UNREACHABLE[family.v6]
    assert (report.info, report.extension_at) == (0, 0)
    assert socket.take_report() is None


def test_reports_keep_their_order(host, family):
    socket = asking(host, family)
    for error in (TIME_EXCEEDED, PORT_UNREACHABLE):
        host.transmit()
        with_error = socket.error
        if with_error:
            with refused(with_error):
                socket.send(b"?", (family.peer, 53))
        socket.send(b"?", (family.peer, 53))
        answer_by(host, family, error)
    types = [socket.take_report().type for _ in range(2)]
    assert types == [TIME_EXCEEDED[family.v6][0], PORT_UNREACHABLE[family.v6][0]]


def test_without_asking_nothing_is_kept(host, family):
    socket = host.socket(v6=family.v6)
    socket.connect(family.peer, 53)
    socket.send(b"?")
    answer_by(host, family, PORT_UNREACHABLE)
    assert socket.error == errno.ECONNREFUSED
    assert socket.take_report() is None


def test_an_echo_request_is_kept_with_its_header(host, family):
    protocol, kind = (58, 128) if family.v6 else (1, 8)
    socket = host.socket(protocol, family.v6).set(report_errors=True)
    socket.bind(family.ours, 77)
    socket.send(echo_message(kind, 0, 5, b"ping"), (family.peer, 0))
    answer_by(host, family, TIME_EXCEEDED)
    report = socket.take_report()
    assert report.data[:1] == bytes([kind])
    assert report.data[4:] == struct.pack("!HH", 77, 5) + b"ping"
    assert report.port == 0


@pytest.mark.parametrize(("error", "told4", "told6"), [(TOO_BIG, 1400, 1400), (PARAMETER, 0, 9)])
def test_a_report_carries_the_second_word(host, family, error, told4, told6):
    """As Linux: of ICMP an MTU or a pointer, of ICMPv6 whatever is there."""
    socket = asking(host, family)
    socket.send(bytes(1400), (family.peer, 53))
    answer_by(host, family, error, told6 if family.v6 else told4, cut=100)
    assert socket.take_report().info == (told6 if family.v6 else told4)


def test_extensions_are_found_behind_the_quoted_packet(host, family):
    """RFC 4884 section 4; RFC 4950: an MPLS label stack."""
    socket = asking(host, family, report_extensions=True)
    extension = structure(extension_object(MPLS) + extension_object(b"name", 2, 9))
    socket.send(b"x" * 10, (family.peer, 53))
    answer_by(host, family, TIME_EXCEEDED, extension=extension)
    report = socket.take_report()
    headers = (40 if family.v6 else 20) + 8
    assert report.extension_at == 128 - headers
    assert not report.invalid
    assert report.data[report.extension_at :] == extension
    assert report.data[:10] == b"x" * 10


def test_extensions_are_pointed_out_to_who_asks_only(host, family):
    """IP_RECVERR_RFC4884."""
    socket = asking(host, family)
    socket.send(b"x" * 10, (family.peer, 53))
    answer_by(host, family, TIME_EXCEEDED, extension=structure(extension_object(MPLS)))
    assert socket.take_report().extension_at == 0


@pytest.mark.parametrize(
    ("extension", "invalid"),
    [
        (structure(extension_object(MPLS)), False),
        (structure(b""), False),
        (b"\x20\0\0\0" + extension_object(MPLS), False),  # 0: no checksum
        (b"\x20\0\1\1" + extension_object(MPLS), True),
        (structure(b"\0\x03\1\1"), True),  # shorter than its own header
        (structure(b"\0\x09\1\1abcd"), True),  # longer than what is there
        (structure(extension_object(MPLS) + b"\0"), True),
        (b"\x10\0\0\0garbage", False),  # of another version: not judged
    ],
)
def test_broken_extensions_are_said_to_be_so(host, family, extension, invalid):
    """RFC 4884 section 7."""
    socket = asking(host, family, report_extensions=True)
    socket.send(b"?", (family.peer, 53))
    answer_by(host, family, TIME_EXCEEDED, extension=extension)
    report = socket.take_report()
    assert report.extension_at == 128 - 8 - (40 if family.v6 else 20)
    assert report.invalid == invalid


def test_a_length_of_less_than_128_is_no_extension(host, family):
    """RFC 4884 section 4.2: the quoted packet has at least 128 bytes."""
    socket = asking(host, family, report_extensions=True)
    socket.send(bytes(200), (family.peer, 53))
    [offending] = host.transmit()
    kind, code = TIME_EXCEEDED[family.v6]
    word = 8 << 24 if family.v6 else 16 << 16
    message = offending[:64] + structure(extension_object(MPLS))
    host.receive(icmp_error(family.stranger, kind, code, message, word))
    assert socket.take_report().extension_at == 0


def test_the_queue_is_bounded_by_the_receive_buffer(host, family):
    socket = asking(host, family, queue_limit=4000)
    sent = 0
    for _ in range(40):
        try:
            socket.send(bytes(100), (family.peer, 53))
        except OSError:
            socket.send(bytes(100), (family.peer, 53))
        answer_by(host, family, TIME_EXCEEDED)
        sent += 1
    kept = 0
    while socket.take_report():
        kept += 1
    assert 4 <= kept < sent


def test_a_datagram_that_may_not_be_cut_reports_the_path_mtu(host, family):
    """IP_PMTUDISC_DO; Linux's ip_local_error, which tracepath relies on."""
    socket = asking(host, family, mtu_discover=DO)
    with refused(errno.EMSGSIZE):
        socket.send(bytes(1600), (family.peer, 53))
    report = socket.take_report()
    assert (report.error, report.origin, report.info) == (errno.EMSGSIZE, LOCAL, 1500)
    assert (report.remote, report.port) == (family.peer, 53)
    assert socket.error == 0


def test_what_is_never_read_goes_with_the_socket(host, family):
    socket = asking(host, family)
    socket.send(b"?", (family.peer, 53))
    answer_by(host, family, PORT_UNREACHABLE)
    socket.close()
