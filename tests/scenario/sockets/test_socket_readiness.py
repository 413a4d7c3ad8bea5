"""fileno(): a descriptor on which select, poll, epoll, selectors and asyncio can wait."""

from __future__ import annotations

import asyncio
import os
import select
import selectors
import socket

import pytest
from scenario.udp_wire import icmp_error

from pystack import Stack

SELECTORS = [
    getattr(selectors, name)
    for name in ("SelectSelector", "PollSelector", "EpollSelector", "KqueueSelector")
    if hasattr(selectors, name)
]


def readable(one: socket.socket, timeout: float = 0) -> bool:
    return bool(select.select([one], [], [], timeout)[0])


def writable(one: socket.socket, timeout: float = 0) -> bool:
    return bool(select.select([], [one], [], timeout)[1])


def test_a_connection_is_readable_while_there_is_data(world):
    client, server = world.connected()
    assert not readable(server)
    client.sendall(b"12")
    assert readable(server, 5)
    server.recv(1)
    assert readable(server)
    server.recv(1)
    assert not readable(server)
    client.sendall(b"3")
    assert readable(server, 5)
    server.recv(1)
    client.close()
    assert readable(server, 5)
    assert server.recv(1) == b""


def test_a_connection_is_writable_while_there_is_room(world, in_thread):
    client, server = world.connected()
    assert writable(client)
    client, server, sent = world.full()
    assert not writable(client)
    waiting = in_thread(writable, client, 20)
    server.settimeout(20)
    while sent:
        sent -= len(server.recv(1 << 20))
    assert waiting.result() is True


def test_a_listener_is_readable_while_somebody_waits(world):
    with world.listener() as listener:
        assert not readable(listener)
        clients = [world.fresh() for _ in range(2)]
        for client in clients:
            client.connect(listener.getsockname())
        for _ in clients:
            assert readable(listener, 5)
            listener.accept()[0].close()
        assert not readable(listener)


def test_a_datagram_socket_is_always_writable(world):
    client, server = world.fresh(socket.SOCK_DGRAM), world.bound(socket.SOCK_DGRAM)
    assert writable(client)
    assert not readable(server)
    client.sendto(b"x", server.getsockname())
    assert readable(server, 5)
    server.recv(1)
    assert not readable(server)


def test_an_error_makes_ready(world):
    with world.bound() as taken, world.fresh() as client:
        client.setblocking(False)
        client.connect_ex(taken.getsockname())
        assert writable(client, 5)
        assert readable(client, 5)


@pytest.mark.parametrize("selector", SELECTORS)
def test_selectors_tell_reading_from_writing(world, selector):
    client, server = world.connected()
    with selector() as watching:
        watching.register(server, selectors.EVENT_READ | selectors.EVENT_WRITE)
        [(_, events)] = watching.select(5)
        assert events == selectors.EVENT_WRITE
        client.sendall(b"x")
        watching.modify(server, selectors.EVENT_READ)
        [(_, events)] = watching.select(5)
        assert events == selectors.EVENT_READ
        server.recv(1)
        assert watching.select(0) == []
        watching.unregister(server)
        full, _, _ = world.full()
        watching.register(full, selectors.EVENT_READ | selectors.EVENT_WRITE)
        assert watching.select(0) == []


def end_is_shown(one: socket.socket, timeout: float = 0) -> bool:
    poll = select.poll()
    poll.register(one, select.POLLRDHUP)
    return any(events & select.POLLRDHUP for _, events in poll.poll(timeout * 1000))


needs_the_event = pytest.mark.skipif(
    not hasattr(select, "POLLRDHUP"), reason="this system has no POLLRDHUP"
)


@needs_the_event
def test_the_end_of_what_the_peer_sends_is_an_event(world):
    client, server = world.connected()
    assert not end_is_shown(server)
    client.sendall(b"1")
    client.shutdown(socket.SHUT_WR)
    assert server.recv(10, socket.MSG_WAITALL) == b"1"
    assert end_is_shown(server, 5)
    assert readable(server)
    assert writable(server)
    server.sendall(b"2")
    assert client.recv(1) == b"2"
    assert not end_is_shown(client)


@needs_the_event
def test_who_reads_no_more_sees_the_end(world):
    client, _ = world.connected()
    assert not end_is_shown(client)
    client.shutdown(socket.SHUT_RD)
    assert end_is_shown(client)


@needs_the_event
def test_a_socket_that_is_used_again_has_not_ended(stack_world):
    client, server = stack_world.connected()
    fd = client.fileno()
    server.close()
    assert end_is_shown(client, 5)
    client.disconnect()
    assert not end_is_shown(client)
    assert client.fileno() == fd
    with stack_world.pair.far.socket(fileno=os.dup(fd)) as again:
        assert again.handle is client.handle
    with stack_world.listener() as listener:
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    with server:
        assert not end_is_shown(client)
        assert not readable(client)
        server.sendall(b"x")
        assert readable(client, 5)


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="no epoll")
def test_edges_are_edges(world):
    """EPOLLET: told once for each arrival."""
    client, server = world.connected()
    with select.epoll() as watching:
        watching.register(server, select.EPOLLIN | select.EPOLLET)
        assert watching.poll(0) == []
        client.sendall(b"x")
        assert watching.poll(5) == [(server.fileno(), select.EPOLLIN)]
        assert watching.poll(0) == []


def test_the_descriptor_is_the_same_until_the_end(stack_world):
    client, _ = stack_world.connected()
    fd = client.fileno()
    assert client.fileno() == fd
    client.close()
    assert client.fileno() == -1
    with pytest.raises(OSError):
        os.fstat(fd)


def test_a_closed_stack_makes_ready(stack_world):
    client, _ = stack_world.connected()
    fd = client.fileno()
    stack_world.pair.far.close()
    assert select.select([fd], [fd], [], 0) == ([fd], [fd], [])


def test_asyncio_s_socket_calls_work(world):
    """loop.sock_*, server and client in one loop."""

    async def serve(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        server, _ = await loop.sock_accept(listener)
        with server:
            while data := await loop.sock_recv(server, 1 << 16):
                await loop.sock_sendall(server, data)

    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        with world.listener() as listener, world.fresh() as client:
            listener.setblocking(False)
            client.setblocking(False)
            serving = asyncio.ensure_future(serve(loop, listener))
            await loop.sock_connect(client, listener.getsockname())
            sending = asyncio.ensure_future(loop.sock_sendall(client, data))
            received = bytearray()
            while len(received) < len(data):
                buffer = bytearray(1 << 16)
                received += buffer[: await loop.sock_recv_into(client, buffer)]
            await sending
            client.shutdown(socket.SHUT_WR)
            await serving
            return bytes(received)

    data = bytes(range(256)) * 10_000
    assert asyncio.run(asyncio.wait_for(main(), 60)) == data


def test_the_descriptor_says_whether_the_socket_blocks(world):
    """As socket.socket sets O_NONBLOCK: some programs look at it."""
    sock = world.fresh()
    assert not os.get_blocking(sock.fileno())
    for timeout in (None, 0.0, 3, None):
        sock.settimeout(timeout)
        assert os.get_blocking(sock.fileno()) == (timeout is None)
    sock.setblocking(False)
    assert not os.get_blocking(sock.fileno())


def test_an_error_is_an_event_of_its_own():
    stack = Stack("10.1.0.0/24", now=0)
    with stack, stack.socket(type=socket.SOCK_DGRAM) as one:
        one.connect(("192.0.2.7", 9))
        one.send(b"lost")
        [sent] = stack.transmit()
        stack.receive(icmp_error("192.0.2.7", 3, 3, sent), now=0)
        writable_and = select.POLLOUT | select.POLLWRNORM
        assert one.poll() == writable_and | select.POLLERR
        with pytest.raises(ConnectionRefusedError):
            one.recv(1)
        assert one.poll() == writable_and
