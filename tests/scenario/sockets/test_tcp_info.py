"""TCP_INFO: the bytes of Linux's struct, and the dataclass."""

from __future__ import annotations

import errno
import socket

import pytest

from pystack import TcpInfo

ESTABLISHED, CLOSE, LISTEN = 1, 7, 10
IPPROTO_TCP, TCP_INFO = 6, 11


def info(one: socket.socket) -> TcpInfo:
    return TcpInfo.from_bytes(one.getsockopt(IPPROTO_TCP, TCP_INFO, 512))


def test_the_bytes_and_the_dataclass_say_the_same(stack_world):
    client, server = stack_world.connected()
    with client, server:
        data = client.getsockopt(IPPROTO_TCP, TCP_INFO, 512)
        assert len(data) == 248
        assert TcpInfo.from_bytes(data).snd_mss == client.tcp_info().snd_mss > 500


def test_a_connection_tells_what_it_has_sent_and_received(world):
    client, server = world.connected()
    with client, server:
        client.sendall(bytes(3000))
        assert server.recv(3000, socket.MSG_WAITALL)
        sent, received = info(client), info(server)
    assert sent.state == received.state == ESTABLISHED
    assert sent.ca_state == 0
    # Where the machine is busy, a probe for tail loss may have sent the last segment again.
    assert sent.bytes_sent - sent.bytes_retrans == received.bytes_received == 3000
    assert 0 <= sent.data_segs_out - received.data_segs_in <= sent.total_retrans
    assert sent.lost == 0
    assert sent.snd_cwnd >= 10
    assert sent.options & 7 == 7  # timestamps, SACK, window scaling


def test_a_listener_tells_its_queue(world):
    with world.listener(backlog=5) as listener:
        told = info(listener)
    assert (told.state, told.unacked, told.sacked) == (LISTEN, 0, 5)


def test_a_connection_in_time_wait_that_is_held_is_closed(world):
    client, server = world.connected()
    with client, server:
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        server.close()
        assert client.recv(1) == b""
        assert info(client).state == CLOSE


def test_a_datagram_socket_has_none(world):
    with world.bound(socket.SOCK_DGRAM) as datagrams, pytest.raises(OSError) as caught:
        datagrams.getsockopt(IPPROTO_TCP, TCP_INFO, 512)
    assert caught.value.errno in (errno.ENOPROTOOPT, errno.EOPNOTSUPP)


def test_fewer_bytes_are_the_first_ones(world):
    client, server = world.connected()
    with client, server:
        assert client.getsockopt(IPPROTO_TCP, TCP_INFO, 8)[0] == ESTABLISHED


def test_msg_more_holds_back_until_more_comes(stack_world):
    """tcp(7): as TCP_CORK, for this call."""
    client, server = stack_world.connected()
    with client, server:
        client.send(b"a", socket.MSG_MORE)
        held = client.queued()
        client.send(b"b")
        assert server.recv(2, socket.MSG_WAITALL) == b"ab"
    assert held == (0, 1, 1)
