"""listen_any on an event loop: callbacks or coroutines decide about each new flow."""

from __future__ import annotations

import asyncio
import gc

import pytest
from scenario.aio.conftest import in_loop

from pystack import aio


@in_loop
async def test_a_coroutine_accepts_and_speaks_as_the_destination(stack_world):
    async def serve(request):
        reader, writer = await aio.open_connection(stack_world.near, sock=request.accept())
        gc.collect()
        line = await reader.readline()
        writer.write(b"%d: " % request.destination[1] + line)
        writer.close()
        await writer.wait_closed()

    with aio.listen_any(stack_world.near, serve):
        for port in (1, 65535):
            reader, writer = await aio.open_connection(stack_world.far, "10.1.0.99", port)
            writer.write(b"hello\n")
            assert await reader.read() == b"%d: hello\n" % port
            writer.close()
            await writer.wait_closed()


@in_loop
async def test_a_callback_refuses_and_decides_later(stack_world):
    waiting = []
    asked = asyncio.Event()

    def decide(request):
        waiting.append(request)
        asked.set()

    with aio.listen_any(stack_world.near, decide):
        call = asyncio.ensure_future(aio.open_connection(stack_world.far, "10.1.0.99", 1))
        await asked.wait()
        assert not call.done()
        waiting[0].refuse()
        with pytest.raises(ConnectionRefusedError):
            await call


@in_loop
async def test_datagrams_have_an_endpoint_for_each_flow(stack_world):
    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, address):
            self.transport.sendto(data.upper())
            self.transport.close()

    class Client(asyncio.DatagramProtocol):
        def __init__(self):
            self.answer = asyncio.get_running_loop().create_future()

        def datagram_received(self, data, address):
            self.answer.set_result((data, address))

    async def serve(request):
        await aio.create_datagram_endpoint(stack_world.near, Echo, sock=request.accept())

    with aio.listen_any(stack_world.near, on_udp=serve):
        transport, client = await aio.create_datagram_endpoint(
            stack_world.far, Client, remote_addr=("10.1.0.99", 53)
        )
        transport.sendto(b"text")
        assert await client.answer == (b"TEXT", ("10.1.0.99", 53))
        transport.close()


def test_what_fails_is_told_to_the_loop_and_dropped():
    told = []

    async def main():
        from scenario.aio.conftest import World

        asyncio.get_running_loop().set_exception_handler(lambda _, it: told.append(it))
        async with World("loop") as world:

            async def fail(request):
                raise LookupError("nobody")

            def fail_at_once(request):
                raise LookupError("nobody")

            for how in (fail, fail_at_once):
                with aio.listen_any(world.near, how):
                    call = asyncio.ensure_future(aio.open_connection(world.far, "10.1.0.99", 1))
                    while not told:
                        await asyncio.sleep(0)
                    call.cancel()
                assert isinstance(told.pop()["exception"], LookupError)

    asyncio.run(main())


@in_loop
async def test_a_callback_is_needed(stack_world):
    with pytest.raises(ValueError, match="callback"):
        aio.listen_any(stack_world.near)
