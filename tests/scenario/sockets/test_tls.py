"""ssl.SSLContext.wrap_socket does on a stack's sockets what it does on a kernel's."""

from __future__ import annotations

import gc
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from pystack import Socket

PEM = Path(__file__).parents[1] / "aio/server.pem"  # server.test, 10.1.0.5, 127.0.0.1
BIG = bytes(range(256)) * 8192
PATIENCE = 20


def server_context(**options):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(PEM)
    for name, value in options.items():
        setattr(made, name, value)
    return made


def client_context():
    return ssl.create_default_context(cafile=PEM)


@pytest.fixture
def tls(world, in_thread):
    """Both ends of a connection with TLS, made in two threads."""

    def make(context=None, **options):
        client, server = world.connected()
        serving = in_thread(
            lambda: (context or server_context()).wrap_socket(server, server_side=True)
        )
        options.setdefault("server_hostname", "server.test")
        near = client_context().wrap_socket(client, **options)
        far = serving.result()
        return world.ending.enter_context(near), world.ending.enter_context(far)

    return make


def test_both_ends_are_ssl_sockets_and_tell_what_was_agreed_on(world, tls):
    near, far = tls()
    for one in (near, far):
        assert isinstance(one, ssl.SSLSocket)
        assert one.version() == "TLSv1.3"
        assert one.cipher()[2] >= 128
        assert one.gettimeout() == PATIENCE
        assert one.fileno() >= 0
        assert one.getpeername()[0] in (near.getsockname()[0], far.getsockname()[0])
    assert isinstance(near, Socket) == (world.name == "pystack")
    assert near.getpeercert()["subject"]
    assert near.server_hostname == "server.test"
    assert near.session is not None
    with pytest.raises(NotImplementedError):
        near.dup()
    with pytest.raises(NotImplementedError):
        near.sendmsg([b"plain"])


def test_the_socket_that_was_wrapped_is_closed(world, in_thread):
    client, server = world.connected()
    serving = in_thread(lambda: server_context().wrap_socket(server, server_side=True))
    with client_context().wrap_socket(client, server_hostname="server.test"), serving.result():
        assert client.fileno() == server.fileno() == -1
        with pytest.raises(OSError, match=r"Bad file descriptor"):
            client.recv(1)


def test_a_name_that_cannot_be_one_leaves_no_socket_open(stack_world):
    sock = stack_world.fresh()
    with pytest.raises(UnicodeError):
        client_context().wrap_socket(sock, server_hostname=".test")
    assert sock.fileno() == -1


class Forwarding:
    """What is no socket, but passes on to one whatever it is asked."""

    def __init__(self, sock):
        self._sock = sock

    def __getattr__(self, name):
        return getattr(self._sock, name)


def test_what_passes_on_to_a_socket_is_wrapped_as_that(world, in_thread):
    client, server = world.connected()
    serving = in_thread(lambda: server_context().wrap_socket(Forwarding(server), server_side=True))
    near = client_context().wrap_socket(client, server_hostname="server.test")
    with near, serving.result() as far:
        far.sendall(b"secret")
        assert near.recv(6) == b"secret"
        assert server.fileno() == -1


def test_data_goes_both_ways_and_whole(tls, in_thread):
    near, far = tls()
    sending = in_thread(near.sendall, BIG)
    got = bytearray()
    while len(got) < len(BIG):
        got += far.recv(1 << 16)
    sending.result()
    assert got == BIG
    assert far.send(b"") == 0
    assert far.send(b"answer") == 6
    into = bytearray(10)
    assert near.recv_into(into) == 6
    assert into[:6] == b"answer"


# Not on the kernel's: there CPython 3.13 now and then says in one thread what is of another.
@pytest.mark.parametrize("world", ["pystack"], indirect=True)
def test_both_directions_at_once_in_four_threads(tls, in_thread):
    near, far = tls()

    def take(sock):
        got = bytearray()
        while len(got) < len(BIG):
            got += sock.recv(1 << 16)
        return bytes(got)

    calls = [in_thread(take, near), in_thread(take, far)]
    calls += [in_thread(near.sendall, BIG), in_thread(far.sendall, BIG)]
    assert [call.result() for call in calls] == [BIG, BIG, None, None]


def test_files_read_and_write(tls):
    near, far = tls()
    with near.makefile("rwb") as mine, far.makefile("rwb") as other:
        mine.write(b"first\nsecond\n")
        mine.flush()
        assert other.readline() == b"first\n"
        assert other.readline() == b"second\n"


def test_a_listener_may_be_wrapped(world, in_thread):
    listening = server_context().wrap_socket(world.listener(), server_side=True)
    accepting = in_thread(listening.accept)
    client = client_context().wrap_socket(world.fresh(), server_hostname="server.test")
    with listening, client:
        client.connect(listening.getsockname())
        server, address = accepting.result()
        with server:
            assert address == client.getsockname()
            server.sendall(b"hello")
            assert client.recv(10) == b"hello"
        assert client.recv(10) == b""


def test_connect_ex_shakes_hands_too(world, in_thread):
    listening = server_context().wrap_socket(world.listener(), server_side=True)
    accepting = in_thread(listening.accept)
    client = client_context().wrap_socket(world.fresh(), server_hostname="server.test")
    with listening, client:
        assert client.connect_ex(listening.getsockname()) == 0
        accepting.result()[0].close()
        assert client.version() == "TLSv1.3"
        with pytest.raises(ValueError, match="already-connected"):
            client.connect(listening.getsockname())


def test_a_certificate_of_somebody_else_is_refused(world, in_thread):
    client, server = world.connected()
    serving = in_thread(lambda: server_context().wrap_socket(server, server_side=True))
    with pytest.raises(ssl.SSLCertVerificationError):
        client_context().wrap_socket(client, server_hostname="other.test")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        serving.result().recv(1)


def test_a_peer_that_does_not_speak_tls_is_an_error(world):
    client, server = world.connected()
    server.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        client_context().wrap_socket(client, server_hostname="server.test")


def test_alpn_and_server_names_are_told(world, in_thread):
    named = []
    context = server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    other = server_context()
    other.set_alpn_protocols(["h2", "http/1.1"])

    def choose(sock, name, _):
        named.append((name, sock.context is context))
        sock.context = other

    context.sni_callback = choose
    client, server = world.connected()
    serving = in_thread(lambda: context.wrap_socket(server, server_side=True))
    wanting = client_context()
    wanting.set_alpn_protocols(["http/1.1"])
    near = wanting.wrap_socket(client, server_hostname="server.test")
    with near, serving.result() as far:
        assert near.selected_alpn_protocol() == far.selected_alpn_protocol() == "http/1.1"
        assert far.context is other
    assert named == [("server.test", True)]


def test_unwrap_leaves_the_connection_in_clear(tls, in_thread):
    near, far = tls(server_context(maximum_version=ssl.TLSVersion.TLSv1_2))
    far.sendall(b"secret")
    assert near.recv(6) == b"secret"
    ending = in_thread(far.unwrap)
    plain = near.unwrap()
    other = ending.result()
    other.sendall(b"in clear")
    assert plain.recv(20) == b"in clear"
    with pytest.raises(ValueError, match="unwrapped"):
        near.read(1)


def test_the_end_without_a_closing_alert_is_told_if_asked_for(tls):
    near, far = tls(suppress_ragged_eofs=False)
    far.close()
    with pytest.raises(ssl.SSLEOFError):
        near.recv(1)


def test_a_read_times_out(tls):
    near, _ = tls()
    near.settimeout(0.01)
    with pytest.raises(TimeoutError, match="The read operation timed out"):
        near.recv(1)


def test_a_handshake_times_out(world):
    client, _ = world.connected()
    client.settimeout(0.01)
    with pytest.raises(TimeoutError, match="The handshake operation timed out"):
        client_context().wrap_socket(client, server_hostname="server.test")


def test_nothing_waits_when_not_blocking(world, tls):
    near, far = tls()
    near.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        near.recv(1)
    client, _ = world.connected()
    client.setblocking(False)
    with pytest.raises(ValueError, match="non-blocking"):
        client_context().wrap_socket(client, server_hostname="server.test")
    far.sendall(b"x")
    assert select.select([near], [], [], PATIENCE)[0]
    got = b""
    while not got:
        try:
            got = near.recv(1)
        except ssl.SSLWantReadError:
            select.select([near], [], [], PATIENCE)
    assert got == b"x"


def test_a_handshake_goes_on_by_select(world, in_thread):
    client, server = world.connected()
    serving = in_thread(lambda: server_context().wrap_socket(server, server_side=True))
    client.setblocking(False)
    near = client_context().wrap_socket(
        client, server_hostname="server.test", do_handshake_on_connect=False
    )
    with near:
        while True:
            try:
                near.do_handshake()
                break
            except ssl.SSLWantReadError:
                assert select.select([near], [], [], PATIENCE)[0]
            except ssl.SSLWantWriteError:
                assert select.select([], [near], [], PATIENCE)[1]
        with serving.result() as far:
            assert near.version() == far.version()


def test_what_select_shows_and_pending_together_are_all_there_is(tls):
    """One record at a time: a program that reads one and then waits must see the next."""
    near, far = tls()
    for number in range(5):
        far.sendall(b"%d" % number * 1000)
    got = bytearray()
    while len(got) < 5000:
        if not near.pending():
            assert select.select([near], [], [], PATIENCE)[0]
        got += near.recv(600)
    assert got == b"".join(b"%d" % number * 1000 for number in range(5))


def test_a_write_that_did_not_fit_goes_on_where_it_was(tls, in_thread):
    near, far = tls()
    near.setblocking(False)
    data = memoryview(BIG * 8)
    at = 0

    def take():
        got = 0
        while got < len(data):
            got += len(far.recv(1 << 18))
        return got

    with suppress(ssl.SSLWantWriteError):
        while at < len(data):
            at += near.send(data[at : at + 50000])
    assert at < len(data)
    taking = in_thread(take)
    while at < len(data):
        try:
            at += near.send(data[at : at + 50000])
        except ssl.SSLWantWriteError:
            assert select.select([], [near], [], PATIENCE)[1]
    assert taking.result() == len(data)


def test_closing_ends_a_blocked_read(stack_world, in_thread):
    client, server = stack_world.connected()
    serving = in_thread(lambda: server_context().wrap_socket(server, server_side=True))
    near = client_context().wrap_socket(client, server_hostname="server.test")
    far = serving.result()
    near.settimeout(None)
    reading = in_thread(near.recv, 1)
    while not near._sslobj.receiving.locked():
        threading.Event().wait(0.001)
    near.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        reading.result()
    far.close()


def test_a_reset_is_a_reset(stack_world, in_thread):
    """Python 3.11's own takes it for an end, and hides it."""
    client, server = stack_world.connected()
    serving = in_thread(lambda: server_context().wrap_socket(server, server_side=True))
    near = client_context().wrap_socket(client, server_hostname="server.test")
    serving.result().abort()
    with near, pytest.raises(ConnectionResetError):
        near.recv(1)


def test_a_tls_socket_left_open_is_warned_about_and_closed(world, in_thread):
    client, server = world.connected()
    serving = in_thread(lambda: server_context().wrap_socket(server, server_side=True))
    near = client_context().wrap_socket(client, server_hostname="server.test")
    far = serving.result()
    far.sendall(b"x")
    assert near.recv(1) == b"x"
    with pytest.warns(ResourceWarning, match="unclosed"):  # noqa: PT031
        del near
        gc.collect()
    assert far.recv(1) == b""
    far.close()


def test_sessions_are_resumed(world, in_thread):
    context, wanting = server_context(), client_context()
    session = None
    for resumed in (False, True):
        client, server = world.connected()
        serving = in_thread(lambda one=server: context.wrap_socket(one, server_side=True))
        near = wanting.wrap_socket(client, server_hostname="server.test", session=session)
        with near, serving.result() as far:
            far.sendall(b"ticket")
            assert near.recv(6) == b"ticket"
            session = near.session
            assert near.session_reused == far.session_reused == resumed


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"server_side": True, "server_hostname": "a"}, ValueError),
        ({}, ValueError),
    ],
)
def test_what_wrap_socket_refuses(world, options, kind):
    client, _ = world.connected()
    context = server_context() if options.get("server_side") else client_context()
    with pytest.raises(kind):
        context.wrap_socket(client, **options)


def test_datagrams_are_refused(world):
    with pytest.raises(NotImplementedError):
        server_context().wrap_socket(world.fresh(socket.SOCK_DGRAM), server_side=True)


@pytest.mark.parametrize("first", ["import ssl", "import pystack; pystack.Stack"])
def test_ssl_may_be_imported_before_or_after(first):
    """It is not loaded with the stack, since that takes long."""
    code = (
        f"{first}; import sys, pystack\n"
        "made = pystack.Stack('10.0.0.0/24').socket()\n"
        "import ssl; made = ssl.create_default_context().wrap_socket(made, server_hostname='a')\n"
        "assert type(made).__name__ == 'TlsSocket', made\n"
        "assert not [one for one in sys.meta_path if type(one).__module__ == 'pystack.teach']\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], timeout=60, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_sockets_of_the_kernel_get_what_they_always_got(pair):
    with socket.socket() as own:
        made = client_context().wrap_socket(own, server_hostname="server.test")
        assert type(made) is ssl.SSLSocket
        made.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")
def test_a_detached_descriptor_carries_records(tls):
    near, far = tls()
    fd = near.detach()
    far.sendall(b"secret")
    assert select.select([fd], [], [], PATIENCE)[0]
    records = os.read(fd, 10000)
    assert records[:3] == b"\x17\x03\x03"
    assert b"secret" not in records
    with pytest.raises(OSError):
        near.recv(1)
    os.close(fd)
