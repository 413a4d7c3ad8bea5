"""Within pystack.patch blocking programs run on virtual hosts unchanged, and nothing leaks."""

from __future__ import annotations

import _socket
import asyncio
import http.client
import multiprocessing.connection
import os
import pickle
import select
import socket
import ssl
import threading
import urllib.request
from http.server import ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingTCPServer

import pytest
from scenario.sockets.test_servers import Page, Upper, serving

import pystack
from pystack import Socket, Stack

PEM = Path(__file__).parents[1] / "aio/server.pem"  # server.test, 10.1.0.5, 127.0.0.1
NAMES = {"server.test": "10.1.0.5", "six.test": "fd01::5"}
BEFORE = socket.socket


class Quiet(ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Its stack may end before its clients do."""


@pytest.fixture
def served(pair):
    """A server on the near stack."""
    made = []

    def serve(sock):
        server = Quiet(("", 0), Upper, bind_and_activate=False)
        server.socket.close()
        server.socket = sock
        context = serving(server)
        context.__enter__()
        made.append(context)

    yield serve
    for context in made:
        context.__exit__(None, None, None)


@pytest.fixture
def away(pair):
    """All addresses of the near stack are reached through the far one."""
    with pystack.patch(pair.far, routes=["10.1.0.0/24", "fd01::/64"], names=NAMES) as one:
        yield one


def contexts():
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(PEM)
    return server, ssl.create_default_context(cafile=PEM)


def test_a_server_and_a_client_meet_on_a_virtual_host(pair):
    with pystack.patch(pair.near), socket.create_server(("10.1.0.5", 80)) as listener:
        assert isinstance(listener, socket.socket)
        with socket.create_connection(("10.1.0.5", 80), timeout=20) as client:
            server, address = listener.accept()
            assert address == client.getsockname()
            assert isinstance(server, socket.socket)
            with server:
                client.sendall(b"hello")
                assert server.recv(5, socket.MSG_WAITALL) == b"hello"
                assert pair.near.connections()
    assert socket.socket is BEFORE


@pytest.mark.parametrize("host", ["10.1.0.5", "server.test", "fd01::5", "six.test", b"10.1.0.5"])
def test_hosts_are_found_however_they_are_written(pair, served, away, host):
    served(pair.near.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True))
    with socket.create_connection((host, 80), timeout=20) as client, client.makefile("rwb") as file:
        file.write(b"text\n")
        file.flush()
        assert file.readline() == b"TEXT\n"


def test_what_is_not_a_stack_s_is_the_kernel_s(away):
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.create_connection(listener.getsockname(), timeout=20) as client:
        server, _ = listener.accept()
        with server:
            client.sendall(b"x")
            assert server.recv(1) == b"x"
    one, other = socket.socketpair()
    with one, other:
        one.send(b"y")
        assert other.recv(1) == b"y"


def test_options_and_timeouts_go_along(pair, served, away):
    served(pair.near.create_server(("10.1.0.5", 80)))
    with socket.socket() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 3)  # which no stack has
        client.settimeout(17)
        client.bind(("", 4000))
        fd = client.fileno()
        client.connect(("10.1.0.5", 80))
        assert client.getsockname()[1] == 4000
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert client.gettimeout() == client.timeout == 17
        assert client.fileno() == fd
        assert client.family is socket.AF_INET
        client.sendall(b"a\n")
        assert select.select([fd], [], [], 20)[0]
        assert client.recv(2) == b"A\n"


def test_a_listener_is_said_to_be_for_children_and_is_not(pair):
    with pystack.patch(pair.near), socket.create_server(("10.1.0.5", 80)) as listener:
        listener.set_inheritable(True)
        assert not listener.get_inheritable()


def test_a_nonblocking_connect_is_told_by_the_descriptor_it_had_before(pair, served, away):
    served(pair.near.create_server(("10.1.0.5", 80)))
    with socket.socket() as client:
        client.setblocking(False)
        fd = client.fileno()
        assert client.connect_ex(("10.1.0.5", 80)) in (0, 115)
        assert select.select([], [fd], [], 20)[1]
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        client.send(b"a\n")
        assert select.select([fd], [], [], 20)[0]
        assert client.recv(2) == b"A\n"


def test_datagrams(pair, away):
    with (
        pair.near.socket(type=socket.SOCK_DGRAM) as server,
        socket.socket(type=socket.SOCK_DGRAM) as client,
    ):
        server.bind(("10.1.0.5", 53))
        client.settimeout(20)
        client.sendto(b"question", ("server.test", 53))
        data, sender = server.recvfrom(100)
        server.sendto(data.upper(), sender)
        assert client.recvfrom(100) == (b"QUESTION", ("10.1.0.5", 53))
        client.sendmsg([b"an", b"other"], [], 0, ("10.1.0.5", 53))
        assert server.recv(100) == b"another"


def test_the_standard_library_s_http_over_virtual_hosts(pair, monkeypatch):
    monkeypatch.setattr(socket, "getfqdn", lambda name="": name)  # it would ask the network
    with pystack.patch(pair.near, names=NAMES):
        server = ThreadingHTTPServer(("10.1.0.5", 80), Page)
        with serving(server):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open("http://server.test/page", timeout=20) as answer:
                assert answer.read() == b"/page at 10.1.0.5"


def test_https_by_the_usual_recipe(pair, monkeypatch):
    monkeypatch.setattr(socket, "getfqdn", lambda name="": name)
    own, trusting = contexts()
    with pystack.patch(pair.near, names=NAMES):
        server = ThreadingHTTPServer(("10.1.0.5", 443), Page)
        server.socket = own.wrap_socket(server.socket, server_side=True)
        with serving(server):
            client = http.client.HTTPSConnection("server.test", timeout=20, context=trusting)
            client.request("POST", "/", bytes(100_000))
            assert client.getresponse().read() == bytes(100_000)
            client.close()


def test_tls_begins_before_it_is_known_whose_the_socket_is(pair, in_thread):
    own, trusting = contexts()
    with pystack.patch(pair.near):
        listener = own.wrap_socket(socket.socket(), server_side=True)
        client = trusting.wrap_socket(socket.socket(), server_hostname="server.test")
        with listener, client:
            listener.bind(("10.1.0.5", 443))
            listener.listen()
            accepting = in_thread(listener.accept)
            client.settimeout(20)
            client.connect(("10.1.0.5", 443))
            server, _ = accepting.result()
            with server:
                server.sendall(b"secret")
                assert client.recv(6) == b"secret"
                assert client.version() == "TLSv1.3"


def test_tls_of_the_kernel_goes_on_as_before(in_thread, away):
    own, trusting = contexts()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        secret = own.wrap_socket(listener, server_side=True)
        with secret, trusting.wrap_socket(socket.socket(), server_hostname="server.test") as client:
            accepting = in_thread(secret.accept)
            client.connect(secret.getsockname())
            server, _ = accepting.result()
            with server:
                server.sendall(b"secret")
                assert client.recv(6) == b"secret"


def test_asyncio_runs_in_a_patch(pair, served, away):
    served(pair.near.create_server(("10.1.0.5", 80)))

    async def talk():
        reader, writer = await asyncio.open_connection("10.1.0.5", 80)
        writer.write(b"text\n")
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return line

    assert asyncio.run(talk()) == b"TEXT\n"


def test_an_earlier_class_is_refused_and_not_sent_to_the_kernel(away):
    """Whichever road it takes: connect, connect_ex, sendto, sendmsg."""
    target = ("10.1.0.5", 9)
    for kind in (BEFORE, _socket.socket):
        with BEFORE(type=socket.SOCK_DGRAM) if kind is BEFORE else Closing(kind) as sock:
            for call in (
                lambda sock=sock: sock.connect(target),
                lambda sock=sock: sock.connect_ex(target),
                lambda sock=sock: sock.sendto(b"x", target),
                lambda sock=sock: sock.sendto(b"x", 0, target),
                lambda sock=sock: sock.sendmsg([b"x"], [], 0, target),
            ):
                with pytest.raises(OSError, match=r"pystack: .* belongs to a stack"):
                    call()


class Closing(_socket.socket):
    """The C class in a with block."""

    def __init__(self, kind):
        super().__init__(socket.AF_INET, socket.SOCK_DGRAM)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def test_a_socket_that_the_kernel_has_bound_is_refused(away):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="belongs to a stack"):
            sock.connect(("10.1.0.5", 9))


def test_raw_sockets_are_refused_a_stack_s_address(away):
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
    except PermissionError:
        pytest.skip("raw sockets need root")
    with raw, pytest.raises(OSError, match="belongs to a stack"):
        raw.sendto(b"x", ("10.1.0.5", 0))


def test_refusals_and_timeouts_are_those_of_the_stack(away):
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("10.1.0.5", 81), timeout=20)


def test_blocks_nest_and_end_in_order(pair):
    outer, inner = pystack.patch(pair.near), pystack.patch(pair.far)
    with outer:
        with inner:
            with socket.create_server(("10.2.0.7", 80)) as one:
                assert one.getsockname() == ("10.2.0.7", 80)
            with pytest.raises(RuntimeError, match="opposite order"):
                outer.__exit__(None, None, None)
        with pytest.raises(OSError, match="assign requested address"):
            socket.create_server(("10.2.0.7", 80))
    assert socket.socket is BEFORE
    assert "getaddrinfo" in socket.getaddrinfo.__qualname__


def test_no_descriptor_is_made_unless_it_is_asked_for(pair, served, away):
    from scenario.sockets.blocked import descriptors

    served(pair.near.create_server(("10.1.0.5", 80)))
    with socket.create_connection(("10.1.0.5", 80), timeout=20) as first:
        first.sendall(b"a\n")
        assert first.recv(2) == b"A\n"
        before = descriptors()
        with socket.create_connection(("10.1.0.5", 80), timeout=20) as client:
            client.sendall(b"a\n")
            assert client.recv(2) == b"A\n"
            assert descriptors() == before


def test_a_stack_that_its_caller_turns_cannot_be_patched_in():
    with Stack("10.0.0.0/24") as stack, pytest.raises(ValueError, match=r"aio\.install"):
        pystack.patch(stack)


def test_sockets_live_on_after_the_block(pair, served):
    served(pair.near.create_server(("10.1.0.5", 80)))
    with pystack.patch(pair.far, routes=["10.1.0.0/24"]):
        client = socket.create_connection(("10.1.0.5", 80), timeout=20)
        undecided = socket.socket()
    with client, undecided:
        client.sendall(b"a\n")
        assert client.recv(2) == b"A\n"
        assert isinstance(client, BEFORE)
        undecided.bind(("127.0.0.1", 0))


def test_duplicates_and_files_work(pair, served, away):
    served(pair.near.create_server(("10.1.0.5", 80)))
    client = socket.create_connection(("10.1.0.5", 80), timeout=20)
    other = client.dup()
    assert isinstance(other, Socket)
    client.close()
    with other, other.makefile("rwb") as file:
        file.write(b"a\n")
        file.flush()
        assert file.readline() == b"A\n"


def test_a_socket_of_a_detached_descriptor(pair, served, away):
    served(pair.near.create_server(("10.1.0.5", 80)))
    client = socket.create_connection(("10.1.0.5", 80), timeout=20)
    address = client.getsockname()
    fd = client.detach()
    assert client.fileno() == -1
    for family in (-1, socket.AF_INET):
        with socket.socket(family, fileno=fd) as again:
            again.settimeout(20)
            assert isinstance(again, BEFORE)
            assert again.getsockname() == address
            again.sendall(b"a\n")
            assert again.recv(2) == b"A\n"
            assert again.detach() == fd
    os.close(fd)


def test_a_socket_that_has_become_a_stack_s_keeps_its_number(pair, served, away):
    served(pair.near.create_server(("10.1.0.5", 80)))
    client = socket.socket()
    client.settimeout(20)
    fd = client.fileno()
    client.connect(("10.1.0.5", 80))
    assert client.detach() == fd
    with socket.fromfd(fd, socket.AF_INET, socket.SOCK_STREAM) as other:
        os.close(fd)
        other.settimeout(20)
        other.sendall(b"a\n")
        assert other.recv(2) == b"A\n"


def test_a_descriptor_of_the_kernel_s_stays_that(pair, away):
    with BEFORE() as kernels:
        kernels.bind(("127.0.0.1", 0))
        with socket.fromfd(kernels.fileno(), socket.AF_INET, socket.SOCK_STREAM) as other:
            assert other.getsockname() == kernels.getsockname()


def test_a_detached_descriptor_never_becomes_a_connection_of_the_kernel(pair, served, away):
    """Also if its stack has gone, and whatever family it is said to have."""
    served(pair.near.create_server(("10.1.0.5", 80)))
    client = socket.create_connection(("10.1.0.5", 80), timeout=20)
    client.sendall(b"a\n")
    assert client.recv(2) == b"A\n"  # so it was accepted: one that is reset before never is
    fd = client.detach()
    pair.far.close()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fd) as left:
        for address in (("10.1.0.5", 80), ("127.0.0.1", 9)):
            with pytest.raises(OSError):
                left.connect(address)
        with pytest.raises(OSError):
            left.sendall(b"x")


def test_multiprocessing_reads_and_writes_by_the_number(pair, away):
    with (
        pystack.patch(pair.near),
        multiprocessing.connection.Listener(("10.1.0.5", 80), authkey=b"key") as listener,
    ):
        taken = []
        serving = threading.Thread(target=lambda: taken.append(listener.accept()))
        serving.start()
        with multiprocessing.connection.Client(("10.1.0.5", 80), authkey=b"key") as client:
            serving.join(20)
            [server] = taken
            with server:
                much = {"much": bytes(1 << 20)}
                sending = threading.Thread(target=client.send, args=(much,))
                sending.start()
                assert server.recv() == much
                sending.join(20)
                server.send("answer")
                assert client.poll(20)
                assert client.recv() == "answer"
            with pytest.raises(EOFError):
                client.recv()


def test_a_socket_is_not_pickled(pair, served, away):
    """It would hand the number to another process."""
    served(pair.near.create_server(("10.1.0.5", 80)))
    with socket.create_connection(("10.1.0.5", 80), timeout=20) as client:
        for sock in (client, client.dup()):
            with sock, pytest.raises(TypeError, match="cannot pickle"):
                pickle.dumps(sock)


def test_tls_of_a_class_of_the_program_s_own(pair, away):
    """It works on the descriptor, as without stacks."""

    class Own(ssl.SSLSocket):
        pass

    server, client = contexts()
    server.sslsocket_class = client.sslsocket_class = Own
    with pair.near.create_server(("10.1.0.5", 443)) as listener:
        listener.settimeout(20)
        plain = socket.create_connection(("10.1.0.5", 443), timeout=20)
        accepted, _ = listener.accept()
        accepted.settimeout(20)
        shown = []
        serving = threading.Thread(
            target=lambda: shown.append(server.wrap_socket(accepted, server_side=True))
        )
        serving.start()
        with client.wrap_socket(plain, server_hostname="server.test") as near:
            serving.join(20)
            [far] = shown
            with far:
                assert isinstance(near, Own)
                near.sendall(bytes(1 << 16))
                assert far.recv(1 << 14) == bytes(1 << 14)
                far.sendall(b"answer")
                assert near.recv(10) == b"answer"


EVERYTHING = ["0.0.0.0/0", "::/0"]


def test_where_a_stack_has_all_addresses_sockets_are_its_own_from_the_beginning(pair):
    with pystack.patch(pair.near, routes=EVERYTHING):
        with socket.create_server(("", 0)) as listener:  # which would be the kernel's
            address = ("10.1.0.5", listener.getsockname()[1])
            with socket.create_connection(address, timeout=20) as client:
                listener.accept()[0].close()
                assert client.recv(1) == b""
        with socket.socket(type=socket.SOCK_DGRAM) as unbound:
            assert unbound.getsockopt(socket.IPPROTO_IP, 2) == 64  # IP_TTL: it is asked at once
            assert "pystack.socket.Socket" in repr(unbound)
        with socket.socket(socket.AF_UNIX) as other:
            assert "pystack.socket.Socket" not in repr(other)
        with pytest.raises(OSError, match="Protocol not supported"):
            socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)


def test_with_two_stacks_no_socket_is_anybody_s_at_first(pair):
    with (
        pystack.patch(pair.near, pair.far, routes=EVERYTHING),
        socket.socket() as one,
        socket.socket() as other,
    ):
        one.bind(("10.1.0.5", 0))
        other.bind(("10.2.0.5", 0))
        one.listen()
        other.settimeout(20)
        other.connect(one.getsockname())


def test_tls_on_a_socket_that_is_a_stack_s_knows_the_names(pair, in_thread):
    own, trusting = contexts()
    with pystack.patch(pair.near, routes=EVERYTHING, names=NAMES):
        listener = own.wrap_socket(socket.socket(), server_side=True)
        client = trusting.wrap_socket(socket.socket(), server_hostname="server.test")
        with listener, client:
            listener.bind(("server.test", 0))
            listener.listen()
            accepting = in_thread(listener.accept)
            client.settimeout(20)
            client.connect(("server.test", listener.getsockname()[1]))
            with accepting.result()[0] as server:
                server.sendall(b"secret")
                assert client.recv(6) == b"secret"
