"""A stack may have loopback addresses: its sockets reach each other there, and nobody else does."""

from __future__ import annotations

import errno
import socket

import pytest

from pystack import PipeDevice, Stack

HOSTS = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
hosts = pytest.mark.parametrize(("family", "host"), HOSTS, ids=["IPv4", "IPv6"])


@pytest.fixture
def stack():
    near, far = PipeDevice.pair()
    with Stack("127.0.0.0/8", "::1/128", "10.1.0.0/24", device=near) as one:
        yield one
    far.close()


@hosts
def test_a_stream_within_the_stack(stack, family, host):
    listener = stack.create_server((host, 0), family=family)
    with listener, stack.create_connection(listener.getsockname()[:2], timeout=20) as client:
        server, address = listener.accept()
        with server:
            assert address == client.getsockname()
            assert address[0] == host
            client.sendall(bytes(100_000))
            client.shutdown(socket.SHUT_WR)
            assert len(server.recv(100_001, socket.MSG_WAITALL)) == 100_000


@hosts
def test_nobody_there_refuses(stack, family, host):
    """RFC 9293 section 3.5.2; RFC 1122 section 4.1.3.1."""
    with pytest.raises(ConnectionRefusedError):
        stack.create_connection((host, 9), timeout=20)
    with stack.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect((host, 9))
        client.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            client.recv(1)


def test_no_loopback_address_leaves(stack):
    """RFC 1122 section 3.2.1.3 (g); EINVAL as Linux."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with stack.socket(type=kind) as client:
            client.bind(("127.0.0.1", 0))
            with pytest.raises(OSError) as caught:
                client.connect(("192.0.2.7", 9))
            assert caught.value.errno == errno.EINVAL


def test_a_server_at_all_addresses_is_at_the_loopback_address_too(stack):
    with stack.create_server(("", 0)) as listener:
        port = listener.getsockname()[1]
        for host in ("127.0.0.1", "10.1.0.9"):
            with stack.create_connection((host, port), timeout=20) as client:
                server, _ = listener.accept()
                with server:
                    assert client.getsockname()[0] == server.getsockname()[0] == host


def test_the_device_has_nothing_to_do_with_loopback_networks():
    near, far = PipeDevice.pair(mtu=1000)  # too small for IPv6, had the device to carry it
    with Stack("::1/128", "10.1.0.0/24", device=near):
        far.close()
