"""detach gives a descriptor away as the kernel does, and sockets can be made of it again."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
from scenario.sockets.conftest import PATIENCE
from scenario.sockets.test_caller import Wire

from pystack import PipeDevice, Stack, aio
from pystack.testing import VirtualNetwork

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")

BIG = bytes(range(256)) * 4096


def readable(fd):
    return select.select([fd], [], [], PATIENCE)[0] == [fd]


def read(fd, length):
    """So many bytes; less at the end of the stream."""
    got = b""
    while len(got) < length:
        assert readable(fd)
        piece = os.read(fd, length - len(got))
        if not piece:
            break
        got += piece
    return got


def take(sock, length):
    """The same of a socket."""
    got = b""
    while len(got) < length and (piece := sock.recv(length - len(got))):
        got += piece
    return got


def write(fd, data):
    data = memoryview(data)
    while data:
        assert select.select([], [fd], [], PATIENCE)[1]
        data = data[os.write(fd, data) :]


@pytest.fixture
def again(world):
    """A socket of a descriptor; it is closed with the test."""

    def make(fd):
        made = socket.socket(fileno=fd) if world.pair is None else world.pair.far.socket(fileno=fd)
        made.settimeout(PATIENCE)
        return world.ending.enter_context(made)

    return make


@pytest.fixture
def detached(world):
    """A descriptor of a connection, closed with the test if it is still there; its peer."""
    client, server = world.connected()
    fd = client.detach()
    place = os.fstat(fd).st_ino

    def close():
        with suppress(OSError):
            if os.fstat(fd).st_ino == place:
                os.close(fd)

    world.ending.callback(close)
    return fd, server


def test_the_socket_is_closed_and_the_connection_is_not(world):
    client, server = world.connected()
    shown = client.fileno()
    fd = client.detach()
    assert fd == shown
    assert client.fileno() == client.detach() == -1
    with pytest.raises(OSError) as caught:
        client.send(b"x")
    assert caught.value.errno == errno.EBADF
    client.close()
    os.write(fd, b"hello")
    assert server.recv(5) == b"hello"
    os.close(fd)
    assert server.recv(1) == b""


def test_data_flows_both_ways(detached):
    fd, server = detached
    answers = threading.Thread(target=lambda: server.sendall(take(server, len(BIG))))
    answers.start()
    write(fd, BIG)
    assert read(fd, len(BIG)) == BIG
    answers.join()


def test_files_may_be_opened(detached):
    fd, server = detached
    os.set_blocking(fd, True)
    with os.fdopen(fd, "rb") as file:
        server.sendall(b"one\ntwo")
        server.shutdown(socket.SHUT_WR)
        assert file.readlines() == [b"one\n", b"two"]


def test_what_is_written_before_the_end_arrives_before_it(detached):
    fd, server = detached
    os.write(fd, b"last words")
    os.close(fd)
    assert take(server, 100) == b"last words"


def test_who_closes_without_reading_resets(detached):
    fd, server = detached
    server.sendall(b"unread")
    assert readable(fd)
    os.close(fd)
    with pytest.raises(ConnectionResetError):
        server.recv(1)


def test_who_closes_after_reading_does_not(detached):
    fd, server = detached
    server.sendall(b"read")
    assert read(fd, 4) == b"read"
    os.close(fd)
    assert server.recv(1) == b""


def test_a_part_that_was_not_read_resets_too(detached):
    fd, server = detached
    server.sendall(b"unread")
    assert read(fd, 2) == b"un"
    os.close(fd)
    with pytest.raises(ConnectionResetError):
        server.recv(1)


def test_a_reset_reaches_the_descriptor(detached):
    fd, server = detached
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    server.close()
    assert readable(fd)
    with pytest.raises(ConnectionResetError):
        os.read(fd, 1)


def test_the_end_reaches_the_descriptor(detached):
    fd, server = detached
    server.sendall(b"bye")
    server.shutdown(socket.SHUT_WR)
    assert read(fd, 10) == b"bye"
    os.write(fd, b"bye")
    assert server.recv(3) == b"bye"


@pytest.mark.parametrize("unread", [b"", b"unread"])
def test_after_the_end_was_seen(world, unread):
    client, server = world.connected()
    seen = select.poll()
    seen.register(server, select.POLLIN)
    client.sendall(b"1" + unread)
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b"1"
    assert seen.poll(5000)
    fd = server.detach()
    os.set_blocking(fd, True)
    try:
        while unread:
            piece = os.read(fd, 100)
            assert unread.startswith(piece)
            unread = unread[len(piece) :]
        assert os.read(fd, 100) == b""
        os.write(fd, b"2")
        assert client.recv(1) == b"2"
    finally:
        os.close(fd)


def test_all_duplicates_have_to_be_closed(detached):
    fd, server = detached
    other = os.dup(fd)
    os.close(fd)
    os.write(other, b"x")
    assert server.recv(1) == b"x"
    os.close(other)
    assert server.recv(1) == b""


def test_it_blocks_while_the_peer_does_not_read(detached):
    """Nothing is lost, and memory is bounded by the buffers."""
    fd, server = detached
    sent = 0
    while select.select([], [fd], [], 0.1)[1]:
        sent += os.write(fd, bytes(1 << 16))
    assert sent < 64 << 20
    os.close(fd)
    while piece := server.recv(1 << 20):
        sent -= len(piece)
    assert sent == 0


def test_a_slow_reader_closes_the_window(detached):
    fd, server = detached
    server.setblocking(False)
    sent = 0
    while select.select([], [server], [], 0.1)[1]:
        sent += server.send(bytes(1 << 16))
    assert sent < 64 << 20
    assert read(fd, sent) == bytes(sent)


def test_epoll_tells_of_it(detached):
    fd, server = detached
    with select.epoll() as watching:
        watching.register(fd, select.EPOLLIN | select.EPOLLOUT)
        assert watching.poll(PATIENCE) == [(fd, select.EPOLLOUT)]
        server.sendall(b"x")
        watching.modify(fd, select.EPOLLIN)
        assert watching.poll(PATIENCE) == [(fd, select.EPOLLIN)]
        os.read(fd, 1)
        assert watching.poll(0) == []


def test_a_child_has_it_too(detached):
    """multiprocessing and inetd do so."""
    fd, server = detached
    os.set_blocking(fd, True)
    program = (
        "import os, sys; fd = int(sys.argv[1]); os.write(fd, os.read(fd, 99).upper())",
        str(fd),
    )
    child = subprocess.Popen([sys.executable, "-c", *program], pass_fds=[fd])
    os.close(fd)
    server.sendall(b"hello")
    assert take(server, 100) == b"HELLO"
    assert child.wait(PATIENCE) == 0


# A socket again.


def test_a_socket_again(world, detached, again):
    fd, server = detached
    sock = again(fd)
    assert sock.fileno() == fd
    assert (sock.family, sock.type) == (socket.AF_INET, socket.SOCK_STREAM)
    assert sock.getpeername() == server.getsockname()
    assert sock.getsockname() == server.getpeername()
    sock.sendall(b"hello")
    assert server.recv(5) == b"hello"
    server.sendall(b"hello")
    assert sock.recv(5, socket.MSG_PEEK) == take(sock, 5) == b"hello"
    sock.close()
    assert server.recv(1) == b""


def test_what_the_descriptor_has_not_read_is_the_socket_s(detached, again):
    fd, server = detached
    server.sendall(b"hello world")
    assert read(fd, 6) == b"hello "
    assert take(again(fd), 5) == b"world"


def test_what_was_written_comes_first(detached, again):
    fd, server = detached
    server.setblocking(False)
    sent = 0
    while select.select([], [fd], [], 0.1)[1]:
        sent += os.write(fd, b"a" * (1 << 16))
    sock = again(fd)
    done = threading.Thread(target=lambda: (sock.sendall(b"b"), sock.close()))
    done.start()
    server.settimeout(PATIENCE)
    got = bytearray()
    while piece := server.recv(1 << 20):
        got += piece
    done.join()
    assert got == b"a" * sent + b"b"


def test_readiness_is_that_of_the_socket_again(detached, again):
    fd, server = detached
    server.sendall(b"x")
    assert readable(fd)
    sock = again(fd)
    assert readable(sock)
    sock.recv(1)
    assert select.select([sock], [sock], [], 0) == ([], [sock], [])


def test_again_and_again(detached, again):
    fd, server = detached
    for letter in (b"a", b"b", b"c"):
        os.write(fd, letter)
        server.sendall(letter)
        sock = again(fd)
        sock.sendall(letter)
        assert take(server, 2) == letter * 2
        assert sock.recv(1) == letter
        assert sock.detach() == fd
    again(fd).close()
    assert server.recv(1) == b""


def test_after_the_end_of_the_stream(detached, again):
    fd, server = detached
    server.sendall(b"x")
    server.shutdown(socket.SHUT_WR)
    assert read(fd, 2) == b"x"
    sock = again(fd)
    assert sock.recv(1) == b""
    sock.sendall(b"y")
    assert server.recv(1) == b"y"


def test_two_sockets_of_one_number(world, again):
    """What ssl.SSLSocket does: take the number, then have the socket forget it."""
    client, server = world.connected()
    sock = again(client.fileno())
    assert client.detach() == sock.fileno()
    sock.sendall(b"hello")
    assert server.recv(5) == b"hello"
    sock.close()
    assert server.recv(1) == b""


def test_two_sockets_that_do_not_know_of_each_other(world, again):
    client, server = world.connected()
    with again(os.dup(client.fileno())) as sock:
        client.close()
        sock.sendall(b"hello")
        assert server.recv(5) == b"hello"
    assert server.recv(1) == b""


def test_a_socket_and_a_descriptor_of_one_connection(world):
    client, server = world.connected()
    other = client.dup()
    fd = client.detach()
    other.sendall(b"x")
    assert server.recv(1) == b"x"
    other.close()
    write(fd, b"y")
    assert server.recv(1) == b"y"
    os.close(fd)
    assert server.recv(1) == b""


def test_the_descriptor_first_then_the_socket(world):
    client, server = world.connected()
    other = client.dup()
    os.close(client.detach())
    other.sendall(b"x")
    assert server.recv(1) == b"x"
    other.close()
    assert server.recv(1) == b""


def test_a_duplicate_that_is_detached(world):
    client, server = world.connected()
    client.fileno()
    other = client.dup()
    fd = other.detach()
    assert fd != client.fileno()
    client.close()
    write(fd, b"x")
    assert server.recv(1) == b"x"
    os.close(fd)
    assert server.recv(1) == b""


def test_a_listener(world):
    listener = world.listener()
    address = listener.getsockname()
    fd = listener.detach()
    client = world.fresh()
    client.connect(address)
    assert readable(fd)
    near = None if world.pair is None else world.pair.near
    with socket.socket(fileno=fd) if near is None else near.socket(fileno=fd) as sock:
        sock.settimeout(PATIENCE)
        accepted, peer = sock.accept()
        assert peer == client.getsockname()
        with accepted:
            accepted.sendall(b"x")
            assert client.recv(1) == b"x"
        assert not select.select([sock], [], [], 0)[0]


def test_a_listener_whose_descriptor_is_closed_refuses(world):
    listener = world.listener()
    address = listener.getsockname()
    os.close(listener.detach())
    client = world.fresh()
    wait_until(lambda: not carriers())
    with pytest.raises(ConnectionRefusedError):
        client.connect(address)


def wait_until(fact):
    """What a thread of the stack does soon."""
    poll = threading.Event()
    for _ in range(1000):
        if fact():
            return
        poll.wait(0.01)
    raise AssertionError


def test_datagrams_keep_their_boundaries(world):
    server = world.bound(socket.SOCK_DGRAM)
    client = world.fresh(socket.SOCK_DGRAM)
    client.connect(server.getsockname())
    near = client.getsockname()
    fd = client.detach()
    os.write(fd, b"one")
    os.write(fd, b"two")
    assert [server.recvfrom(10) for _ in range(2)] == [(b"one", near), (b"two", near)]
    server.sendto(b"first", near)
    server.sendto(b"", near)
    server.sendto(b"third", near)
    for expected in (b"fir", b"", b"third"):
        assert readable(fd)
        assert os.read(fd, 3 if expected == b"fir" else 10) == expected
    os.close(fd)


def test_a_datagram_that_was_not_read_is_the_socket_s(world, again):
    server = world.bound(socket.SOCK_DGRAM)
    client = world.fresh(socket.SOCK_DGRAM)
    client.connect(server.getsockname())
    near = client.getsockname()
    fd = client.detach()
    for data in (b"one", b"two", b"three"):
        server.sendto(data, near)
    assert readable(fd)
    assert os.read(fd, 10) == b"one"
    sock = again(fd)
    assert [sock.recv(10), sock.recv(10)] == [b"two", b"three"]


def test_a_closed_stack_ends_datagrams_too(stack_world):
    client = stack_world.fresh(socket.SOCK_DGRAM)
    client.connect(("10.1.0.5", 9))
    fd = client.detach()
    stack_world.pair.far.close()
    assert not carriers()
    with pytest.raises(OSError):
        os.write(fd, b"x")
    os.close(fd)


def test_what_a_datagram_met_does_no_harm(world):
    """Port unreachable, and then there is somebody."""
    server = world.bound(socket.SOCK_DGRAM)
    address = server.getsockname()
    server.close()
    client = world.fresh(socket.SOCK_DGRAM)
    client.connect(address)
    near = client.getsockname()
    fd = client.detach()
    os.write(fd, b"lost")
    if world.pair is None:
        assert readable(fd)
        with pytest.raises(ConnectionRefusedError):
            os.read(fd, 1)
    else:
        wait_until(lambda: world.pair.far.counters()["udp_errors_delivered"])
    server = world.fresh(socket.SOCK_DGRAM, near=True)
    server.bind(address)
    server.sendto(b"hello", near)
    assert readable(fd)
    assert os.read(fd, 10) == b"hello"
    os.write(fd, b"hello")
    assert server.recv(10) == b"hello"
    os.close(fd)


def test_options_stay(world, again):
    client, _ = world.connected()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock = again(client.detach())
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# Of stacks only.


def test_what_is_no_descriptor_of_the_stack_is_refused(stack_world):
    client, _ = stack_world.connected()
    far, near = stack_world.pair.far, stack_world.pair.near
    with socket.socket() as kernels:
        for stack, fd in ((far, kernels.fileno()), (near, client.fileno()), (far, 9999), (far, -1)):
            with pytest.raises(OSError, match="is of no socket of") as caught:
                stack.socket(fileno=fd)
            assert caught.value.errno == errno.ENOTSOCK
    client.sendall(b"x")


def test_a_descriptor_that_is_another_s_by_now_is_refused(stack_world):
    client, server = stack_world.connected()
    fd = client.detach()
    os.close(fd)
    assert server.recv(1) == b""
    one, other = socket.socketpair()
    with one, other, pytest.raises(OSError, match="is of no socket of"):
        stack_world.pair.far.socket(fileno=one.fileno())


def descriptors():
    return set(os.listdir("/proc/self/fd"))


def carriers():
    """Threads that carry data."""
    return [one for one in threading.enumerate() if one.name == "pystack detached"]


def test_nothing_is_left():
    """No thread, no descriptor, when the last connection has gone or its stack is closed."""
    before = descriptors()
    near, far = PipeDevice.pair()
    with Stack("10.1.0.0/24", device=near) as one, Stack("10.2.0.0/24", device=far) as other:
        with one.create_server(("10.1.0.5", 80)) as listener:
            with other.create_connection(("10.1.0.5", 80)) as client:
                os.close(client.detach())
            accepted, _ = listener.accept()
            accepted.settimeout(PATIENCE)
            with accepted:
                assert accepted.recv(1) == b""
            wait_until(lambda: not carriers())
            with other.create_connection(("10.1.0.5", 80)) as client:
                fd = client.detach()
        other.close()
        assert not carriers()
        with pytest.raises(ConnectionResetError):
            os.read(fd, 1)
        os.close(fd)
    assert descriptors() == before


def test_a_stack_that_its_caller_turns_turns_this_too():
    with Wire() as wire:
        listener = wire.one.create_server(("10.1.0.5", 80))
        client = wire.other.socket()
        with pytest.raises(BlockingIOError):
            client.connect(("10.1.0.5", 80))
        while wire.step():
            pass
        server, _ = listener.accept()
        fd = client.detach()
        os.write(fd, b"hello")
        server.send(b"world")
        while wire.step():
            pass
        assert server.recv(10) == b"hello"
        assert os.read(fd, 10) == b"world"
        os.close(fd)
        while wire.step():
            pass
        assert server.recv(1) == b""
        assert not carriers()
        server.close()
        listener.close()


def test_a_stack_that_an_event_loop_turns():
    """By a thread: the loop waits for no descriptor that was given away."""

    async def use():
        near, far = PipeDevice.pair()
        async with aio.Stack("10.1.0.0/24", device=near) as one:
            with Stack("10.2.0.0/24", device=far) as other, one.socket() as listener:
                listener.bind(("10.1.0.5", 80))
                listener.listen()
                loop = asyncio.get_running_loop()
                client = other.socket()
                connecting = loop.run_in_executor(None, client.connect, ("10.1.0.5", 80))
                server, _ = await loop.sock_accept(listener)
                await connecting
                fd = server.detach()
                client.settimeout(PATIENCE)
                client.sendall(b"hello")
                assert await loop.run_in_executor(None, read, fd, 5) == b"hello"
                os.write(fd, b"world")
                assert await loop.run_in_executor(None, take, client, 5) == b"world"
                os.close(fd)
                assert await loop.run_in_executor(None, client.recv, 1) == b""
                client.close()

    asyncio.run(asyncio.wait_for(use(), PATIENCE))


def test_there_are_no_descriptors_in_virtual_time():
    with VirtualNetwork(seed=1) as net:
        host = net.host("10.0.0.1")
        with host.socket() as sock, pytest.raises(OSError, match="in virtual time") as caught:
            sock.detach()
        assert caught.value.errno == errno.EOPNOTSUPP


SCRIPT = """
import os, sys
from pystack import PipeDevice, Stack
near, far = PipeDevice.pair()
one, other = Stack("10.1.0.0/24", device=near), Stack("10.2.0.0/24", device=far)
listener = one.create_server(("10.1.0.5", 80))
client = other.create_connection(("10.1.0.5", 80))
server, _ = listener.accept()
fd = client.detach()
"""


def run(script):
    quiet = ["-W", "ignore::DeprecationWarning"]  # of a fork with threads, from Python 3.12
    return subprocess.run(
        [sys.executable, *quiet, "-c", SCRIPT + script],
        timeout=60,
        capture_output=True,
        text=True,
    )


def test_the_interpreter_ends():
    done = run("server.sendall(b'x')\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_forked_child_reads_and_writes():
    done = run(
        "pid = os.fork()\n"
        "if not pid:\n"
        "    os.write(fd, os.read(fd, 10).upper())\n"
        "    os._exit(0)\n"
        "os.close(fd)\n"
        "server.sendall(b'hello')\n"
        "print(server.recv(10), server.recv(10))\n"
        "os.waitpid(pid, 0)\n"
        "server.close(), listener.close(), one.close(), other.close()\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'HELLO' b''\n", "")
