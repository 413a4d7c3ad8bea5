"""A connection's transport is asyncio's own, as far as a protocol can tell."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import sys

import pytest
from scenario.aio.conftest import Recorder, in_loop

import pystack

BIG = 8 << 20


@in_loop
async def test_connection_made_comes_first_and_connection_lost_once(world):
    near, far = await world.pair()
    near.transport.write(b"hello")
    assert await far.received(5) == b"hello"
    near.transport.close()
    near.transport.close()
    assert near.events == ["made"], "connection_lost comes through call_soon"
    assert await near.lost is None
    assert await far.lost is None
    await asyncio.sleep(0)
    assert near.events == ["made", "lost"]
    assert far.events == ["made", "data", "eof", "lost"]


@in_loop
async def test_what_is_written_in_connection_made_arrives(world):
    class Greeter(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.write(b"220 ")
            transport.writelines([b"wel", bytearray(b"co"), memoryview(b"me")])

    near, _ = await world.pair(server=Greeter)
    assert await near.received(11) == b"220 welcome"
    near.transport.abort()


@in_loop
async def test_close_flushes_what_is_buffered(world):
    near, far = await world.pair()
    near.transport.write(bytes(BIG))
    assert near.transport.get_write_buffer_size() > 0
    near.transport.close()
    assert near.transport.is_closing()
    await far.lost
    assert len(far.data) == BIG
    assert await near.lost is None
    assert far.events[-2:] == ["eof", "lost"]


@in_loop
async def test_what_was_written_is_let_go(world):
    """Also bytes that are sent from where they lie, while nothing more is written."""
    near, far = await world.pair()
    data = b"pystack " * (BIG // 8)
    before = sys.getrefcount(data)
    near.transport.write(data)
    assert await far.received(BIG) == data
    while sys.getrefcount(data) > before:
        await asyncio.sleep(0.01)
    near.transport.abort()


@in_loop
async def test_a_close_leaves_nothing_to_be_read(world):
    """After close() the protocol hears nothing but connection_lost."""
    near, far = await world.pair()
    far.transport.write(b"too late")
    near.transport.close()
    await near.lost
    assert near.events in (["made", "lost"], ["made", "data", "lost"])
    far.transport.abort()


@in_loop
async def test_a_fatal_error_closes_and_does_not_reset(world):
    """As TLS does it whose handshake takes too long."""
    near, far = await world.pair()
    problem = ConnectionAbortedError("too slow")
    near.transport._force_close(problem)
    assert await near.lost is problem
    assert await far.lost is None
    assert far.events == ["made", "eof", "lost"]


@in_loop
async def test_abort_discards_and_is_safe_after_close(world):
    near, far = await world.pair()
    far.transport.pause_reading()
    near.transport.write(bytes(BIG))
    near.transport.close()
    near.transport.abort()
    near.transport.abort()
    assert near.transport.get_write_buffer_size() == 0
    assert await near.lost is None
    far.transport.resume_reading()
    await far.lost
    assert len(far.data) < BIG
    near.transport.abort()


@in_loop
async def test_abort_is_a_reset_for_the_peer(stack_world):
    near, far = await stack_world.pair()
    near.transport.abort()
    problem = await far.lost
    assert isinstance(problem, ConnectionResetError)
    assert problem.errno == errno.ECONNRESET
    assert far.events == ["made", "lost"]


@in_loop
async def test_eof_received_that_returns_false_closes(world):
    near, far = await world.pair()
    near.transport.write(b"last words")
    near.transport.write_eof()
    near.transport.write_eof()
    await far.lost
    assert far.data == b"last words"
    assert far.events == ["made", "data", "eof", "lost"]
    assert await near.lost is None
    assert near.events == ["made", "eof", "lost"]


@in_loop
async def test_eof_received_that_returns_true_keeps_the_write_side(world):
    near, far = await world.pair()
    far.keep_open = True
    assert near.transport.can_write_eof()
    near.transport.write_eof()
    await far.ended
    assert not far.transport.is_closing()
    far.transport.write(b"the answer")
    assert await near.received(10) == b"the answer"
    far.transport.close()
    await near.lost
    assert await far.lost is None


@in_loop
async def test_write_after_write_eof_raises(world):
    near, far = await world.pair()
    near.transport.write_eof()
    with pytest.raises(RuntimeError, match=r"Cannot call write\(\) after write_eof\(\)"):
        near.transport.write(b"more")
    await far.lost
    await near.lost


@in_loop
async def test_the_fin_follows_what_is_buffered(world):
    near, far = await world.pair()
    far.keep_open = True
    near.transport.write(bytes(BIG))
    near.transport.write_eof()
    await far.ended
    assert len(far.data) == BIG
    near.transport.close()
    far.transport.close()
    await asyncio.gather(near.lost, far.lost)


@in_loop
async def test_write_after_the_loss_is_ignored(world):
    near, far = await world.pair()
    far.transport.abort()
    await near.lost
    for _ in range(3):
        near.transport.write(b"in vain")


@in_loop
async def test_write_takes_bytes_only(world):
    near, far = await world.pair()
    for wrong in ("text", None, 5, ["list"]):
        with pytest.raises(TypeError):
            near.transport.write(wrong)
    near.transport.write(b"")
    near.transport.close()
    await far.lost


@in_loop
async def test_what_is_written_is_copied(stack_world):
    """asyncio on the kernel keeps a view of it since Python 3.12."""
    near, far = await stack_world.pair()
    far.transport.pause_reading()
    data = bytearray(b"x" * BIG)
    near.transport.write(data)
    data[:] = bytes(BIG)
    far.transport.resume_reading()
    assert await far.received(BIG) == b"x" * BIG
    near.transport.close()
    await far.lost


@in_loop
async def test_pause_writing_and_resume_writing_alternate(world):
    near, far = await world.pair()
    near.transport.set_write_buffer_limits(high=1000, low=100)
    assert near.transport.get_write_buffer_limits() == (100, 1000)
    for _ in range(3):
        far.transport.pause_reading()
        near.transport.write(bytes(BIG))
        near.transport.write(bytes(BIG))
        assert near.transport.get_write_buffer_size() > 1000
        size = len(far.data)
        far.transport.resume_reading()
        await far.received(size + 2 * BIG)
    near.transport.close()
    await far.lost
    assert near.events == ["made", *["pause", "resume"] * 3, "lost"]


@in_loop
async def test_reading_can_be_paused_and_resumed_twice(world):
    near, far = await world.pair()
    assert far.transport.is_reading()
    far.transport.pause_reading()
    far.transport.pause_reading()
    assert not far.transport.is_reading()
    near.transport.write(b"while paused")
    for _ in range(20):
        await asyncio.sleep(0)
    assert far.data == b""
    far.transport.resume_reading()
    far.transport.resume_reading()
    assert far.transport.is_reading()
    await far.received(12)
    near.transport.close()
    await far.lost
    assert not far.transport.is_reading()
    far.transport.pause_reading()
    far.transport.resume_reading()


@in_loop
async def test_paused_reading_closes_the_receive_window(stack_world):
    """Memory is bounded by the buffers of both stacks, however much is written."""
    near, far = await stack_world.pair()
    far.transport.pause_reading()
    written = 4 * BIG
    near.transport.write(bytes(written))
    sender = near.transport.get_extra_info("socket")._sock
    stuck = -1
    while stuck != near.transport.get_write_buffer_size():
        stuck = near.transport.get_write_buffer_size()
        await asyncio.sleep(0.01)
    assert stuck > 0
    received, _, _ = far.transport.get_extra_info("socket")._sock.queued()
    assert far.data == b""
    assert 0 < received < BIG
    assert sender.tcp_info().snd_wnd < 65536
    far.transport.resume_reading()
    await far.received(written)
    near.transport.close()
    await far.lost


@in_loop
async def test_a_buffered_protocol_reads_into_its_own_memory(world):
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self):
            self.buffer = bytearray(7)
            self.data = b""
            self.lost = asyncio.get_running_loop().create_future()

        def connection_made(self, transport):
            self.transport = transport

        def get_buffer(self, sizehint):
            assert sizehint == -1
            return self.buffer

        def buffer_updated(self, count):
            assert 0 < count <= 7
            self.data += self.buffer[:count]

        def connection_lost(self, problem):
            self.lost.set_result(problem)

    near, far = await world.pair(server=Buffered)
    near.transport.write(bytes(range(100)))
    near.transport.close()
    assert await far.lost is None
    assert far.data == bytes(range(100))


@in_loop
async def test_the_protocol_can_be_changed_to_a_buffered_one(world):
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self):
            self.buffer = bytearray(100)
            self.filled = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint):
            return self.buffer

        def buffer_updated(self, count):
            self.filled.set_result(bytes(self.buffer[:count]))

    near, far = await world.pair()
    second = Buffered()
    far.transport.set_protocol(second)
    assert far.transport.get_protocol() is second
    near.transport.write(b"to the second")
    assert await second.filled == b"to the second"
    near.transport.abort()
    far.transport.abort()


@in_loop
async def test_what_is_known_of_a_connection(world):
    near, far = await world.pair()
    for one, other in ((near.transport, far.transport), (far.transport, near.transport)):
        assert one.get_extra_info("sockname") == other.get_extra_info("peername")
        sock = one.get_extra_info("socket")
        assert sock.getsockname() == one.get_extra_info("sockname")
        assert sock.getpeername() == one.get_extra_info("peername")
        assert sock.family == pystack.AF_INET
        assert sock.type == pystack.SOCK_STREAM
        assert sock.getsockopt(pystack.IPPROTO_TCP, pystack.TCP_NODELAY) == 1
        sock.setsockopt(pystack.SOL_SOCKET, pystack.SO_KEEPALIVE, 1)
        assert one.get_extra_info("socket") is sock
        assert one.get_extra_info("cipher") is None
        assert one.get_extra_info("nothing", 5) == 5
    peername = near.transport.get_extra_info("peername")
    near.transport.close()
    await asyncio.gather(near.lost, far.lost)
    assert near.transport.get_extra_info("peername") == peername


@in_loop
async def test_connect_is_refused_where_nobody_listens(world):
    server, port = await world.serve(Recorder)
    server.close()
    await server.wait_closed()
    with pytest.raises(ConnectionRefusedError) as caught:
        await world.connect(Recorder, port)
    assert caught.value.errno == errno.ECONNREFUSED
    assert f"('{world.host}', {port})" in str(caught.value)


@in_loop
async def test_a_connect_that_is_cancelled_leaves_nothing(stack_world):
    stack_world.near.set_policy("10.1.0.77", "drop")
    stack_world.host = "10.1.0.77"
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(stack_world.connect(Recorder, 5), 0.02)
    assert stack_world.far.connections() == []


@in_loop
async def test_the_local_address_can_be_chosen(world):
    seen = asyncio.get_running_loop().create_future()

    class Server(Recorder):
        def connection_made(self, transport):
            seen.set_result(transport.get_extra_info("peername"))
            transport.close()

    server, port = await world.serve(Server)
    _, near = await world.connect(Recorder, port, local_addr=(world.client_host, 0))
    assert (await seen)[0] == world.client_host
    await near.lost
    server.close()


@pytest.mark.parametrize("method", ["data_received", "eof_received"])
def test_an_exception_of_the_protocol_ends_the_connection(world, method):
    """It is told to the loop's exception handler and to connection_lost."""
    told = []

    async def claim(world):
        def fail(self, *_):
            raise ZeroDivisionError

        near, far = await world.pair(server=type("Failing", (Recorder,), {method: fail}))
        asyncio.get_running_loop().set_exception_handler(lambda _, it: told.append(it))
        near.transport.write(b"x")
        near.transport.write_eof()
        assert isinstance(await far.lost, ZeroDivisionError)
        await near.lost

    in_loop(claim)(world=world)
    assert [type(it["exception"]) for it in told] == [ZeroDivisionError]
    assert method in told[0]["message"]


def test_a_transport_that_is_forgotten_warns(stack_world):
    async def claim(stack_world):
        near, far = await stack_world.pair()
        near.transport.pause_reading()
        near.transport = None
        with pytest.warns(ResourceWarning, match="unclosed transport"):
            gc.collect()
        await far.lost

    in_loop(claim)(stack_world=stack_world)


@in_loop
async def test_idle_connections_cost_no_descriptors(stack_world):
    server, port = await stack_world.serve(Recorder)
    made = [(await stack_world.connect(Recorder, port))[0]]
    gc.collect()  # what earlier tests have left behind
    before = len(os.listdir("/proc/self/fd"))
    made += [(await stack_world.connect(Recorder, port))[0] for _ in range(200)]
    assert len(os.listdir("/proc/self/fd")) == before
    for transport in made:
        transport.abort()
    server.close()
