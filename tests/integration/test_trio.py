"""pystack.trio: streams, listeners and sockets in a run of trio, and what runs on it unchanged."""

from __future__ import annotations

import functools
import hashlib
import re
import socket
from contextlib import AsyncExitStack, ExitStack

import pytest
from integration.asgi import uvicorn_with
from integration.conftest import (
    BIG,
    FAR,
    HERE,
    NAMES,
    NEAR,
    PATIENCE,
    PIECE,
    big,
    big_sum,
    contexts,
)

import pystack
from pystack import PipeDevice
from pystack.testing import VirtualNetwork

pytestmark = pytest.mark.needs("trio")


def in_trio(test):
    """Run a test that is a coroutine."""

    @functools.wraps(test)
    def run(**fixtures):
        import trio

        async def main():
            with trio.fail_after(PATIENCE):
                await test(**fixtures)

        trio.run(main)

    return run


class Two(AsyncExitStack):
    """Two stacks: `near`, `far`."""

    def __init__(self, driver):
        super().__init__()
        self.driver = driver

    async def __aenter__(self):
        await super().__aenter__()
        one, other = PipeDevice.pair()
        if self.driver == "thread":
            self.near = self.enter_context(pystack.Stack(*NEAR, device=one))
            self.far = self.enter_context(pystack.Stack(*FAR, device=other))
        else:
            Stack = pystack.trio.Stack
            self.near = await self.enter_async_context(Stack(*NEAR, device=one))
            self.far = await self.enter_async_context(Stack(*FAR, device=other))
        return self


@pytest.fixture(params=["trio", "thread"])
def driver(request):
    return request.param


async def echo(stream):
    async with stream:
        async for data in stream:
            await stream.send_all(data)


@pytest.mark.parametrize("host", ["10.1.0.5", "fd01::5"])
@in_trio
async def test_streams_carry_a_file_there_and_back(driver, host):
    import trio

    async with Two(driver) as two, trio.open_nursery() as nursery:
        await nursery.start(pystack.trio.serve_tcp, two.near, echo, 7)
        stream = await pystack.trio.open_tcp_stream(two.far, host, 7)
        assert isinstance(stream, trio.SocketStream)
        found = hashlib.sha256()

        async def send():
            for piece in big():
                await stream.send_all(piece)
            await stream.send_eof()

        nursery.start_soon(send)
        async for data in stream:
            found.update(data)
        assert found.hexdigest() == big_sum()
        nursery.cancel_scope.cancel()


@in_trio
async def test_tls_over_streams(driver):
    import trio

    server, client = contexts()
    async with Two(driver) as two, trio.open_nursery() as nursery:
        listeners = await pystack.trio.open_tcp_listeners(two.near, 443, host="10.1.0.5")
        tls = [trio.SSLListener(one, server) for one in listeners]
        nursery.start_soon(trio.serve_listeners, echo, tls)
        raw = await pystack.trio.open_tcp_stream(two.far, "10.1.0.5", 443)
        stream = trio.SSLStream(raw, client, server_hostname="server.test")
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"
        nursery.cancel_scope.cancel()


@in_trio
async def test_calls_end_by_cancellation_close_and_refusal(driver):
    import trio
    import trio.testing

    async with Two(driver) as two, trio.open_nursery() as nursery:
        with pytest.raises(ConnectionRefusedError):
            await pystack.trio.open_tcp_stream(two.far, "10.1.0.5", 9)
        listeners = await pystack.trio.open_tcp_listeners(two.near, 7, host="10.1.0.5")
        with trio.move_on_after(0.02) as scope:
            await listeners[0].accept()
        assert scope.cancelled_caught
        stream = await pystack.trio.open_tcp_stream(two.far, "10.1.0.5", 7)

        async def receive():
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some()

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await stream.aclose()
        await listeners[0].aclose()


@in_trio
async def test_a_sender_waits_for_a_slow_receiver(driver):
    import trio

    async with Two(driver) as two:
        listeners = await pystack.trio.open_tcp_listeners(two.near, 7, host="10.1.0.5")
        stream = await pystack.trio.open_tcp_stream(two.far, "10.1.0.5", 7)
        far = await listeners[0].accept()
        sent = 0
        with trio.move_on_after(0.5):
            while True:
                await stream.send_all(PIECE)
                sent += len(PIECE)
        assert sent < BIG
        await stream.aclose()
        await far.aclose()
        await listeners[0].aclose()


@in_trio
async def test_a_stack_that_ends_leaves_the_run_to_others():
    """A run that still goes on keeps its sockets of a stack, whoever else comes to use that."""
    import trio
    import trio.testing

    async def elsewhere(stack):
        listeners = await pystack.trio.open_tcp_listeners(stack, 8, host="10.1.0.5")
        with listeners[0].socket, trio.move_on_after(0.01):
            await listeners[0].accept()

    async with Two("thread") as two, trio.open_nursery() as nursery:
        await nursery.start(pystack.trio.serve_tcp, two.near, echo, 7)
        async with pystack.trio.Stack("10.9.0.0/24", device=PipeDevice.pair()[0]):
            pass
        await trio.testing.wait_all_tasks_blocked(0.01)
        await trio.to_thread.run_sync(trio.run, elsewhere, two.near)
        stream = await pystack.trio.open_tcp_stream(two.far, "10.1.0.5", 7)
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"
        nursery.cancel_scope.cancel()


@in_trio
async def test_datagrams_and_options(driver):
    async with Two(driver) as two:
        server = pystack.trio.socket(two.near, socket.AF_INET, socket.SOCK_DGRAM)
        client = pystack.trio.socket(two.far, socket.AF_INET, socket.SOCK_DGRAM)
        with server, client:
            await server.bind(("10.1.0.5", 53))
            assert await client.sendto(b"question", ("10.1.0.5", 53)) == 8
            data, sender = await server.recvfrom(100)
            assert (data, sender) == (b"question", (sender[0], client.getsockname()[1]))
            await server.sendto(b"answer", sender)
            assert await client.recv(100) == b"answer"


@in_trio
async def test_install_brings_trios_own_calls_to_stacks(driver):
    import trio
    import trio.testing

    async with Two(driver) as two, trio.open_nursery() as nursery:
        with pystack.trio.install(two.near, names=NAMES):
            await nursery.start(functools.partial(trio.serve_tcp, echo, 7, host="server.test"))
        with pystack.trio.install(two.far, routes=NEAR, names=NAMES):
            stream = await trio.open_tcp_stream("server.test", 7)
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
            assert stream.socket.getsockname()[0].startswith("10.2.0.")
            await stream.aclose()
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            kernel = await trio.testing.open_stream_to_socket_listener(listeners[0])
            await kernel.aclose()
            await listeners[0].aclose()
            with trio.socket.socket() as bound:
                await bound.bind(("127.0.0.1", 0))
                with pytest.raises(OSError, match="belongs to a stack"):
                    await bound.connect(("10.1.0.5", 7))
        nursery.cancel_scope.cancel()


class Choice:
    """A client in virtual time, and servers at every address of a name but the `dead` and `closed`.

    One round trip takes 0.2 s.
    """

    def __init__(self, addresses, dead=(), closed=()):
        self.addresses, self.dead, self.closed = addresses, dead, closed
        self.net = VirtualNetwork(seed=1)
        self.client = self.net.host("10.0.0.1", "fd00::1", name="client")
        self.servers = {one: self.net.host(one) for one in addresses}
        for address, server in self.servers.items():
            link = self.net.link(self.client, server, delay="100ms")
            if address in dead:
                link.partition()

    async def getaddrinfo(self, host, port, *options):
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, 1, 6, "", (one, port))
            for one in self.addresses
        ]

    async def getnameinfo(self, *arguments):
        raise NotImplementedError

    def connect(self, **options):
        """(seconds that it took, where it led or what it raised, connections that are left)."""
        import trio

        async def main():
            trio.socket.set_custom_hostname_resolver(self)
            async with trio.open_nursery() as nursery:
                for address, server in self.servers.items():
                    if address not in self.closed:
                        await nursery.start(pystack.trio.serve_tcp, server, echo, 7)
                try:
                    stream = await pystack.trio.open_tcp_stream(
                        self.client, "several.test", 7, **options
                    )
                    took, found = trio.current_time(), stream.socket.getpeername()[0]
                    left = len(self.client.connections())
                    await stream.aclose()
                except OSError as problem:
                    took, found, left = trio.current_time(), problem, 0
                nursery.cancel_scope.cancel()
            return round(took, 6), found, left

        with self.net:
            return self.net.run_trio(main)


def test_a_slow_address_is_not_waited_for():
    """RFC 8305 section 5: the next attempt begins 250 ms later, and the loser is given up."""
    choice = Choice(["fd00::2", "10.0.0.2"], dead=["fd00::2"])
    assert choice.connect() == (0.45, "10.0.0.2", 1)
    choice = Choice(["fd00::2", "10.0.0.2"], dead=["fd00::2"])
    assert choice.connect(happy_eyeballs_delay=0.1) == (0.3, "10.0.0.2", 1)


def test_the_first_address_wins_if_it_answers_meanwhile():
    choice = Choice(["fd00::2", "10.0.0.2"])
    assert choice.connect() == (0.2, "fd00::2", 1)
    choice = Choice(["fd00::2", "10.0.0.2"])
    assert choice.connect(happy_eyeballs_delay=0.1) == (0.2, "fd00::2", 1)


def test_after_a_refusal_the_next_address_is_tried_at_once():
    choice = Choice(["fd00::2", "10.0.0.2"], closed=["fd00::2"])
    assert choice.connect() == (0.4, "10.0.0.2", 1)


def test_the_families_take_turns():
    """RFC 8305 section 4."""
    choice = Choice(["fd00::2", "fd00::3", "10.0.0.2"], dead=["fd00::2", "fd00::3"])
    assert choice.connect() == (0.45, "10.0.0.2", 1)


def test_without_a_delay_one_address_is_tried_after_the_other():
    choice = Choice(["fd00::2", "10.0.0.2"], dead=["fd00::2"])
    took, found, _ = choice.connect(happy_eyeballs_delay=None)
    assert took > 60
    assert found == "10.0.0.2"


def test_an_address_of_ones_own_says_which_family_is_tried():
    choice = Choice(["fd00::2", "10.0.0.2"])
    assert choice.connect(local_address="10.0.0.1") == (0.2, "10.0.0.2", 1)


@in_trio
async def test_a_name_without_an_address_is_told():
    """As by trio.open_tcp_stream: a resolver of the program's own may find none."""
    import trio

    class Nowhere(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *arguments):
            return []

        async def getnameinfo(self, *arguments):
            raise NotImplementedError

    async with Two("trio") as two:
        trio.socket.set_custom_hostname_resolver(Nowhere())
        with pytest.raises(OSError, match=r"no results found.*nowhere\.test"):
            await pystack.trio.open_tcp_stream(two.far, "nowhere.test", 7)


def test_if_no_address_answers_all_failures_are_told():
    both = ["fd00::2", "10.0.0.2"]
    _, problem, _ = Choice(both, closed=both).connect()
    assert type(problem) is OSError
    assert [type(one) for one in problem.__cause__.exceptions] == [ConnectionRefusedError] * 2
    _, problem, _ = Choice(both[:1], closed=both).connect()
    assert type(problem) is ConnectionRefusedError


PAGE = HERE.parent.parent / "docs/how-to/trio.md"
BLOCKS = re.findall(r"```py\n(.*?)```\n\n```\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(3))
def test_the_page_on_trio_shows_what_happens(number, capsys):
    assert len(BLOCKS) == 3
    program, printed = BLOCKS[number]
    exec(compile(program, str(PAGE), "exec"), {"__name__": "page"})
    assert capsys.readouterr().out == printed


@pytest.mark.needs("httpx", "anyio", "uvicorn", "websockets", "h11")
def test_httpx_and_anyio_ask_on_trio(wire):
    import anyio
    import httpx
    import trio

    async def client():
        async with pystack.trio.Stack(*FAR, device=wire.far) as stack:
            with pystack.trio.install(stack, routes=NEAR, names=NAMES):
                async with httpx.AsyncClient(verify=contexts()[1], timeout=20) as client:
                    said = (await client.get("https://server.test/")).text
                async with await anyio.connect_tcp("server.test", 443) as stream:
                    return said, stream.extra_attributes[anyio.abc.SocketAttribute.remote_address]()

    with wire.serving(uvicorn_with("h11", tls=True)):
        said, peer = trio.run(client)
    assert said.startswith("https 10.1.0.5 10.2.0.")
    assert peer == ("10.1.0.5", 443)


@pytest.mark.needs("anyio")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio_serves_and_asks(wire, backend):
    """Its listeners are sockets of the socket module; its streams are made by asyncio or trio."""
    import anyio

    async def shout(stream):
        async with stream:
            await stream.send((await stream.receive()).upper())

    async def main():
        with wire.near_patched():
            listener = await anyio.create_tcp_listener(local_host="10.1.0.5", local_port=7)
            async with listener, anyio.create_task_group() as group:
                group.start_soon(listener.serve, shout)
                with wire.away() as far, ExitStack() as ending:
                    if backend == "trio":
                        ending.enter_context(pystack.trio.install(far, routes=NEAR))
                    async with await anyio.connect_tcp("10.1.0.5", 7) as stream:
                        await stream.send(b"hello")
                        assert await stream.receive() == b"HELLO"
                group.cancel_scope.cancel()

    anyio.run(main, backend=backend)


@pytest.mark.needs("anyio")
def test_anyio_asks_on_asyncio(wire):
    async def client():
        import anyio

        stream = await anyio.connect_tcp(
            "server.test", 443, tls=True, ssl_context=contexts()[1], tls_hostname="server.test"
        )
        async with stream:
            await stream.send(b"GET / HTTP/1.0\r\n\r\n")
            return b"".join([data async for data in stream])

    with wire.serving(uvicorn_with("h11", tls=True)):
        assert wire.ask(client).startswith(b"HTTP/1.1 200")
