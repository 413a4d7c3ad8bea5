"""Multicast options of sockets, and groups between two stacks."""

from __future__ import annotations

import errno
import select
import socket
import struct

import pytest

import pystack

DGRAM = socket.SOCK_DGRAM
GROUP, GROUP6 = "239.1.2.3", "ff0e::1:2:3"
IP, IPV6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6


def mreq(group=GROUP, interface="0.0.0.0"):
    return socket.inet_aton(group) + socket.inet_aton(interface)


def mreq6(group=GROUP6, index=0):
    return socket.inet_pton(socket.AF_INET6, group) + struct.pack("=I", index)


def storage(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    start = struct.pack("=HH", family, 0) + (bytes(4) if family == socket.AF_INET6 else b"")
    return (start + packed).ljust(128, b"\0")


def group_req(*addresses, index=0):
    """struct group_req, or with a source group_source_req."""
    return struct.pack("=I4x", index) + b"".join(map(storage, addresses))


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def family(request):
    return request.param


def receiver(pair, family):
    made = pair.near.socket(family, DGRAM)
    made.settimeout(20)
    made.bind(("", 5000))
    return made


def join_in_every_way(family):
    """Options that join a group with all of its sources."""
    if family == socket.AF_INET:
        yield IP, pystack.IP_ADD_MEMBERSHIP, mreq()
        yield IP, pystack.IP_ADD_MEMBERSHIP, mreq(interface="10.1.0.5")
        yield IP, pystack.IP_ADD_MEMBERSHIP, mreq() + struct.pack("=i", 1)
        yield IP, pystack.MCAST_JOIN_GROUP, group_req(GROUP)
    else:
        yield IPV6, pystack.IPV6_JOIN_GROUP, mreq6()
        yield IPV6, pystack.IPV6_JOIN_GROUP, mreq6(index=1)
        yield IPV6, pystack.MCAST_JOIN_GROUP, group_req(GROUP6)


def test_a_group_spans_stacks(pair, family):
    """RFC 1112, RFC 3493 section 5.2, RFC 3678: each way to join has the same effect."""
    group = GROUP if family == socket.AF_INET else GROUP6
    for option in join_in_every_way(family):
        with receiver(pair, family) as hears, pair.far.socket(family, DGRAM) as speaks:
            hears.setsockopt(*option)
            speaks.sendto(b"hello", (group, 5000))
            data, sender = hears.recvfrom(100)
            assert data == b"hello"
            assert sender[1] == speaks.getsockname()[1]


def test_sources_are_heard_as_asked_for(pair):
    with receiver(pair, socket.AF_INET) as hears, pair.far.socket(type=DGRAM) as speaks:
        speaks.bind(("10.2.0.9", 0))
        source = socket.inet_aton(GROUP) + bytes(4) + socket.inet_aton("10.2.0.9")
        hears.setsockopt(IP, pystack.IP_ADD_MEMBERSHIP, mreq())
        for block, unblock, value in [
            (pystack.IP_BLOCK_SOURCE, pystack.IP_UNBLOCK_SOURCE, source),
            (
                pystack.MCAST_BLOCK_SOURCE,
                pystack.MCAST_UNBLOCK_SOURCE,
                group_req(GROUP, "10.2.0.9"),
            ),
        ]:
            hears.setsockopt(IP, block, value)
            speaks.sendto(b"blocked", (GROUP, 5000))
            assert select.select([hears], [], [], 0.1)[0] == []
            hears.setsockopt(IP, unblock, value)
            speaks.sendto(b"heard", (GROUP, 5000))
            assert hears.recv(100) == b"heard"
        hears.setsockopt(IP, pystack.IP_DROP_MEMBERSHIP, mreq())
        hears.setsockopt(IP, pystack.IP_ADD_SOURCE_MEMBERSHIP, source)
        speaks.sendto(b"again", (GROUP, 5000))
        assert hears.recv(100) == b"again"
        hears.setsockopt(IP, pystack.IP_DROP_SOURCE_MEMBERSHIP, source)
        speaks.sendto(b"left", (GROUP, 5000))
        assert select.select([hears], [], [], 0.1)[0] == []


@pytest.fixture
def stack():
    with pystack.Stack("10.3.0.0/24", "fd03::/64", now=10**9) as stack:
        yield stack


def test_options_have_the_values_of_linux(stack):
    """ip(7), ipv6(7): what is set can be read; a byte does as well as an int."""
    with stack.socket(type=DGRAM) as one:
        for option, first, second in [
            (pystack.IP_MULTICAST_TTL, 1, 32),
            (pystack.IP_MULTICAST_LOOP, 1, 0),
            (pystack.IP_MULTICAST_ALL, 1, 0),
        ]:
            assert one.getsockopt(IP, option) == first
            one.setsockopt(IP, option, second)
            assert one.getsockopt(IP, option) == second
        one.setsockopt(IP, pystack.IP_MULTICAST_TTL, struct.pack("b", 7))
        assert one.getsockopt(IP, pystack.IP_MULTICAST_TTL) == 7
        one.setsockopt(IP, pystack.IP_MULTICAST_TTL, -1)
        assert one.getsockopt(IP, pystack.IP_MULTICAST_TTL) == 1
        one.setsockopt(IP, pystack.IP_MULTICAST_IF, socket.inet_aton("10.3.0.7"))
        assert one.getsockopt(IP, pystack.IP_MULTICAST_IF, 4) == socket.inet_aton("10.3.0.7")
        one.sendto(b"x", (GROUP, 5000))
        [packet] = stack.transmit()
        assert packet[12:16] == socket.inet_aton("10.3.0.7")
    with stack.socket(socket.AF_INET6, DGRAM) as one:
        for option, first, second in [
            (pystack.IPV6_MULTICAST_HOPS, 1, 32),
            (pystack.IPV6_MULTICAST_LOOP, 1, 0),
            (pystack.IPV6_MULTICAST_ALL, 1, 0),
            (pystack.IPV6_MULTICAST_IF, 0, 1),
        ]:
            assert one.getsockopt(IPV6, option) == first
            one.setsockopt(IPV6, option, second)


@pytest.mark.parametrize(
    ("kind", "level", "option", "value", "number"),
    [
        ("udp", IP, "IP_MULTICAST_TTL", 256, errno.EINVAL),
        ("udp", IP, "IP_MULTICAST_ALL", 2, errno.EINVAL),
        ("udp", IP, "IP_MULTICAST_IF", socket.inet_aton("192.0.2.1"), errno.EADDRNOTAVAIL),
        ("udp", IP, "IP_ADD_MEMBERSHIP", mreq()[:7], errno.EINVAL),
        ("udp", IP, "IP_ADD_MEMBERSHIP", mreq("10.3.0.5"), errno.EINVAL),
        ("udp", IP, "IP_ADD_MEMBERSHIP", mreq(interface="192.0.2.1"), errno.ENODEV),
        ("udp", IP, "IP_ADD_MEMBERSHIP", mreq() + struct.pack("=i", 9), errno.ENODEV),
        ("udp", IP, "IP_DROP_MEMBERSHIP", mreq(), errno.EADDRNOTAVAIL),
        ("udp", IP, "MCAST_JOIN_GROUP", group_req(GROUP6), errno.EADDRNOTAVAIL),
        ("udp", IP, "MCAST_JOIN_GROUP", group_req(GROUP, index=7), errno.ENODEV),
        ("udp", IPV6, "IPV6_JOIN_GROUP", mreq6(), errno.ENOPROTOOPT),
        ("udp6", IPV6, "IPV6_JOIN_GROUP", mreq6(index=7), errno.ENODEV),
        ("udp6", IPV6, "IPV6_MULTICAST_IF", 7, errno.ENODEV),
        ("udp6", IPV6, "IPV6_MULTICAST_LOOP", 2, errno.EINVAL),
        ("tcp", IP, "IP_ADD_MEMBERSHIP", mreq(), errno.EPROTO),
    ],
)
def test_what_cannot_be_is_refused_as_by_linux(stack, kind, level, option, value, number):
    family = socket.AF_INET6 if kind == "udp6" else socket.AF_INET
    with stack.socket(family, socket.SOCK_STREAM if kind == "tcp" else DGRAM) as one:
        with pytest.raises(OSError) as refused:
            one.setsockopt(level, getattr(pystack, option), value)
        assert refused.value.errno == number


def test_reports_leave_with_the_call(stack):
    """RFC 3376 section 5.1: at once; repeated in the stack's own time."""
    with stack.socket(type=DGRAM) as one:
        one.setsockopt(IP, pystack.IP_ADD_MEMBERSHIP, mreq())
        [report] = stack.transmit()
        assert report[16:20] == socket.inet_aton("224.0.0.22")
        deadline = stack.deadline
        assert deadline is not None
        assert deadline <= 2 * 10**9
        stack.poll(deadline)
        assert len(stack.transmit()) == 1


def group_filter(group, mode, *sources):
    """struct group_filter."""
    start = struct.pack("=I4x", 0) + storage(group) + struct.pack("=II", mode, len(sources))
    return start + b"".join(map(storage, sources))


@pytest.mark.parametrize("mode", [0, 1])
def test_a_filter_replaces_the_sources_of_a_membership(pair, family, mode):
    """RFC 3678 sections 4.1.3 and 5.1.3: INCLUDE these, or EXCLUDE them."""
    v4 = family == socket.AF_INET
    level, group = (IP, GROUP) if v4 else (IPV6, GROUP6)
    ours, other = ("10.2.0.9", "10.2.0.8") if v4 else ("fd02::9", "fd02::8")
    with receiver(pair, family) as hears, pair.far.socket(family, DGRAM) as speaks:
        speaks.bind((ours, 0))
        hears.setsockopt(level, pystack.MCAST_JOIN_GROUP, group_req(group))
        for sources, heard in (((ours,), mode == 1), ((other,), mode == 0), ((ours, other), mode)):
            value = group_filter(group, mode, *sources)
            hears.setsockopt(level, pystack.MCAST_MSFILTER, value)
            speaks.sendto(b"hello", (group, 5000))
            assert bool(select.select([hears], [], [], 5 if heard else 0.05)[0]) == bool(heard)
            if heard:
                assert hears.recv(100) == b"hello"
        wrong = group_filter("ff0e::1" if v4 else "239.1.1.1", mode, ours)
        with pytest.raises(OSError) as caught:
            hears.setsockopt(level, pystack.MCAST_MSFILTER, wrong)
        assert caught.value.errno == errno.EADDRNOTAVAIL
