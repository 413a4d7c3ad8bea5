"""A server that redis clients can talk to: GET and SET, and errors for all else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


async def command(reader: asyncio.StreamReader) -> list[bytes]:
    count = int((await reader.readuntil(b"\r\n"))[1:])
    words = []
    for _ in range(count):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words


@asynccontextmanager
async def redis_server() -> AsyncIterator[None]:
    values: dict[bytes, bytes] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                name, *words = await command(reader)
                if name.upper() == b"SET":
                    values[words[0]] = words[1]
                    writer.write(b"+OK\r\n")
                elif name.upper() == b"GET":
                    found = values[words[0]]
                    writer.write(b"$%d\r\n%s\r\n" % (len(found), found))
                else:
                    writer.write(b"-ERR unknown command\r\n")
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "10.1.0.5", 6379):
        yield
