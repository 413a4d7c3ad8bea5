"""MSG_TRUNC with MSG_WAITALL: what comes while the call waits is dropped, and only that."""

from __future__ import annotations

import random
import socket

import pytest
from effort import some

from pystack.testing import VirtualNetwork

ADDRESS = ("10.0.0.2", 80)
DROP = socket.MSG_TRUNC | socket.MSG_WAITALL


def write(net, client, *pieces, pause=1):
    """A piece after each pause of so many seconds, from a function of its own."""

    def go():
        for piece in pieces:
            net.sleep(pause)
            client.send(piece)

    return net.spawn(go)


def test_what_follows_is_kept(net, connection):
    client, server, _ = connection
    write(net, client, b"hello", b" world, ", b"again")
    assert server.recv_into(bytearray(12), 12, DROP) == 12
    assert server.recv(100) == b" "
    assert server.recv(100) == b"again"


def test_what_follows_in_the_same_batch_is_kept(net, connection):
    client, server, _ = connection
    write(net, client, b"x" * 1460 + bytes(range(200)) * 10)
    assert server.recv_into(bytearray(1560), 1560, DROP) == 1560
    assert server.recv(100) == bytes(range(100, 200))


def test_what_was_there_before_is_dropped_first(net, connection):
    client, server, _ = connection
    write(net, client, *[b"x" * 1000] * 5)
    assert server.recv_into(bytearray(1), 1, DROP) == 1
    begin = net.now
    assert server.recv_into(bytearray(3999), 3999, DROP) == 3999
    assert net.now == pytest.approx(begin + 3)
    assert server.recv(2000) == b"x" * 1000


def test_a_timeout_tells_how_much_was_dropped(net, connection):
    client, server, _ = connection
    write(net, client, b"hello", b"later")
    server.settimeout(1.5)
    assert server.recv_into(bytearray(9), 9, DROP) == 5
    assert server.recv(9) == b"later"
    with pytest.raises(TimeoutError):
        server.recv_into(bytearray(9), 9, DROP)


def test_the_end_of_the_stream_ends_it(net, connection):
    client, server, _ = connection
    write(net, client, b"hello").result()
    net.spawn(client.shutdown, socket.SHUT_WR)
    assert server.recv_into(bytearray(9), 9, DROP) == 5
    assert server.recv_into(bytearray(9), 9, DROP) == 0


def test_a_reset_is_told_after_what_was_dropped(net, connection):
    client, server, _ = connection

    def leave():
        net.sleep(2)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()

    write(net, client, b"hello")
    net.spawn(leave)
    assert server.recv_into(bytearray(9), 9, DROP) == 5
    with pytest.raises(ConnectionResetError):
        server.recv_into(bytearray(9), 9, DROP)


def test_it_ends_before_urgent_text(net, connection):
    client, server, _ = connection

    def talk():
        net.sleep(1)
        client.send(b"hello")
        client.send(b"!", socket.MSG_OOB)
        client.send(b"world")

    net.spawn(talk)
    assert server.recv_into(bytearray(99), 99, DROP) == 5
    assert server.recv(99) == b"!world"


def test_after_a_long_silence(net, connection):
    """The connection does not come to rest: what the call has had so far would be forgotten."""
    client, server, _ = connection
    write(net, client, b"hello", b"world", pause=60)
    assert server.recv_into(bytearray(10), 10, DROP) == 10
    client.send(b"next")
    assert server.recv(9) == b"next"


def test_a_timeout_at_the_instant_of_an_arrival(net, connection):
    """Told or read later: what only counted is nobody else's."""
    client, server, _ = connection
    begin = net.now_ns
    write(net, client, b"hello", pause=0.99)
    server.settimeout(1)
    try:
        count = server.recv_into(bytearray(9), 9, DROP)
    except TimeoutError:
        count = 0
    assert net.now_ns == begin + 1_000_000_000
    client.send(b"!")
    net.sleep(1)
    assert server.recv(9) == b"hello!"[count:]


def test_two_at_once(net, connection):
    client, server, _ = connection
    readers = [net.spawn(server.recv_into, bytearray(size), size, DROP) for size in (4, 11)]
    write(net, client, b"hello", b"world", b"hello", b"rest")
    assert [reader.result() for reader in readers] == [4, 11]
    assert server.recv(9) == b"rest"


def test_somebody_closes_the_socket(net, connection):
    client, server, _ = connection
    write(net, client, b"hello", b"world")
    net.at(1.5, server.close)
    with pytest.raises(OSError, match="descriptor"):
        server.recv_into(bytearray(10), 10, DROP)


def test_somebody_begins_anew(net, connection):
    """As with connect() to AF_UNSPEC: what was dropped was another connection's."""
    client, server, _ = connection
    write(net, client, b"hello")
    net.at(1.5, server._handle.disconnect)
    with pytest.raises(OSError, match=r"reset|connected"):
        server.recv_into(bytearray(10), 10, DROP)


@pytest.mark.parametrize("seed", range(some(16)))
def test_bytes_between_are_the_right_ones(seed):
    """Dropped and read in turn, on a path that loses, delays and repeats."""
    rng = random.Random(seed)
    text = rng.randbytes(300_000)
    quality = rng.choice(({}, {"loss": "3%"}, {"loss": "5%", "reorder": "9%", "duplicate": "3%"}))
    with VirtualNetwork(seed, limit="2h") as net:
        a, b = net.host("10.0.0.1"), net.host(ADDRESS[0])
        net.link(a, b, delay="5ms", rate=rng.choice((None, "100Mbit/s")), **quality)

        def send():
            with a.create_connection(ADDRESS) as client:
                client.sendall(text)

        with b.create_server(ADDRESS) as listener:
            net.spawn(send)
            server, _ = listener.accept()
            at = 0
            with server:
                while at < len(text):
                    size = rng.choice((1, 100, 1448, 10_000, 70_000))
                    server.settimeout(rng.choice((None, 0.001, 0.02)))
                    try:
                        if rng.random() < 0.6:
                            at += server.recv_into(bytearray(size), size, DROP)
                        else:
                            data = server.recv(size)
                            assert data == text[at : at + len(data)]
                            at += len(data)
                    except TimeoutError:
                        net.sleep(rng.choice((0, 0.01)))
                assert server.recv(1) == b""
