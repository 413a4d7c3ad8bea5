"""asyncio on two stacks that are joined by a wire in memory; beside them the kernel's loopback.

The kernel's column shows that a claim is one about asyncio, not about us.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest

import pystack
from pystack import PipeDevice, aio

PATIENCE = 20  # seconds until a test that should end counts as hanging


class Recorder(asyncio.Protocol):
    """A protocol that notes what it is told, in order."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.data = bytearray()
        self.transport: Any = None
        self.lost = asyncio.get_running_loop().create_future()
        self.ended = asyncio.get_running_loop().create_future()
        self.keep_open = False
        self.more = asyncio.Event()

    def connection_made(self, transport):
        self.events.append("made")
        self.transport = transport

    def data_received(self, data):
        self.events.append("data")
        self.data += data
        self.more.set()

    def eof_received(self):
        self.events.append("eof")
        self.ended.set_result(None)
        return self.keep_open

    def pause_writing(self):
        self.events.append("pause")

    def resume_writing(self):
        self.events.append("resume")

    def connection_lost(self, problem):
        self.events.append("lost")
        self.lost.set_result(problem)

    async def received(self, size: int) -> bytearray:
        while len(self.data) < size:
            self.more.clear()
            await self.more.wait()
        return self.data


class World:
    """Where endpoints live: one host that serves and one that calls."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.host, self.foreign = "127.0.0.1", "127.0.0.1"
        self.client_host = "127.0.0.1"
        self.near: Any = None
        self.far: Any = None
        self.ending = AsyncExitStack()

    async def __aenter__(self):
        if self.name == "kernel":
            return self
        self.host, self.client_host = "10.1.0.5", "10.2.0.9"
        one, other = PipeDevice.pair()
        near, far = ("10.1.0.0/24", "fd01::/64"), ("10.2.0.0/24", "fd02::/64")
        if self.name == "thread":
            self.near = self.ending.enter_context(pystack.Stack(*near, device=one))
            self.far = self.ending.enter_context(pystack.Stack(*far, device=other))
        else:
            self.near = await self.ending.enter_async_context(aio.Stack(*near, device=one))
            self.far = await self.ending.enter_async_context(aio.Stack(*far, device=other))
        return self

    async def __aexit__(self, *problem):
        await self.ending.aclose()

    def _call(self, name: str, stack: Any) -> Callable[..., Any]:
        if stack is None:
            return getattr(asyncio.get_running_loop(), name)
        return functools.partial(getattr(aio, name), stack)

    async def serve(self, factory, **options):
        """A server, and its port."""
        server = await self._call("create_server", self.near)(factory, self.host, 0, **options)
        return server, server.sockets[0].getsockname()[1]

    async def connect(self, factory, port, **options):
        call = self._call("create_connection", self.far)
        return await call(factory, self.host, port, **options)

    async def pair(self, client=Recorder, server=Recorder):
        """The protocols of both ends of a connection."""
        accepted = asyncio.get_running_loop().create_future()

        def factory():
            made = server()
            asyncio.get_running_loop().call_soon(accepted.set_result, made)
            return made

        listener, port = await self.serve(factory)
        _, near = await self.connect(client, port)
        far = await accepted  # a listener that is closed before resets what it has not accepted
        listener.close()
        return near, far

    async def datagrams(self, factory, **options):
        call = self._call("create_datagram_endpoint", self.near)
        return await call(factory, local_addr=(self.host, 0), **options)

    async def caller(self, factory, **options):
        return await self._call("create_datagram_endpoint", self.far)(factory, **options)


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test that is a coroutine; nobody may complain to the loop meanwhile."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        complaints: list[Any] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, it: complaints.append(it))
            async with AsyncExitStack() as ending:
                worlds = {
                    name: await ending.enter_async_context(World(fixtures[name]))
                    for name in ("world", "stack_world")
                    if name in fixtures
                }
                await asyncio.wait_for(test(**fixtures | worlds), PATIENCE)

        asyncio.run(main())
        assert complaints == []

    return run


@pytest.fixture(params=["kernel", "loop", "thread"])
def world(request):
    return request.param


@pytest.fixture(params=["loop", "thread"])
def stack_world(request):
    """pystack only, for what the kernel does not do."""
    return request.param
