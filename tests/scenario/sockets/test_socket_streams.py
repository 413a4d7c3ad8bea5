"""Stream sockets: what the kernel's do, ours do. Each claim is held against both."""

from __future__ import annotations

import errno
import gc
import io
import os
import pickle
import select
import socket
import struct
from contextlib import suppress

import pytest

from pystack.testing import VirtualNetwork

LINGER_RESET = struct.pack("ii", 1, 0)


def receive(one: socket.socket, length: int) -> bytes:
    """So many bytes."""
    received = bytearray()
    while len(received) < length:
        received += one.recv(1 << 17)
    return bytes(received)


def test_what_is_sent_is_received_and_the_end_is_empty(world):
    client, server = world.connected()
    client.sendall(b"hello")
    client.shutdown(socket.SHUT_WR)
    assert server.recv(100, socket.MSG_WAITALL) == b"hello"
    assert server.recv(100) == b""
    server.sendall(b"good bye")
    server.close()
    assert client.recv(100, socket.MSG_WAITALL) == b"good bye"


def test_a_reader_waits_for_as_much_as_the_low_water_mark(world, in_thread):
    """socket(7), SO_RCVLOWAT: recv waits for so much, or for the end of the stream."""
    client, server = world.connected()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 6)
    reading = in_thread(server.recv, 100)
    client.sendall(b"abc")
    client.sendall(b"defgh")
    assert reading.result() == b"abcdefgh"
    client.sendall(b"abc")
    client.shutdown(socket.SHUT_WR)
    assert server.recv(100) == b"abc"
    assert server.recv(100) == b""


def test_both_families_work_alike(world6):
    client, server = world6.connected()
    client.sendall(b"hello")
    assert server.recv(100) == b"hello"
    assert len(client.getpeername()) == 4
    assert client.getpeername() == server.getsockname()


def test_a_large_transfer_arrives_whole(world, in_thread):
    client, server = world.connected()
    data = bytes(range(256)) * 40_000
    sending = in_thread(client.sendall, data)
    assert receive(server, len(data)) == data
    sending.result()


def test_one_thread_sends_while_another_receives_on_the_same_socket(world, in_thread):
    client, server = world.connected()
    data = bytes(range(256)) * 20_000
    sending = [in_thread(one.sendall, data) for one in (client, server)]
    receiving = [in_thread(receive, one, len(data)) for one in (client, server)]
    for call in sending:
        call.result()
    for call in receiving:
        assert call.result() == data


def test_names_have_the_family_s_form(world):
    client, server = world.connected()
    assert client.getsockname() == server.getpeername()
    assert client.getpeername() == server.getsockname()
    assert server.getsockname()[0] == world.host
    with world.bound(host="") as wildcard:
        assert wildcard.getsockname()[0] == world.any


def test_names_of_an_ipv6_socket_have_flow_and_scope(world6):
    with world6.bound(host="") as wildcard:
        assert wildcard.getsockname() == ("::", wildcard.getsockname()[1], 0, 0)


def test_a_dual_stack_listener_shows_ipv4_as_mapped(pair):
    with (
        pair.near.create_server(("", 80), family=socket.AF_INET6, dualstack_ipv6=True) as listener,
        pair.far.create_connection(("10.1.0.77", 80), timeout=5) as client,
    ):
        listener.settimeout(5)
        server, peer = listener.accept()
        with server:
            assert server.getsockname() == ("::ffff:10.1.0.77", 80, 0, 0)
            assert peer == ("::ffff:10.2.0.1", client.getsockname()[1], 0, 0)


def test_accept_tells_who_called(world):
    with world.listener() as listener, world.fresh() as client:
        client.connect(listener.getsockname())
        server, peer = listener.accept()
        with server:
            assert peer == client.getsockname()
            assert server.gettimeout() is None


# Ways to receive and send.


def test_recv_into_fills_a_buffer(world):
    client, server = world.connected()
    client.sendall(b"hello world")
    buffer = bytearray(8)
    assert server.recv_into(buffer, 5, socket.MSG_WAITALL) == 5
    assert server.recv_into(memoryview(buffer)[5:]) == 3
    assert buffer == b"hello wo"
    with pytest.raises(ValueError, match="buffer too small"):
        server.recv_into(buffer, 9)
    with pytest.raises(ValueError, match="negative buffersize"):
        server.recv_into(buffer, -1)
    with pytest.raises((TypeError, BufferError)):
        server.recv_into(b"read-only")


def test_receiving_nothing_returns_at_once(world):
    client, _ = world.connected()
    assert client.recv(0) == b""
    assert client.recv_into(bytearray()) == 0


def test_a_stream_names_no_sender(world):
    client, server = world.connected()
    client.sendall(b"12")
    assert server.recvfrom(1) == (b"1", None)
    buffer = bytearray(4)
    assert server.recvfrom_into(buffer) == (1, None)


def test_messages_scatter_and_gather(world):
    client, server = world.connected()
    assert client.sendmsg([b"one", bytearray(b"two"), memoryview(b"three")]) == 11
    assert server.recvmsg(3)[0] == b"one"
    buffers = bytearray(3), bytearray(10)
    count, ancillary, flags, address = server.recvmsg_into(buffers)
    assert (count, ancillary, flags, address) == (8, [], 0, None)
    assert bytes(buffers[0]) == b"two"
    assert bytes(buffers[1][:5]) == b"three"


def test_peeked_data_stays(world):
    client, server = world.connected()
    client.sendall(b"hello")
    assert server.recv(2, socket.MSG_PEEK) == b"he"
    assert server.recv(5, socket.MSG_WAITALL) == b"hello"


def test_truncated_data_is_gone(world):
    """tcp(7): with MSG_TRUNC received bytes are dropped, and only their count is told."""
    client, server = world.connected()
    client.sendall(b"hello world")
    buffer = bytearray(b"........")
    assert server.recv_into(buffer, 5, socket.MSG_TRUNC | socket.MSG_WAITALL) == 5
    assert buffer == b"........"
    assert server.recv_into(buffer, 3, socket.MSG_TRUNC | socket.MSG_PEEK) == 3
    assert server.recv(6, socket.MSG_WAITALL) == b" world"


def test_truncated_data_tells_nothing_of_the_memory(stack_world):
    """As many zeros; with the kernel's sockets it is what lay in the memory."""
    client, server = stack_world.connected()
    client.sendall(b"x" * 60)
    assert server.recv(60, socket.MSG_WAITALL) == b"x" * 60
    client.sendall(b"y" * 60)
    assert server.recv(60, socket.MSG_TRUNC | socket.MSG_WAITALL) == bytes(60)


def test_waitall_ends_with_the_stream(world):
    client, server = world.connected()
    client.sendall(b"hel")
    client.close()
    assert server.recv(5, socket.MSG_WAITALL) == b"hel"


def test_dontwait_does_not_wait(world):
    client, server = world.connected()
    client.settimeout(None)
    server.settimeout(None)
    with pytest.raises(BlockingIOError) as caught:
        server.recv(1, socket.MSG_DONTWAIT)
    assert caught.value.errno == errno.EAGAIN

    def flood():
        while True:
            client.send(bytes(1 << 16), socket.MSG_DONTWAIT)

    with pytest.raises(BlockingIOError):
        flood()


def test_files_read_and_write(world):
    client, server = world.connected()
    with client.makefile("rwb") as there, server.makefile("r", encoding="ascii") as here:
        there.write(b"first\nsecond\n")
        there.flush()
        assert here.readline() == "first\n"
        assert here.readline() == "second\n"
        client.close()
        assert not client._closed or there.write(b"third\n") == 6
        there.flush()
        assert here.readline() == "third\n"
    assert server.recv(1) == b""


def test_a_file_read_has_the_socket_s_timeout(world):
    client, _ = world.connected()
    client.settimeout(0.001)
    with client.makefile("rb", 0) as file:
        assert isinstance(file, io.RawIOBase)
        with pytest.raises(TimeoutError):
            file.read(1)
        with pytest.raises(OSError, match="cannot read from timed out object"):
            file.read(1)


def test_a_socket_lives_as_long_as_its_files(world):
    """http.client closes the socket, and leaves the answer's file to its reader."""
    client, server = world.connected()
    with client.makefile("rb") as file:
        fd = client.fileno()
        client.close()
        assert file.fileno() == client.fileno() == fd
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        server.sendall(b"x")
        assert select.select([file], [], [], 5) == ([file], [], [])
        assert file.read(1) == b"x"
        client.settimeout(0.0)
        assert not os.get_blocking(fd)
    assert client.fileno() == -1
    assert server.recv(1) == b""


@pytest.mark.parametrize(
    "call",
    [
        lambda sock: sock.settimeout(1),
        lambda sock: sock.setblocking(True),
        lambda sock: sock.get_inheritable(),
        lambda sock: sock.set_inheritable(False),
    ],
)
def test_a_closed_socket_has_no_settings(world, call):
    client, _ = world.connected()
    client.close()
    with pytest.raises(OSError) as caught:
        call(client)
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("buffer", [b"read-only", "text"])
def test_what_cannot_be_received_into_is_a_type_error(world, buffer):
    client, _ = world.connected()
    for call in (client.recv_into, client.recvfrom_into):
        with pytest.raises(TypeError):
            call(buffer)


@pytest.mark.parametrize("offset", [0, 3])
def test_sendfile_begins_where_it_is_told(world, tmp_path, offset):
    """Wherever the file is."""
    place = tmp_path / "file"
    place.write_bytes(b"header and text")
    client, server = world.connected()
    with place.open("rb") as file:
        assert file.read(7) == b"header "
        assert client.sendfile(file, offset) == 15 - offset
        assert file.tell() == 15
    client.close()
    with server.makefile("rb") as received:
        assert received.read() == b"header and text"[offset:]


def test_sendfile_sends_what_is_no_file_from_where_it_is(world):
    client, server = world.connected()
    source = io.BytesIO(b"header and text")
    source.seek(7)
    assert client.sendfile(source) == 8
    assert server.recv(8) == b"and text"


def test_sendfile_sends_a_file(world, tmp_path):
    client, server = world.connected()
    path = tmp_path / "file"
    path.write_bytes(b"contents of a file")
    with path.open("rb") as file:
        assert client.sendfile(file, 9) == 9
    assert server.recv(9, socket.MSG_WAITALL) == b"of a file"


# Timeouts, and not blocking.


def test_a_timeout_is_a_timeouterror_without_errno(world):
    client, _ = world.connected()
    client.settimeout(0.001)
    with pytest.raises(TimeoutError, match=r"^timed out$") as caught:
        client.recv(1)
    assert caught.value.errno is None
    with pytest.raises(TimeoutError, match=r"^timed out$"):
        client.sendall(bytes(1 << 26))
    with world.listener() as listener:
        listener.settimeout(0.001)
        with pytest.raises(TimeoutError, match=r"^timed out$"):
            listener.accept()


def test_the_timeouts_of_options_are_of_calls_that_have_none_of_python_s(world):
    client, server = world.connected()
    timeval = struct.pack("@ll", 0, 20_000)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16) == timeval
    client.settimeout(None)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    client.settimeout(0.01)
    with pytest.raises(TimeoutError, match="timed out"):
        client.recv(1)
    server.send(b"x")
    client.settimeout(None)
    assert client.recv(1) == b"x"
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
    server.settimeout(None)
    sent = 0
    with suppress(BlockingIOError):
        while sent < 1 << 28:
            sent += server.send(bytes(1 << 20))
    assert sent < 1 << 28


def test_a_duplicate_is_the_same_connection_until_both_are_closed(world):
    client, server = world.connected()
    client.settimeout(7)
    other = client.dup()
    assert other.gettimeout() == 7
    assert other.getpeername() == client.getpeername()
    assert other.fileno() != client.fileno()
    server.send(b"ab")
    assert client.recv(1) == b"a"
    for _ in range(2):
        ready, *_ = select.select([other, client], [], [], 5)
        assert other in ready
    client.close()
    assert other.recv(1) == b"b"
    other.send(b"c")
    assert server.recv(1) == b"c"
    fd = other.fileno()
    other.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
    assert server.recv(1) == b""
    with pytest.raises(OSError, match="Bad file"):
        other.dup()


def test_timeouts_are_floats_or_none(world):
    with world.fresh() as one:
        one.settimeout(3)
        assert one.gettimeout() == one.timeout == 3.0
        assert one.getblocking()
        one.setblocking(False)
        assert one.gettimeout() == 0.0
        assert not one.getblocking()
        one.setblocking(True)
        assert one.gettimeout() is None
        with pytest.raises(ValueError, match="Timeout value out of range"):
            one.settimeout(-1)
        with pytest.raises(TypeError):
            one.settimeout("soon")


def test_nothing_blocks_when_not_blocking(world):
    client, _ = world.connected()
    with world.listener() as listener:
        client.setblocking(False)
        listener.setblocking(False)
        for call in (
            lambda: client.recv(1),
            lambda: client.recv_into(bytearray(1)),
            listener.accept,
        ):
            with pytest.raises(BlockingIOError) as caught:
                call()
            assert caught.value.errno == errno.EAGAIN


def test_a_connect_that_does_not_block_ends_writable(world):
    with world.listener() as listener, world.fresh() as client:
        client.setblocking(False)
        code = client.connect_ex(listener.getsockname())
        assert code in (0, errno.EINPROGRESS)
        assert select.select([], [client], [], 5)[1] == [client]
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        assert client.getpeername() == listener.getsockname()
        assert client.connect_ex(listener.getsockname()) in (0, errno.EISCONN)
        with pytest.raises(OSError) as caught:
            client.connect(listener.getsockname())
        assert caught.value.errno == errno.EISCONN


def test_a_connect_to_nowhere_times_out(stack_world):
    with stack_world.fresh() as client:
        client.settimeout(0.001)
        # The far stack's own network, which drops by policy: nothing ever answers.
        stack_world.pair.near.set_policy("10.1.0.66", "drop")
        with pytest.raises(TimeoutError, match=r"^timed out$"):
            client.connect(("10.1.0.66", 1))
        client.setblocking(False)
        with pytest.raises(BlockingIOError) as caught:
            client.connect(("10.1.0.66", 1))
        assert caught.value.errno == errno.EALREADY


# Errors.


def test_a_closed_port_refuses(world):
    with world.bound() as taken, world.fresh() as client:
        with pytest.raises(ConnectionRefusedError) as caught:
            client.connect(taken.getsockname())
        assert caught.value.errno == errno.ECONNREFUSED
    with world.bound() as taken, world.fresh() as client:
        assert client.connect_ex(taken.getsockname()) == errno.ECONNREFUSED


def test_a_refusal_is_an_error_of_a_nonblocking_socket(world):
    with world.bound() as taken, world.fresh() as client:
        client.setblocking(False)
        code = client.connect_ex(taken.getsockname())
        if code == errno.EINPROGRESS:
            assert select.select([], [client], [], 5)[1] == [client]
            code = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        assert code == errno.ECONNREFUSED
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_a_reset_is_told_once_then_the_pipe_is_broken(world):
    client, server = world.connected()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    server.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert client.recv(1) == b""
    with pytest.raises(BrokenPipeError):
        client.send(b"x")


def test_data_that_nobody_read_makes_the_close_a_reset(world):
    """RFC 2525 section 2.17."""
    client, server = world.connected()
    client.sendall(b"unread")
    assert select.select([server], [], [], 5)[0] == [server]
    server.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_sending_to_a_peer_that_has_gone_breaks_the_pipe(world):
    client, server = world.connected()
    server.close()
    assert client.recv(1) == b""
    with suppress(BrokenPipeError, ConnectionResetError):
        client.sendall(bytes(1 << 24))
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        client.sendall(b"x")


def test_shutdown_ends_one_direction(world):
    client, server = world.connected()
    client.shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenPipeError):
        client.send(b"x")
    assert server.recv(1) == b""
    server.sendall(b"still")
    assert client.recv(5, socket.MSG_WAITALL) == b"still"
    client.shutdown(socket.SHUT_RD)
    assert client.recv(1) == b""
    with pytest.raises(OSError) as caught:
        client.shutdown(17)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda one: one.getpeername(), errno.ENOTCONN),
        (lambda one: one.shutdown(socket.SHUT_RDWR), errno.ENOTCONN),
        (lambda one: one.recv(1), errno.ENOTCONN),
        (lambda one: one.send(b"x"), errno.EPIPE),
        (lambda one: one.accept(), errno.EINVAL),
    ],
    ids=["getpeername", "shutdown", "recv", "send", "accept"],
)
def test_a_fresh_socket_cannot(world, call, code):
    with world.fresh() as one:
        with pytest.raises(OSError) as caught:
            call(one)
        assert caught.value.errno == code


def test_a_listener_is_no_connection(world):
    with world.listener() as listener:
        listener.settimeout(None)
        for call, code in (
            (lambda: listener.recv(1), errno.ENOTCONN),
            (lambda: listener.getpeername(), errno.ENOTCONN),
            (lambda: listener.send(b"x"), errno.EPIPE),
        ):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == code


def test_a_name_is_taken_once(world):
    with world.listener() as listener:
        name = listener.getsockname()
        with world.fresh(near=True) as other:
            with pytest.raises(OSError) as caught:
                other.bind(name)
            assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError) as caught:
            listener.bind((world.host, 0))
        assert caught.value.errno == errno.EINVAL


def test_only_an_own_address_can_be_bound(world):
    with world.fresh() as one:
        with pytest.raises(OSError) as caught:
            one.bind((world.foreign, 0))
        assert caught.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize("call", ["bind", "connect", "connect_ex"])
def test_an_address_is_a_pair_of_text_and_port(world, call):
    with world.fresh() as one:
        for address in (
            "127.0.0.1",
            None,
            ("127.0.0.1",),
            ("127.0.0.1", 1, 2),
            ("127.0.0.1", "http"),
            (1, 1),
        ):
            with pytest.raises(TypeError):
                getattr(one, call)(address)
        for port in (-1, 65536):
            with pytest.raises(OverflowError, match="port must be 0-65535"):
                getattr(one, call)((world.host, port))


def test_what_is_no_address_is_a_gaierror(stack_world):
    with stack_world.fresh() as one:
        for host in ("localhost", "example.com", "::1", "10.1.0", "10.1.0.256"):
            with pytest.raises(socket.gaierror):
                one.connect((host, 80))
            with pytest.raises(socket.gaierror):
                one.connect_ex((host, 80))


# Life.


def test_a_closed_socket_is_closed(world):
    client, _ = world.connected()
    assert client.fileno() >= 0
    client.close()
    client.close()
    assert client.fileno() == -1
    assert "[closed]" in repr(client)
    for call in (
        lambda: client.recv(1),
        lambda: client.send(b"x"),
        lambda: client.getsockname(),
        lambda: client.connect((world.host, 1)),
        lambda: client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
        lambda: client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
    ):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EBADF


def test_a_socket_left_open_is_warned_about_and_closed(world):
    client, server = world.connected()
    world.ending.pop_all()
    gc.collect()
    with pytest.warns(ResourceWarning, match="unclosed"):
        del client
    assert server.recv(1) == b""
    server.close()


def test_a_socket_of_a_stack_is_a_socket(stack_world):
    client, _ = stack_world.connected()
    assert isinstance(client, socket.socket)
    assert client.family is socket.AF_INET
    assert client.type is socket.SOCK_STREAM
    assert client.proto == 0
    assert "fd=" not in repr(client)  # it has none until it is asked for it
    kind = f"family={client.family!s}, type={client.type!s}"
    expected = f"fd={client.fileno()}, {kind}, proto=0, "
    assert f"{expected}laddr={client.getsockname()}, raddr={client.getpeername()}>" in repr(client)
    assert not client.get_inheritable()
    with pytest.raises(TypeError):
        pickle.dumps(client)
    with pytest.raises(OSError) as caught:
        client.set_inheritable(True)
    assert caught.value.errno == errno.EOPNOTSUPP
    assert client.fileno() >= 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((socket.AF_UNIX, socket.SOCK_STREAM, 0), errno.EAFNOSUPPORT),
        ((socket.AF_INET, socket.SOCK_RAW, 0), errno.ESOCKTNOSUPPORT),
        ((socket.AF_INET, socket.SOCK_STREAM, 17), errno.EPROTONOSUPPORT),
        ((socket.AF_INET, socket.SOCK_DGRAM, 58), errno.EPROTONOSUPPORT),
    ],
)
def test_a_stack_has_no_sockets_of_other_kinds(pair, arguments, code):
    with pytest.raises(OSError) as caught:
        pair.near.socket(*arguments)
    assert caught.value.errno == code


def test_create_connection_binds_the_source_that_is_asked_for(stack_world):
    with stack_world.listener() as listener:
        listener.settimeout(5)
        far = stack_world.pair.far
        with far.create_connection(
            listener.getsockname(), timeout=5, source_address=("10.2.0.99", 0)
        ) as client:
            assert client.gettimeout() == 5
            server, peer = listener.accept()
            server.close()
            assert peer[0] == "10.2.0.99"


def test_urgent_data_is_in_line(stack_world):
    """RFC 6093 section 3.1; as Linux, a read ends before it."""
    client, server = stack_world.connected()
    client.sendall(b"ab")
    assert client.send(b"!", socket.MSG_OOB) == 1
    client.sendall(b"cd")
    assert server.recv(5, socket.MSG_WAITALL) == b"ab"
    assert server.recv(3, socket.MSG_WAITALL) == b"!cd"
    with pytest.raises(OSError) as caught:
        server.recv(1, socket.MSG_OOB)
    assert caught.value.errno == errno.EINVAL


def test_urgent_data_ends_a_read_that_waits_for_more():
    with VirtualNetwork() as net:
        a, b = net.host("10.0.0.1"), net.host("10.0.0.2")
        net.link(a, b, delay="1ms")

        def receive():
            with b.create_server(("10.0.0.2", 80)) as listener, listener.accept()[0] as server:
                return [server.recv(5, socket.MSG_WAITALL), server.recv(3, socket.MSG_WAITALL)]

        reading = net.spawn(receive)
        net.sleep(0)
        with a.create_connection(("10.0.0.2", 80)) as client:
            client.sendall(b"ab")
            net.sleep(0.1)
            client.send(b"!", socket.MSG_OOB)
            client.sendall(b"cd")
            assert reading.result() == [b"ab", b"!cd"]


def test_an_abort_is_a_reset(stack_world):
    client, server = stack_world.connected()
    client.abort()
    with pytest.raises(ConnectionResetError):
        server.recv(1)
    assert client.fileno() == -1
