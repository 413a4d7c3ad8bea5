"""Fast open between two stacks, through their sockets: over good links and bad ones."""

from __future__ import annotations

import errno
import socket

import pytest

import pystack
from pystack import TcpConfig
from pystack.testing import VirtualNetwork

TCP = socket.IPPROTO_TCP
SERVER = ("10.0.0.2", 80)
KEYS = bytes(range(32))

needs_the_flag = pytest.mark.skipif(
    not hasattr(socket, "MSG_FASTOPEN"), reason="this system has no MSG_FASTOPEN"
)


def hosts(net, **link):
    a = net.host("10.0.0.1")
    b = net.host("10.0.0.2", tcp=TcpConfig(fastopen=3))
    net.link(a, b, delay="10ms", **link)
    return a, b


def listen(host):
    listener = host.create_server(SERVER)
    listener.setsockopt(TCP, pystack.TCP_FASTOPEN, 16)
    return listener


def serve(listener, connections):
    """Give back what comes, and a length at the end."""
    for _ in range(connections):
        connection, _ = listener.accept()
        with connection:
            size = 0
            while data := connection.recv(65536):
                connection.sendall(data)
                size += len(data)
            connection.sendall(size.to_bytes(4, "big"))


def call(client, data) -> bytes:
    if not hasattr(socket, "MSG_FASTOPEN"):
        client.setsockopt(TCP, pystack.TCP_FASTOPEN_CONNECT, 1)
        client.connect(SERVER)
        client.sendall(data)
    else:
        client.sendall(data[client.sendto(data, socket.MSG_FASTOPEN, SERVER) :])
    client.shutdown(socket.SHUT_WR)
    answer = b""
    while more := client.recv(65536):
        answer += more
    return answer


@pytest.mark.parametrize("seed", range(6))
def test_every_byte_arrives_once_over_a_bad_link(seed):
    """RFC 7413 section 4.2: whichever of SYN, SYN-ACK and data is lost, doubled or late."""
    with VirtualNetwork(seed=seed) as net:
        a, b = hosts(net, loss="15%", duplicate="5%", reorder="5%")
        data = bytes(i * seed % 251 for i in range(5000))
        with listen(b) as listener:
            task = net.spawn(serve, listener, 8)
            for size in (0, 10, 500, 1420, 1421, 3000, 5000, 1):
                with a.socket() as client:
                    assert call(client, data[:size]) == data[:size] + size.to_bytes(4, "big")
            task.result()
        assert b.counters()["tcp_fast_open_passive"] > 0


@needs_the_flag
def test_without_a_cookie_nothing_is_taken_from_who_does_not_wait():
    with VirtualNetwork() as net:
        a, b = hosts(net)
        with listen(b), a.socket() as client:
            client.setblocking(False)
            with pytest.raises(BlockingIOError) as raised:
                client.sendto(b"data", socket.MSG_FASTOPEN, SERVER)
            assert raised.value.errno == errno.EINPROGRESS
            net.sleep("1s")
            client.connect(SERVER)
            with pytest.raises(OSError) as raised:
                client.sendto(b"data", socket.MSG_FASTOPEN, SERVER)
            assert raised.value.errno == errno.EISCONN


@needs_the_flag
def test_msg_fastopen_needs_an_address():
    """As Linux: EINVAL without one, EOPNOTSUPP where the stack does not do it."""
    with VirtualNetwork() as net:
        a = net.host("10.0.0.1")
        b = net.host("10.0.0.2", tcp=TcpConfig(fastopen=0))
        for host, number in ((a, errno.EINVAL), (b, errno.EOPNOTSUPP)):
            with host.socket() as client, pytest.raises(OSError) as raised:
                client.send(b"data", socket.MSG_FASTOPEN)
            assert raised.value.errno == number


def test_a_listener_may_have_keys_of_its_own():
    """TCP_FASTOPEN_KEY, bytes as Linux has them; the stack's are told where there are none."""
    with VirtualNetwork() as net:
        host = net.host("10.0.0.1", tcp=TcpConfig(fastopen_key=KEYS[:16]))
        with host.socket() as one:
            assert one.getsockopt(TCP, pystack.TCP_FASTOPEN_KEY, 64) == KEYS[:16]
            one.setsockopt(TCP, pystack.TCP_FASTOPEN_KEY, KEYS)
            assert one.getsockopt(TCP, pystack.TCP_FASTOPEN_KEY, 64) == KEYS
            with pytest.raises(OSError) as raised:
                one.setsockopt(TCP, pystack.TCP_FASTOPEN_KEY, b"short")
            assert raised.value.errno == errno.EINVAL


def test_what_is_remembered_can_be_forgotten():
    """Stack.forget_metrics."""
    with VirtualNetwork() as net:
        a, b = hosts(net)
        with listen(b) as listener:
            net.spawn(serve, listener, 2)
            for _ in range(2):
                with a.socket() as client:
                    call(client, b"data")
                net.sleep("1s")
                a.forget_metrics()
        assert b.counters().get("tcp_fast_open_passive", 0) == 0
