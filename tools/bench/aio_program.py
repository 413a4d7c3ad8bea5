"""The asyncio programs of the bench: echo, sink and source, as streams and as protocols.

usage: python -m bench.aio_program kernel LOOP              on the event loop's own sockets
       python -m bench.aio_program pystack LOOP NAME NET    on pystack's; LOOP: asyncio or uvloop

The same functions and classes on both. Ends with the bench.
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from bench.program import CHUNK, PATTERN, PR_SET_PDEATHSIG
from bench.rows import CHARGEN, DISCARD, ECHO, PROGRAM, PROTOCOLS, STREAMS

WHOLE = PATTERN * (CHUNK // len(PATTERN))
BACKLOG = 1024


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.close()


async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(CHUNK):
        pass
    writer.close()


async def source(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(WHOLE)
        await writer.drain()


def until_gone(answer: Any) -> Any:
    """A source's peer leaves in the middle of it; that is no error."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except OSError:
            writer.transport.abort()

    return converse


class Sink(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport


class Echo(Sink):
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Source(Sink):
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.resume_writing()

    def resume_writing(self) -> None:
        self.room = True
        while self.room and not self.transport.is_closing():
            self.transport.write(WHOLE)

    def pause_writing(self) -> None:
        self.room = False

    def connection_lost(self, problem: Exception | None) -> None:
        self.room = False


async def serve(start_server: Any, create_server: Any) -> None:
    """On the ports of both kinds; protocols on those of the blocking program, too."""
    for port, stream, protocol in (
        (ECHO, echo, Echo), (DISCARD, sink, Sink), (CHARGEN, source, Source),
    ):  # fmt: skip
        await start_server(until_gone(stream), None, STREAMS + port, limit=CHUNK, backlog=BACKLOG)
        for first in (PROTOCOLS, PROGRAM):
            await create_server(protocol, None, first + port, backlog=BACKLOG)
    print("ready", flush=True)
    await asyncio.Event().wait()


async def on_kernel() -> None:
    await serve(asyncio.start_server, asyncio.get_running_loop().create_server)


async def on_pystack(name: str, network: str) -> None:
    from pystack import aio
    from pystack.device.tun import TunDevice

    async with aio.Stack(network, device=TunDevice(name)) as stack:
        await serve(stack.start_server, stack.create_server)


Program = Callable[..., Coroutine[Any, Any, None]]


def run(arguments: list[str], on_kernel: Program, on_pystack: Program) -> None:
    """What the arguments ask for; ends with whoever has started it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    where, loop, *how = arguments
    program = on_kernel() if where == "kernel" else on_pystack(*how)
    if loop == "uvloop":
        import uvloop

        uvloop.run(program)
    else:
        asyncio.run(program)


if __name__ == "__main__":
    run(sys.argv[1:], on_kernel, on_pystack)
