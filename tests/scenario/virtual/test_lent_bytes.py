"""Bytes objects that are sent from where they lie: the stream is the same, and they are let go."""

from __future__ import annotations

import random
import socket
import sys

import pytest
from effort import some

from pystack.testing import VirtualNetwork

SERVER = ("10.0.0.2", 80)
LONG = 200_000  # less than a send buffer


def noise(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice((1, 100, 1460, 20_000, 65_535, 65_536, 80_000, LONG)))


def send_somehow(connection: socket.socket, data: bytes, rng: random.Random) -> None:
    """As an object that nobody can change, a part of one, or one that is changed at once."""
    way = rng.randrange(4)
    if way == 0:
        connection.sendall(data)
    elif way == 1:
        connection.sendall(memoryview(b"before" + data + b"behind")[6:-6])
    elif way == 2:
        changing = bytearray(data)
        connection.sendall(changing)
        changing[:] = bytes(len(changing))
    else:
        for begin in range(0, len(data), 150_000):
            connection.sendall(data[begin : begin + 150_000])


@pytest.mark.parametrize("seed", range(some(12)))
def test_the_stream_is_the_same(seed):
    rng = random.Random(seed)
    quality = rng.choice(
        (
            {},
            {"loss": "2%"},
            {"loss": "5%", "reorder": "5%", "duplicate": "2%"},
            {"mtu": 600, "loss": "1%"},
        )
    )
    writes = [noise(rng) for _ in range(30)]
    with VirtualNetwork(seed, limit="2h") as net:
        a, b = net.host("10.0.0.1"), net.host(SERVER[0])
        net.link(a, b, **{"delay": "5ms", "rate": "100Mbit/s", **quality})

        def serve() -> bytes:
            received = bytearray()
            with b.create_server(SERVER) as listener, listener.accept()[0] as connection:
                while data := connection.recv(1 << 20):
                    received += data
            return bytes(received)

        serving = net.spawn(serve)
        with a.create_connection(SERVER) as client:
            for data in writes:
                send_somehow(client, data, rng)
        assert serving.result() == b"".join(writes)
        net.settle("1h")
        del data
        assert len({sys.getrefcount(data) for data in writes}) == 1


@pytest.fixture
def data():
    return random.Random(1).randbytes(LONG)


def test_they_are_held_until_they_are_acknowledged(net, connection, data):
    client, server, _ = connection
    before = sys.getrefcount(data)
    assert client.send(data) == LONG
    assert sys.getrefcount(data) == before + 1
    server.recv(LONG, socket.MSG_WAITALL)
    net.sleep(1)
    assert sys.getrefcount(data) == before


@pytest.mark.parametrize("kind", [bytearray, lambda data: memoryview(bytearray(data))])
def test_what_may_change_is_copied(connection, data, kind):
    client, server, _ = connection
    changing = kind(data)
    client.sendall(changing)
    changing[:] = bytes(LONG)
    assert server.recv(LONG, socket.MSG_WAITALL) == data


def test_what_is_short_is_copied(connection):
    client, _, _ = connection
    data = bytes(1000)
    before = sys.getrefcount(data)
    client.sendall(data)
    assert sys.getrefcount(data) == before


def test_a_peer_that_has_gone_lets_go(net, connection, data):
    client, server, _ = connection
    before = sys.getrefcount(data)
    assert client.send(data) == LONG
    assert sys.getrefcount(data) == before + 1
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    server.close()
    net.sleep(1)
    assert sys.getrefcount(data) == before
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_an_abort_lets_go(net, connection, data):
    client, _, _ = connection
    before = sys.getrefcount(data)
    assert client.send(data) == LONG
    assert sys.getrefcount(data) == before + 1
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    net.sleep(1)
    assert sys.getrefcount(data) == before


def test_a_closed_socket_goes_on_sending_them(net, connection, data):
    client, server, link = connection
    before = sys.getrefcount(data)
    link.set(loss=1)
    client.send(data)
    client.close()
    net.sleep(1)
    assert sys.getrefcount(data) == before + 1
    link.set(loss=0)
    assert server.recv(LONG, socket.MSG_WAITALL) == data
    net.sleep(1)
    assert sys.getrefcount(data) == before


def test_a_write_that_times_out_has_sent_a_part(net, connection):
    """More than all buffers hold; afterwards the rest is not the stack's."""
    client, server, _ = connection
    data = random.Random(2).randbytes(20_000_000)
    before = sys.getrefcount(data)
    client.settimeout(1)
    with pytest.raises(TimeoutError):
        client.sendall(data)
    assert sys.getrefcount(data) == before + 1
    client.close()
    received = bytearray()
    while more := server.recv(1 << 20):
        received += more
    assert data.startswith(received)
    assert len(received) > LONG
    net.sleep(1)
    assert sys.getrefcount(data) == before


def test_the_end_of_the_stack_lets_go(data):
    before = sys.getrefcount(data)
    with VirtualNetwork() as net:
        a, b = net.host("10.0.0.1"), net.host(SERVER[0])
        link = net.link(a, b)
        with (
            b.create_server(SERVER) as listener,
            a.create_connection(SERVER) as client,
            listener.accept()[0],
        ):
            link.set(loss=1)
            assert client.send(data) == LONG
            assert sys.getrefcount(data) == before + 1
    assert sys.getrefcount(data) == before
