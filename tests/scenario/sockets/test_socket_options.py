"""Socket options: the kernel's numbers, defaults and errors."""

from __future__ import annotations

import errno
import socket
import struct
import sys

import pytest

import pystack

DGRAM = socket.SOCK_DGRAM
TCP, IP, IPV6 = socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.IPPROTO_IPV6
SOL = socket.SOL_SOCKET


@pytest.mark.parametrize(
    ("level", "option", "value"),
    [
        (SOL, "SO_REUSEADDR", 1),
        (SOL, "SO_KEEPALIVE", 1),
        (SOL, "SO_OOBINLINE", 1),
        (TCP, "TCP_NODELAY", 1),
        (TCP, "TCP_CORK", 1),
        (TCP, "TCP_KEEPIDLE", 77),
        (TCP, "TCP_KEEPINTVL", 7),
        (TCP, "TCP_KEEPCNT", 3),
        (TCP, "TCP_SYNCNT", 2),
        (TCP, "TCP_USER_TIMEOUT", 12345),
        (TCP, "TCP_WINDOW_CLAMP", 5000),
        (TCP, "TCP_NOTSENT_LOWAT", 5000),
        (SOL, "SO_RCVLOWAT", 1000),
        (IP, "IP_TTL", 33),
        (IP, "IP_TOS", 0x10),
        (IP, "IP_MTU_DISCOVER", 2),
    ],
)
def test_what_is_set_is_got(world, level, option, value):
    with world.fresh() as one:
        number = getattr(pystack, option)
        one.setsockopt(level, number, value)
        assert one.getsockopt(level, number) == value
        assert one.getsockopt(level, number, 4) in (struct.pack("i", value), bytes([value & 255]))
        one.setsockopt(level, number, struct.pack("i", value))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("IPV6_UNICAST_HOPS", 33),
        ("IPV6_TCLASS", 0x10),
        ("IPV6_V6ONLY", 1),
        ("IPV6_MTU_DISCOVER", 2),
    ],
)
def test_what_is_set_is_got_of_ipv6(world6, option, value):
    with world6.fresh() as one:
        number = getattr(pystack, option)
        one.setsockopt(IPV6, number, value)
        assert one.getsockopt(IPV6, number) == value


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, DGRAM])
def test_a_socket_tells_what_it_is(world, kind):
    with world.fresh(kind) as one:
        assert one.getsockopt(SOL, socket.SO_TYPE) == kind
        assert one.getsockopt(SOL, socket.SO_ERROR) == 0
        assert one.getsockopt(SOL, socket.SO_ACCEPTCONN) == 0
        assert one.getsockopt(SOL, socket.SO_DOMAIN) == socket.AF_INET
        assert one.getsockopt(SOL, socket.SO_PROTOCOL) == (TCP if kind != DGRAM else 17)
        assert one.getsockopt(SOL, socket.SO_RCVBUF) > 0
        assert one.getsockopt(SOL, socket.SO_SNDBUF) > 0


def test_a_listener_says_so(world):
    with world.listener() as listener:
        assert listener.getsockopt(SOL, socket.SO_ACCEPTCONN) == 1


def test_linger_is_a_struct(world):
    with world.fresh() as one:
        assert one.getsockopt(SOL, socket.SO_LINGER, 8) == struct.pack("ii", 0, 0)
        one.setsockopt(SOL, socket.SO_LINGER, struct.pack("ii", 1, 5))
        assert one.getsockopt(SOL, socket.SO_LINGER, 8) == struct.pack("ii", 1, 5)
        one.setsockopt(SOL, socket.SO_LINGER, struct.pack("ii", 0, 5))
        assert one.getsockopt(SOL, socket.SO_LINGER, 8)[:4] == struct.pack("i", 0)
        for value in (1, b"", b"1234"):
            with pytest.raises(OSError) as caught:
                one.setsockopt(SOL, socket.SO_LINGER, value)
            assert caught.value.errno == errno.EINVAL


def test_a_receive_buffer_can_be_chosen(world):
    for kind in (socket.SOCK_STREAM, DGRAM):
        with world.fresh(kind) as one:
            one.setsockopt(SOL, socket.SO_RCVBUF, 50_000)
            assert one.getsockopt(SOL, socket.SO_RCVBUF) >= 50_000


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, DGRAM])
@pytest.mark.parametrize(
    ("level", "option"), [(SOL, 9999), (TCP, 9999), (IP, 9999), (9999, 1), (IPV6, 9999)]
)
def test_an_unknown_option_is_refused(world, kind, level, option):
    with world.fresh(kind) as one:
        for call in (
            lambda: one.getsockopt(level, option),
            lambda: one.setsockopt(level, option, 1),
        ):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno in (errno.ENOPROTOOPT, errno.EOPNOTSUPP)


@pytest.mark.parametrize(
    ("level", "option", "value"),
    [
        (IP, "IP_TTL", 256),
        (IP, "IP_TTL", 0),
        (TCP, "TCP_KEEPIDLE", 0),
        (TCP, "TCP_KEEPCNT", 1000),
        (IP, "IP_MTU_DISCOVER", 77),
    ],
)
def test_a_value_out_of_range_is_refused(world, level, option, value):
    with world.fresh() as one:
        with pytest.raises(OSError) as caught:
            one.setsockopt(level, getattr(pystack, option), value)
        assert caught.value.errno == errno.EINVAL


def test_v6only_is_decided_before_bind(world6):
    with world6.bound() as one:
        with pytest.raises(OSError) as caught:
            one.setsockopt(IPV6, socket.IPV6_V6ONLY, 1)
        assert caught.value.errno == errno.EINVAL


def test_a_connected_socket_knows_its_path_mtu(world):
    client, _ = world.connected()
    assert client.getsockopt(IP, pystack.IP_MTU) >= 576
    with world.fresh() as one:
        with pytest.raises(OSError) as caught:
            one.getsockopt(IP, pystack.IP_MTU)
        assert caught.value.errno == errno.ENOTCONN


def test_an_accepted_connection_inherits(world):
    with world.listener() as listener, world.fresh() as client:
        listener.setsockopt(TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(SOL, socket.SO_KEEPALIVE, 1)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            assert server.getsockopt(TCP, socket.TCP_NODELAY) == 1
            assert server.getsockopt(SOL, socket.SO_KEEPALIVE) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="numbers of Linux")
def test_constants_that_python_lacks_are_linux_s():
    assert (pystack.UDP_SEGMENT, pystack.UDP_GRO, pystack.IP_PKTINFO) == (103, 104, 8)
    assert (pystack.IP_MTU_DISCOVER, pystack.IP_MTU) == (10, 14)


def test_the_bits_of_ecn_are_tcps_own(world):
    """RFC 3168 section 6.1, as Linux: an application chooses the DSCP of a stream, no more."""
    with world.fresh() as one:
        one.setsockopt(IP, pystack.IP_TOS, 0xBB)
        assert one.getsockopt(IP, pystack.IP_TOS) == 0xB8


def test_the_congestion_control_has_a_name(world):
    """tcp(7), TCP_CONGESTION: strings of at most 16 bytes; ENOENT for one that is not there."""
    with world.fresh() as one:
        if world.name != "kernel":
            assert one.getsockopt(TCP, pystack.TCP_CONGESTION, 16) == b"cubic".ljust(16, b"\0")
        one.setsockopt(TCP, pystack.TCP_CONGESTION, b"reno")
        assert one.getsockopt(TCP, pystack.TCP_CONGESTION, 16) == b"reno".ljust(16, b"\0")
        assert one.getsockopt(TCP, pystack.TCP_CONGESTION, 3) == b"ren"
        one.setsockopt(TCP, pystack.TCP_CONGESTION, b"cubic\0rest")
        for unknown in (b"vegas", b"cub", b"\xff"):
            with pytest.raises(FileNotFoundError):
                one.setsockopt(TCP, pystack.TCP_CONGESTION, unknown)
        with pytest.raises(OSError, match=r"22|Invalid"):
            one.setsockopt(TCP, pystack.TCP_CONGESTION, b"")
        assert one.getsockopt(TCP, pystack.TCP_CONGESTION, 16)[:5] == b"cubic"


def test_a_pacing_rate_has_four_bytes_or_eight(world):
    """socket(7), SO_MAX_PACING_RATE: all ones mean no limit."""
    with world.fresh() as one:
        option = pystack.SO_MAX_PACING_RATE
        assert one.getsockopt(SOL, option, 8) == b"\xff" * 8
        assert one.getsockopt(SOL, option, 4) == b"\xff" * 4
        one.setsockopt(SOL, option, 125_000)
        assert one.getsockopt(SOL, option) == 125_000
        assert one.getsockopt(SOL, option, 8) == struct.pack("q", 125_000)
        one.setsockopt(SOL, option, struct.pack("q", 1 << 40))
        assert one.getsockopt(SOL, option, 4) == b"\xff" * 4
        assert one.getsockopt(SOL, option, 8) == struct.pack("q", 1 << 40)
        one.setsockopt(SOL, option, -1)
        assert one.getsockopt(SOL, option, 8) == b"\xff" * 8
        with pytest.raises(OSError, match=r"22|Invalid"):
            one.setsockopt(SOL, option, b"\1")
