"""Servers and streams are asyncio's own, as far as a program can tell."""

from __future__ import annotations

import asyncio
import errno
import sys

import pytest
from scenario.aio.conftest import Recorder, in_loop

from pystack import PipeDevice, aio


async def echo(reader, writer):
    while data := await reader.read(100):
        writer.write(data)
        await writer.drain()
    writer.close()


@in_loop
async def test_a_server_is_one_until_it_is_closed(world):
    server, port = await world.serve(Recorder, start_serving=False)
    assert not server.is_serving()
    assert server.get_loop() is asyncio.get_running_loop()
    await server.start_serving()
    await server.start_serving()
    assert server.is_serving()
    assert server.sockets[0].getsockname() == (world.host, port)
    server.close()
    server.close()
    assert not server.is_serving()
    assert server.sockets == ()
    await server.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await world.connect(Recorder, port)


@in_loop
async def test_a_server_ends_with_its_block(world):
    server, _ = await world.serve(Recorder)
    async with server:
        assert server.is_serving()
    assert not server.is_serving()


@in_loop
async def test_serve_forever_ends_when_it_is_cancelled(world):
    server, port = await world.serve(Recorder, start_serving=False)
    task = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0)
    transport, near = await world.connect(Recorder, port)
    with pytest.raises(RuntimeError, match="already being awaited"):
        await server.serve_forever()
    transport.close()
    await near.lost
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not server.is_serving()
    with pytest.raises(RuntimeError, match="is closed"):
        await server.serve_forever()


@in_loop
async def test_wait_closed_waits_for_clients_as_in_this_python(world):
    protocols = []

    def factory():
        protocols.append(Recorder())
        return protocols[-1]

    server, port = await world.serve(factory)
    transport, near = await world.connect(Recorder, port)
    while not protocols or not protocols[0].transport:
        await asyncio.sleep(0)
    server.close()
    waiting = asyncio.ensure_future(server.wait_closed())
    await asyncio.sleep(0)
    assert waiting.done() == (sys.version_info < (3, 12))
    transport.close()
    await near.lost
    await protocols[0].lost
    await waiting
    await server.wait_closed()


@pytest.mark.parametrize("method", ["close_clients", "abort_clients"])
def test_a_server_can_end_its_clients(stack_world, method):
    """As asyncio's server from Python 3.13 on."""

    async def claim(stack_world):
        near, far = await stack_world.pair()
        server, port = await stack_world.serve(Recorder)
        _, near = await stack_world.connect(Recorder, port)
        while not server._clients:
            await asyncio.sleep(0)
        server.close()
        getattr(server, method)()
        await server.wait_closed()
        await near.lost
        assert not far.lost.done()
        far.transport.abort()

    in_loop(claim)(stack_world=stack_world)


@in_loop
async def test_a_port_that_is_taken_is_an_error(world):
    server, port = await world.serve(Recorder)
    with pytest.raises(OSError, match="error while attempting to bind on address") as caught:
        await world._call("create_server", world.near)(Recorder, world.host, port)
    assert caught.value.errno == errno.EADDRINUSE
    server.close()


@in_loop
async def test_servers_may_share_a_port(world):
    """SO_REUSEPORT."""
    server, port = await world.serve(Recorder, reuse_port=True)
    serve = world._call("create_server", world.near)
    other = await serve(Recorder, world.host, port, reuse_port=True)
    with pytest.raises(OSError, match="in use"):
        await serve(Recorder, world.host, port)
    server.close()
    other.close()


@in_loop
async def test_a_factory_that_fails_ends_its_connection_only(stack_world):
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, it: told.append(it["exception"]))
    made = []

    def factory():
        made.append(None)
        if len(made) == 1:
            raise ZeroDivisionError
        return Recorder()

    server, port = await stack_world.serve(factory)
    problem: object = None
    try:
        problem = await (await stack_world.connect(Recorder, port))[1].lost
    except ConnectionResetError as raised:  # before connect has returned
        problem = raised
    assert isinstance(problem, ConnectionResetError)
    transport, _ = await stack_world.connect(Recorder, port)
    assert [type(one) for one in told] == [ZeroDivisionError]
    transport.abort()
    server.close()


@in_loop
async def test_streams_carry_lines_both_ways(world):
    server = (
        await world._call("start_server", world.near)(echo, world.host, 0)
        if world.near
        else (await asyncio.start_server(echo, world.host, 0))
    )
    port = server.sockets[0].getsockname()[1]
    open_connection = (
        world._call("open_connection", world.far) if world.far else asyncio.open_connection
    )
    reader, writer = await open_connection(world.host, port)
    for number in range(10):
        writer.write(b"line %d\n" % number)
        await writer.drain()
        assert await reader.readline() == b"line %d\n" % number
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    server.close()


@in_loop
async def test_drain_waits_for_a_slow_reader(stack_world):
    async def serve(reader, writer):
        await go.wait()
        total.set_result(len(await reader.read()))
        writer.close()

    go, total = asyncio.Event(), asyncio.get_running_loop().create_future()
    server = await aio.start_server(stack_world.near, serve, stack_world.host, 0, limit=1000)
    port = server.sockets[0].getsockname()[1]
    _, writer = await aio.open_connection(stack_world.far, stack_world.host, port)
    writer.write(bytes(8 << 20))
    draining = asyncio.ensure_future(writer.drain())
    done, _ = await asyncio.wait([draining], timeout=0.02)
    assert not done
    go.set()
    await draining
    writer.close()
    assert await total == 8 << 20
    server.close()


@in_loop
async def test_without_a_host_a_server_is_at_every_address(stack_world):
    seen = asyncio.Queue()

    class Server(Recorder):
        def connection_made(self, transport):
            seen.put_nowait(transport.get_extra_info("sockname"))

    server = await aio.create_server(stack_world.near, Server, None, 80)
    assert len(server.sockets) == 2
    for host in ("10.1.0.77", "10.1.0.200", "fd01::77"):
        transport, _ = await aio.create_connection(stack_world.far, Recorder, host, 80)
        assert (await seen.get())[:2] == (host, 80)
        transport.close()
    server.close()


@in_loop
async def test_the_first_address_that_answers_is_taken(stack_world):
    """RFC 8305: one that says nothing only costs the delay."""
    loop = asyncio.get_running_loop()
    stack_world.near.set_policy("fd01::/64", "drop")
    server, port = await stack_world.serve(Recorder)

    async def lookup(host, port, **_):
        return [(30 if sys.platform == "darwin" else 10, 1, 6, "", ("fd01::5", port, 0, 0)),
                (2, 1, 6, "", ("10.1.0.5", port))]  # fmt: skip

    loop.getaddrinfo = lookup
    transport, _ = await aio.create_connection(
        stack_world.far, Recorder, "both.test", port, happy_eyeballs_delay=0.01
    )
    assert transport.get_extra_info("peername") == ("10.1.0.5", port)
    transport.abort()
    server.close()
    stack_world.near.set_policy("fd01::/64", "refuse")
    server.close()
    with pytest.raises(OSError, match="Multiple exceptions") as caught:
        await aio.create_connection(stack_world.far, Recorder, "both.test", port)
    assert "fd01::5" in str(caught.value)
    assert "10.1.0.5" in str(caught.value)


@in_loop
async def test_a_socket_of_the_stack_can_be_given(stack_world):
    listener = stack_world.near.socket()
    listener.bind(("10.1.0.5", 0))
    server = await aio.create_server(stack_world.near, Recorder, sock=listener)
    sock = stack_world.far.socket()
    sock.settimeout(0)
    await asyncio.get_running_loop().sock_connect(sock, listener.getsockname())
    transport, near = await aio.create_connection(stack_world.far, Recorder, sock=sock)
    transport.close()
    assert await near.lost is None
    server.close()


@in_loop
async def test_closing_the_stack_ends_its_connections(stack_world):
    near, far = await stack_world.pair()
    server, _ = await stack_world.serve(Recorder)
    stack_world.near.close()
    assert isinstance(await near.lost, ConnectionResetError)
    assert isinstance(await far.lost, OSError)
    await server.wait_closed()
    assert not server.is_serving()
    with pytest.raises(RuntimeError, match="is closed"):
        await stack_world.serve(Recorder)


def test_a_stack_is_turned_by_one_loop_only():
    device, other = PipeDevice.pair()

    async def use(stack):
        await aio.create_server(stack, Recorder, None, 5)

    stack = aio.Stack("10.1.0.0/24", device=device)
    asyncio.run(use(stack))
    asyncio.run(again(stack))
    stack.close()
    other.close()


async def again(stack):
    """The loop before is closed; this one takes over."""
    server = await aio.create_server(stack, Recorder, None, 6)
    assert server.is_serving()
    server.close()
