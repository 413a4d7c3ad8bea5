"""The error queue of sockets on a stack that is fed by hand."""

from __future__ import annotations

import errno
import socket
import struct

import pytest
from scenario.udp_wire import icmp_error

import pystack

SECOND = 10**9
MPLS = struct.pack("!HBBI", 8, 1, 1, 16001 << 12 | 1 << 8 | 7)


@pytest.fixture
def stack():
    with pystack.Stack("10.3.0.0/24", "fd03::/64", now=SECOND) as stack:
        yield stack


def sent(stack):
    [packet] = stack.transmit()
    return packet


def test_a_traceroute_sees_the_hop_and_its_mpls_labels(stack):
    """RFC 4884, RFC 4950; IP_RECVERR, IP_RECVERR_RFC4884, IP_RECVTTL."""
    with stack.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(pystack.IPPROTO_IP, pystack.IP_RECVERR, 1)
        probe.setsockopt(pystack.IPPROTO_IP, pystack.IP_RECVERR_RFC4884, 1)
        probe.setsockopt(pystack.IPPROTO_IP, pystack.IP_RECVTTL, 1)
        probe.setsockopt(pystack.IPPROTO_IP, pystack.IP_TTL, 1)
        probe.sendto(b"probe", ("192.0.2.7", 33434))
        quoted = sent(stack).ljust(128, b"\0")
        error = icmp_error("198.51.100.1", 11, 0, quoted + b"\x20\0\0\0" + MPLS, 32 << 16)
        stack.receive(error, SECOND)
        data, control, _, sender = probe.recvmsg(512, 512, pystack.MSG_ERRQUEUE)
        told = pystack.extended_error(control, data)
        assert told is not None
        assert (told.offender, told.type, told.errno) == ("198.51.100.1", 11, errno.EHOSTUNREACH)
        assert told.quoted[:5] == b"probe"
        assert [label.label for label in told.mpls] == [16001]
        assert sender == ("192.0.2.7", 33434)
        assert (pystack.IPPROTO_IP, pystack.IP_TTL, struct.pack("i", 64)) in control


@pytest.mark.parametrize("asks", [False, True])
def test_a_failed_connect_leaves_its_error_in_the_queue(stack, asks):
    """As Linux, of who asked for it: with the quoted TCP header."""
    with stack.socket() as client:
        client.setsockopt(pystack.IPPROTO_IP, pystack.IP_RECVERR, asks)
        assert client.getsockopt(pystack.IPPROTO_IP, pystack.IP_RECVERR) == asks
        assert client.connect_ex(("192.0.2.7", 80)) == errno.EINPROGRESS
        syn = sent(stack)
        stack.receive(icmp_error("198.51.100.1", 3, 1, syn), SECOND)
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EHOSTUNREACH
        if not asks:
            with pytest.raises(BlockingIOError):
                client.recvmsg(512, 512, pystack.MSG_ERRQUEUE)
            return
        data, control, _, sender = client.recvmsg(512, 512, pystack.MSG_ERRQUEUE)
        assert data == syn[20:]
        assert sender == ("192.0.2.7", 80)
        told = pystack.extended_error(control, data)
        assert told is not None
        assert (told.type, told.code) == (3, 1)


def test_who_looks_hears_of_a_soft_error_once(stack):
    """RFC 9293 section 3.9.2.2 (SHLD-25): the connection goes on."""
    far = pystack.Stack("192.0.2.0/24", now=SECOND)
    with far, far.create_server(("192.0.2.7", 80)), stack.socket() as client:
        client.setblocking(False)
        assert client.connect_ex(("192.0.2.7", 80)) == errno.EINPROGRESS
        far.receive(sent(stack), SECOND)
        stack.receive(sent(far), SECOND)
        far.receive(sent(stack), SECOND)
        client.send(b"x")
        stack.receive(icmp_error("198.51.100.1", 3, 1, sent(stack)), SECOND)
        errors = [client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) for _ in range(2)]
        assert errors == [errno.EHOSTUNREACH, 0]
        client.send(b"y")


def test_control_messages_that_do_not_fit_are_cut_off(stack):
    with stack.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.setsockopt(pystack.IPPROTO_IPV6, pystack.IPV6_RECVERR, 1)
        client.sendto(b"long", ("2001:db8::7", 53))
        stack.receive(icmp_error("2001:db8::8", 1, 4, sent(stack)), SECOND)
        data, control, flags, _ = client.recvmsg(2, 8, pystack.MSG_ERRQUEUE)
        assert (data, control) == (b"lo", [])
        assert flags == pystack.MSG_ERRQUEUE | socket.MSG_TRUNC | socket.MSG_CTRUNC
