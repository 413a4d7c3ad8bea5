"""One uvicorn process: an application that answers with a short text.

usage: python -m bench.uvicorn_program kernel LOOP             on the event loop's own sockets
       python -m bench.uvicorn_program pystack LOOP NAME NET   on a virtual host

LOOP: asyncio or uvloop. The same on both. Ends with the bench.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import uvicorn

from bench.aio_program import BACKLOG, run
from bench.program import PATTERN
from bench.rows import HTTP, HTTP_BODY

BODY = PATTERN[:HTTP_BODY]
# asyncio turns Nagle's algorithm off only where the protocol is given, as its own servers do.
KIND = socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % HTTP_BODY)]


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


async def serve(listener: socket.socket) -> None:
    """With what uvicorn takes by itself: httptools, if that is installed."""
    listener.bind(("", HTTP))
    config = uvicorn.Config(application, lifespan="off", log_level="error", backlog=BACKLOG)
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await serving


async def on_kernel() -> None:
    await serve(socket.socket(*KIND))


async def on_pystack(name: str, network: str) -> None:
    from pystack import aio
    from pystack.device.tun import TunDevice

    async with aio.Stack(network, device=TunDevice(name)) as stack:
        with aio.install(asyncio.get_running_loop(), stack):
            await serve(stack.socket(*KIND))


if __name__ == "__main__":
    run(sys.argv[1:], on_kernel, on_pystack)
