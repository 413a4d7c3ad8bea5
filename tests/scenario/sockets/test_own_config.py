"""TcpConfig of single sockets; options that only packets or recvmsg show."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import dpkt
import pytest

import pystack
from pystack import Stack, TcpConfig

TCP = socket.IPPROTO_TCP
SECOND = 1_000_000_000
PLAIN = TcpConfig(timestamps=0, sack=False, window_scaling=False, advertised_mss=700)
KINDS = {dpkt.tcp.TCP_OPT_MSS, dpkt.tcp.TCP_OPT_SACKOK, dpkt.tcp.TCP_OPT_TIMESTAMP}


@pytest.fixture
def stack() -> Iterator[Stack]:
    with Stack("10.0.0.0/24", seed=1, now=0) as one:
        yield one


def segments(stack: Stack) -> list[dpkt.tcp.TCP]:
    return [dpkt.ip.IP(packet).data for packet in stack.transmit()]


def options_of(segment: dpkt.tcp.TCP) -> dict[int, bytes]:
    return dict(dpkt.tcp.parse_opts(segment.opts))


def begin(sock: pystack.Socket) -> None:
    with suppress(BlockingIOError):
        sock.connect(("192.0.2.1", 80))


def syn_to(stack: Stack, port: int, flags: int = dpkt.tcp.TH_SYN, ttl: int = 64, **fields) -> None:
    """A segment from outside to 10.0.0.1:80."""
    fields = {"seq": 0} | fields
    tcp = dpkt.tcp.TCP(sport=port, dport=80, flags=flags, win=60000, **fields)
    tcp.off = 5 + len(fields.get("opts", b"")) // 4
    packet = dpkt.ip.IP(
        src=socket.inet_aton("192.0.2.1"), dst=socket.inet_aton("10.0.0.1"), p=6, ttl=ttl, data=tcp
    )
    packet.len = len(packet)
    stack.receive(bytes(packet))


def listener(stack: Stack, tcp: TcpConfig | None = None) -> pystack.Socket:
    sock = stack.socket(tcp=tcp)
    sock.bind(("10.0.0.1", 80))
    return sock


def test_a_socket_may_have_a_configuration_of_its_own(stack):
    with stack.socket(tcp=PLAIN) as own, stack.socket() as usual:
        begin(own)
        begin(usual)
        first, second = segments(stack)
        assert options_of(first) == {dpkt.tcp.TCP_OPT_MSS: struct.pack(">H", 700)}
        assert options_of(second).keys() >= KINDS


def test_a_listeners_configuration_is_that_of_its_connections(stack):
    syn = struct.pack(">BBHBB", 2, 4, 1460, 4, 2) + b"\1\1"
    with listener(stack, PLAIN) as server:
        server.listen()
        syn_to(stack, 5000, opts=syn)
        (answer,) = segments(stack)
        assert options_of(answer) == {dpkt.tcp.TCP_OPT_MSS: struct.pack(">H", 700)}
        syn_to(stack, 5000, dpkt.tcp.TH_ACK, seq=1, ack=answer.seq + 1)
        conn, _ = server.accept()
        with conn:
            # What one of them changes is its own.
            conn.setsockopt(TCP, pystack.TCP_RTO_MAX_MS, 5000)
            assert server.getsockopt(TCP, pystack.TCP_RTO_MAX_MS) == 120_000


def test_retransmissions_follow_a_sockets_own_configuration(stack):
    """RFC 6298 section 5.7 and the number of attempts."""
    quick = TcpConfig(rto_initial=0.1, syn_linear_timeouts=0, syn_retries=2)
    with stack.socket(tcp=quick) as own:
        begin(own)
        times = []
        while stack.deadline is not None and len(times) < 10:
            times += [stack.deadline] * len(segments(stack))
            if stack.deadline is not None:
                stack.poll(stack.deadline)
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ETIMEDOUT
        assert len(times) == 3


def test_settings_begin_anew_with_a_configuration(stack):
    with stack.socket() as one:
        one.setsockopt(TCP, socket.TCP_KEEPIDLE, 11)
        one.setsockopt(TCP, socket.TCP_NODELAY, 1)
        one.configure(TcpConfig(keepalive_time=99, congestion_control="reno"))
        assert one.getsockopt(TCP, socket.TCP_KEEPIDLE) == 99
        assert one.getsockopt(TCP, socket.TCP_NODELAY) == 1
        assert one.getsockopt(TCP, socket.TCP_CONGESTION, 16).startswith(b"reno\0")


def test_a_socket_that_has_begun_cannot_be_configured(stack):
    with listener(stack) as server:
        server.listen()
        with pytest.raises(OSError) as caught:
            server.configure(PLAIN)
        assert caught.value.errno == errno.EISCONN
    with stack.socket(type=socket.SOCK_DGRAM) as one, pytest.raises(OSError) as caught:
        one.configure(PLAIN)
    assert caught.value.errno == errno.EOPNOTSUPP


def test_the_stacks_configuration_reaches_sockets_that_have_none_of_their_own(stack):
    with stack.socket() as usual, stack.socket(tcp=PLAIN) as own:
        stack.configure(TcpConfig(rto_max=10))
        assert usual.getsockopt(TCP, pystack.TCP_RTO_MAX_MS) == 10_000
        assert own.getsockopt(TCP, pystack.TCP_RTO_MAX_MS) == 120_000


def test_disconnect_keeps_the_configuration(stack):
    with stack.socket(tcp=PLAIN) as own:
        begin(own)
        own.disconnect()
        segments(stack)
        begin(own)
        (syn,) = segments(stack)
        assert options_of(syn).keys() == {dpkt.tcp.TCP_OPT_MSS}


# Options that need a look at packets or at what recvmsg tells


def opened(stack: Stack, server: pystack.Socket, port: int = 5000) -> tuple[pystack.Socket, int]:
    """A connection from outside, and what to acknowledge."""
    syn_to(stack, port)
    (answer,) = segments(stack)
    syn_to(stack, port, dpkt.tcp.TH_ACK, seq=1, ack=answer.seq + 1)
    return server.accept()[0], answer.seq + 1


def test_what_is_left_to_read_is_told_with_what_was_read(stack):
    """TCP_INQ, inherited; the end of the stream is worth another read."""
    with listener(stack) as server:
        server.setsockopt(TCP, pystack.TCP_INQ, 1)
        server.listen()
        conn, ack = opened(stack, server)
        with conn:
            assert conn.getsockopt(TCP, pystack.TCP_INQ) == 1
            syn_to(stack, 5000, dpkt.tcp.TH_ACK, seq=1, ack=ack, data=b"0123456789")
            for left in (6, 2):
                data, messages, flags, _ = conn.recvmsg(4, 64)
                assert (len(data), flags) == (4, 0)
                assert messages == [(TCP, pystack.TCP_INQ, struct.pack("i", left))]
            assert conn.recvmsg(1, 0)[2] == socket.MSG_CTRUNC
            syn_to(stack, 5000, dpkt.tcp.TH_ACK | dpkt.tcp.TH_FIN, seq=11, ack=ack)
            assert conn.recvmsg(1, 64)[1][0][2] == struct.pack("i", 1)
            conn.setsockopt(TCP, pystack.TCP_INQ, 0)
            assert conn.recvmsg(1, 64)[1] == []


def test_the_headers_of_a_syn_are_kept_and_told_once(stack):
    with listener(stack) as server:
        server.setsockopt(TCP, pystack.TCP_SAVE_SYN, 1)
        server.listen()
        conn, _ = opened(stack, server)
        with conn:
            headers = conn.getsockopt(TCP, pystack.TCP_SAVED_SYN, 100)
            ip = dpkt.ip.IP(headers)
            assert (len(headers), ip.data.sport, ip.data.flags) == (40, 5000, dpkt.tcp.TH_SYN)
            assert conn.getsockopt(TCP, pystack.TCP_SAVED_SYN, 100) == b""
        segments(stack)  # of its end
        server.setsockopt(TCP, pystack.TCP_SAVE_SYN, 0)
        other, _ = opened(stack, server, 5001)
        with other:
            assert other.getsockopt(TCP, pystack.TCP_SAVED_SYN, 100) == b""


def test_segments_that_came_too_far_are_not_heard(stack):
    """IP_MINTTL (RFC 5082): of a connection, and of a listener."""
    with listener(stack) as server:
        server.setsockopt(socket.IPPROTO_IP, pystack.IP_MINTTL, 255)
        server.listen()
        syn_to(stack, 5000, ttl=254)
        assert segments(stack) == []
        syn_to(stack, 5000, ttl=255)
        (answer,) = segments(stack)
        ack = {"seq": 1, "ack": answer.seq + 1}
        syn_to(stack, 5000, dpkt.tcp.TH_ACK, ttl=254, **ack)
        with pytest.raises(BlockingIOError):
            server.accept()
        syn_to(stack, 5000, dpkt.tcp.TH_ACK, ttl=255, **ack)
        server.accept()[0].close()
    assert stack.counters()["tcp_drop_ttl"] == 2


def test_a_port_can_be_chosen_when_the_peer_is_known(stack):
    """IP_BIND_ADDRESS_NO_PORT, as Linux."""
    with stack.socket() as one, stack.socket() as server:
        for sock in (one, server):
            sock.setsockopt(socket.IPPROTO_IP, pystack.IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind(("10.0.0.9", 0))
            assert sock.getsockname() == ("10.0.0.9", 0)
        begin(one)
        name = one.getsockname()
        assert name[0] == "10.0.0.9"
        assert name[1]
        server.listen()
        assert server.getsockname()[0] == "10.0.0.9"
        assert server.getsockname()[1]
