"""An address that a stack owns never reaches the kernel, whichever call a program makes."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from importlib.util import find_spec

import pytest
from scenario.aio.conftest import PATIENCE, Recorder
from scenario.aio.test_datagrams import Recorder as Datagrams
from scenario.aio.test_tls import contexts

import pystack
from pystack import PipeDevice, aio

HOST = "10.1.0.5"
# How one address may be written.
SPELLINGS = [
    HOST, HOST.encode(), f"::ffff:{HOST}", "10.1.5", "0x0a010005", "167837701", "012.1.0.5",
    "web.test", "alias.test",
]  # fmt: skip
SOCK_SENDTO = sys.version_info >= (3, 11)  # an event loop has it since then


class Kernel:
    """What the kernel was asked for: every address that a real socket was to be connected to."""

    def __init__(self, monkeypatch):
        self.asked = []
        real = socket.socket

        def spy(name):
            call = getattr(real, name)

            def spied(sock, *arguments):
                self.asked.append((name, arguments[-1]))
                return call(sock, *arguments)

            return spied

        for name in ("connect", "connect_ex", "sendto"):
            monkeypatch.setattr(socket.socket, name, spy(name), raising=False)


@pytest.fixture
def kernel(monkeypatch):
    """The kernel, which nobody asks for an address of a stack."""
    made = Kernel(monkeypatch)
    yield made
    owned = [one for one in made.asked if str(one[1][0]).startswith(("10.1.", "fd01:", "::ffff:"))]
    assert owned == []


class Host:
    """Two stacks, of which one is installed: its addresses are reached through itself."""

    def __init__(self, stack, installation):
        self.stack = stack
        self.installation = installation
        self.loop = asyncio.get_running_loop()

    async def serve(self, factory=Recorder, host=HOST, **options):
        server = await self.loop.create_server(factory, host, 0, **options)
        assert isinstance(server, aio.StackServer)
        return server, server.sockets[0].getsockname()[1]


def installed(claim):
    """Run a claim on loops with a stack installed: asyncio's own, and uvloop's if that is there."""
    installed_on(asyncio.new_event_loop, claim)
    if find_spec("uvloop") is not None:
        import uvloop

        installed_on(uvloop.new_event_loop, claim)


def installed_on(new_loop, claim):

    async def lookup(host, port, *, family=0, type=0, proto=0, flags=0):
        if host in ("alias.test", b"alias.test"):
            host = HOST
        return socket.getaddrinfo(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)

    async def main():
        loop = asyncio.get_running_loop()
        loop.getaddrinfo = lookup  # the resolver of this machine
        near, _far = PipeDevice.pair()
        async with aio.Stack("10.1.0.0/24", "fd01::/64", device=near) as stack:
            with aio.install(loop, stack, names={"web.test": HOST}) as installation:
                await asyncio.wait_for(claim(Host(stack, installation)), PATIENCE)

    loop = new_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
def test_create_connection_goes_to_the_stack(kernel, spelling):
    async def claim(host):
        server, port = await host.serve()
        transport, protocol = await host.loop.create_connection(Recorder, spelling, port)
        assert isinstance(transport, aio.StackTransport)
        transport.close()
        await protocol.lost
        server.close()

    installed(claim)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
def test_sock_connect_parks_what_create_connection_adopts(kernel, spelling):
    """The way of aiohttp, which makes its sockets by itself."""

    async def claim(host):
        server, port = await host.serve()
        v6 = isinstance(spelling, str) and spelling.startswith("::")
        with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET) as sock:
            sock.setblocking(False)
            await host.loop.sock_connect(sock, (spelling, port))
            with pytest.raises(OSError):
                sock.send(b"the kernel's socket is not connected")
            transport, protocol = await host.loop.create_connection(Recorder, sock=sock)
        assert transport.get_extra_info("peername") == (HOST, port)
        transport.close()
        await protocol.lost
        server.close()

    installed(claim)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
def test_sock_sendto_is_refused(kernel, spelling, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", resolver(socket.getaddrinfo))

    async def claim(host):
        v6 = isinstance(spelling, str) and spelling.startswith("::")
        with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            if SOCK_SENDTO:
                with pytest.raises(OSError, match="belongs to a stack"):
                    await host.loop.sock_sendto(sock, b"x", (spelling, 9))
            with pytest.raises(OSError, match="belongs to a stack"):
                await host.loop.sock_connect(sock, (spelling, 9))

    installed(claim)


def resolver(real):
    """This machine's, which knows alias.test."""
    return lambda host, *rest, **options: real(
        HOST if host == "alias.test" else host, *rest, **options
    )


@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
def test_a_kernel_s_endpoint_does_not_send_to_a_stack(kernel, spelling, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", resolver(socket.getaddrinfo))

    class Eager(Datagrams):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.sendto(b"at once", (spelling, 9))

    async def claim(host):
        transport, protocol = await host.loop.create_datagram_endpoint(
            Eager, local_addr=("127.0.0.1", 0)
        )
        assert "belongs to a stack" in str(await protocol.problems.get())
        transport.sendto(b"later", (spelling, 9))
        assert "belongs to a stack" in str(await protocol.problems.get())
        assert transport is protocol.transport
        transport.sendto(b"to itself", transport.get_extra_info("sockname"))
        assert (await protocol.received.get())[0] == b"to itself"
        transport.close()
        await protocol.lost

    installed(claim)


@pytest.mark.parametrize("spelling", [HOST, "10.1.5", "web.test", "alias.test"])
def test_datagram_endpoints_go_to_the_stack(kernel, spelling):
    async def claim(host):
        near, serving = await host.loop.create_datagram_endpoint(
            Datagrams, local_addr=(spelling, 9)
        )
        far, _ = await host.loop.create_datagram_endpoint(Datagrams, remote_addr=(spelling, 9))
        assert isinstance(near, aio.StackDatagramTransport)
        assert isinstance(far, aio.StackDatagramTransport)
        far.sendto(b"hello")
        assert (await serving.received.get())[0] == b"hello"
        near.close()
        far.close()

    installed(claim)


def test_streams_go_to_the_stack(kernel):
    async def serve(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    async def claim(host):
        server = await asyncio.start_server(serve, HOST, 7)
        reader, writer = await asyncio.open_connection(HOST, 7, local_addr=("10.1.0.9", 0))
        assert writer.get_extra_info("sockname")[0] == "10.1.0.9"
        writer.write(b"hello\n")
        assert await reader.read() == b"hello\n"
        writer.close()
        await writer.wait_closed()
        server.close()

    installed(claim)


def test_a_bound_source_sends_everything_by_the_stack(kernel):
    """A peer that no stack owns, from an address that one does: not by the kernel."""

    async def claim(host):
        connect = host.loop.create_connection(Recorder, "127.0.0.1", 9, local_addr=("10.1.0.9", 0))
        with pytest.raises((OSError, asyncio.TimeoutError)):
            await asyncio.wait_for(connect, 0.05)

    installed(claim)
    assert kernel.asked == []


def test_everything_else_is_the_kernel_s(kernel):
    async def claim(host):
        server = await host.loop.create_server(Recorder, "127.0.0.1", 0)
        assert not isinstance(server, aio.StackServer)
        port = server.sockets[0].getsockname()[1]
        transport, protocol = await host.loop.create_connection(Recorder, "127.0.0.1", port)
        assert not isinstance(transport, aio.StackTransport)
        transport.close()
        await protocol.lost
        with socket.socket() as sock:
            sock.setblocking(False)
            await host.loop.sock_connect(sock, ("127.0.0.1", port))
            transport, protocol = await host.loop.create_connection(Recorder, sock=sock)
            transport.close()
            await protocol.lost
        server.close()

    installed(claim)
    assert kernel.asked


def test_a_name_is_looked_up_once(kernel):
    """A resolver that changes its mind brings nobody to the kernel with a stack's address."""

    async def claim(host):
        answers = ["127.0.0.1", HOST, HOST, HOST]

        async def lookup(name, port, **_):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

        host.installation.original["getaddrinfo"] = lookup
        with pytest.raises(ConnectionRefusedError):
            await host.loop.create_connection(Recorder, "rebinding.test", 1)
        assert len(answers) == 3

    installed(claim)


def test_a_server_is_of_one_stack(kernel):
    async def claim(host):
        with pytest.raises(ValueError, match="not of one stack only"):
            await host.loop.create_server(Recorder, [HOST, "127.0.0.1"], 80)
        server = await host.loop.create_server(Recorder, [HOST, "10.1.0.6", "fd01::5"], 80)
        assert len(server.sockets) == 3
        server.close()

    installed(claim)


def test_tls_and_start_tls_go_to_the_stack(kernel):
    server_context, client_context = contexts()

    async def claim(host):
        server, port = await host.serve(ssl=server_context)
        with pytest.raises(ssl.SSLCertVerificationError):  # the name that was asked for
            await host.loop.create_connection(Recorder, "web.test", port, ssl=client_context)
        transport, protocol = await host.loop.create_connection(
            Recorder, HOST, port, ssl=client_context
        )
        transport.close()
        await protocol.lost
        server.close()

    installed(claim)


def test_a_socket_of_the_stack_is_known_by_every_call(kernel):
    async def claim(host):
        listener = host.stack.socket()
        listener.bind((HOST, 0))
        listener.listen()
        sock = host.stack.socket()
        await host.loop.sock_connect(sock, listener.getsockname())
        accepted, _ = listener.accept()
        near, protocol = await host.loop.create_connection(Recorder, sock=sock)
        far, _ = await host.loop.connect_accepted_socket(Recorder, accepted)
        near.write(b"hello")
        near.close()
        await protocol.lost
        far.close()
        server = await host.loop.create_server(Recorder, sock=listener)
        server.close()
        if SOCK_SENDTO:
            datagrams = host.stack.socket(type=socket.SOCK_DGRAM)
            assert await host.loop.sock_sendto(datagrams, b"x", (HOST, 9)) == 1
            datagrams.close()

    installed(claim)


def test_routes_bring_what_lies_behind_a_stack(kernel):
    async def main():
        near, far = PipeDevice.pair()
        loop = asyncio.get_running_loop()
        async with (
            aio.Stack("10.1.0.0/24", device=near) as one,
            aio.Stack("203.0.113.0/24", device=far) as other,
        ):
            await aio.create_server(other, Recorder, "203.0.113.5", 80)
            with aio.install(loop, one, routes=["0.0.0.0/0"]):
                transport, protocol = await loop.create_connection(Recorder, "203.0.113.5", 80)
                assert transport.get_extra_info("sockname")[0].startswith("10.1.0.")
                transport.close()
                await protocol.lost

    asyncio.run(main())
    assert kernel.asked == []


def test_the_loop_gets_its_own_calls_back():
    loop = asyncio.new_event_loop()
    before = loop.create_connection
    with aio.install(loop):
        assert loop.create_connection != before
        assert aio.install(loop) is aio.install(loop)
    assert loop.create_connection == before
    loop.close()


def test_a_loop_factory_installs(kernel):
    near, _far = PipeDevice.pair()
    with aio.Stack("10.1.0.0/24", device=near) as stack:
        loop = aio.loop_factory(stack)()
        server = loop.run_until_complete(loop.create_server(Recorder, HOST, 80))
        assert isinstance(server, aio.StackServer)
        server.close()
        loop.close()


def test_sendfile_and_start_tls_take_a_stack_s_transports(kernel, tmp_path):
    server_context, client_context = contexts()
    path = tmp_path / "file"
    path.write_bytes(bytes(300_000))

    async def claim(host):
        accepted = asyncio.Queue()

        class Server(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                accepted.put_nowait(self)

        server, port = await host.serve(Server)
        transport, near = await host.loop.create_connection(Recorder, HOST, port)
        far = await accepted.get()
        transport, _ = await asyncio.gather(
            host.loop.start_tls(transport, near, client_context, server_hostname="server.test"),
            host.loop.start_tls(far.transport, far, server_context, server_side=True),
        )
        with path.open("rb") as file:
            assert await host.loop.sendfile(transport, file) == 300_000
        transport.close()
        await far.lost
        assert far.data == path.read_bytes()
        server.close()

    installed(claim)


EVERYTHING = ["0.0.0.0/0", "::/0"]


def test_where_a_stack_has_all_addresses_so_has_a_server_without_a_host(kernel):
    async def main():
        near, _far = PipeDevice.pair()
        loop = asyncio.get_running_loop()
        async with aio.Stack("10.1.0.0/24", "fd01::/64", device=near) as stack:
            with aio.install(loop, stack, routes=EVERYTHING):
                for host in (None, "", ["", None]):
                    server = await loop.create_server(Recorder, host, 0, family=socket.AF_INET)
                    assert isinstance(server, aio.StackServer)
                    port = server.sockets[0].getsockname()[1]
                    transport, _ = await loop.create_connection(Recorder, HOST, port)
                    transport.abort()
                    server.close()
                transport, _ = await loop.create_datagram_endpoint(Datagrams, family=socket.AF_INET)
                assert isinstance(transport, aio.StackDatagramTransport)
                transport.close()

    asyncio.run(main())


def test_sock_sendfile_sends_the_file_and_not_to_the_descriptor(kernel, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 1000)

    async def claim(host):
        if "uvloop" in type(host.loop).__module__:
            return  # uvloop has no such call
        server, port = await host.serve()
        sock = host.stack.socket()
        await host.loop.sock_connect(sock, (HOST, port))
        with path.open("rb") as file:
            with pytest.raises(asyncio.SendfileNotAvailableError):
                await host.loop.sock_sendfile(sock, file, fallback=False)
            assert await host.loop.sock_sendfile(sock, file, 6, 200_000) == 200_000
            assert file.tell() == 200_006
        sock.close()
        server.close()

    installed(claim)


def test_a_socket_of_a_patch_is_known_by_every_call(kernel):
    """What has become a stack's by its address is taken as the stack's own."""

    async def main(stack):
        loop = asyncio.get_running_loop()
        with pystack.patch(stack), aio.install(loop, stack, names={"web.test": HOST}):
            listener = socket.create_server((HOST, 0))
            listener.setblocking(False)
            server = await loop.create_server(Recorder, sock=listener)
            assert isinstance(server, aio.StackServer)
            sock = socket.socket()
            sock.setblocking(False)
            sock.bind((HOST, 0))
            await loop.sock_connect(sock, ("web.test", listener.getsockname()[1]))
            transport, protocol = await loop.create_connection(Recorder, sock=sock)
            assert isinstance(transport, aio.StackTransport)
            transport.close()
            await protocol.lost
            server.close()

    near, _far = PipeDevice.pair()
    with pystack.Stack("10.1.0.0/24", device=near) as stack:
        asyncio.run(main(stack))
