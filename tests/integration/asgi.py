"""An ASGI application and what serves it: the pages that clients ask for."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from integration.conftest import PEM, big


async def app(scope: Any, receive: Any, send: Any) -> None:
    """POST answers with the sum of what came, GET /big with the file, else with who asked whom."""
    if scope["type"] == "websocket":
        await talk(receive, send)
        return
    assert scope["type"] == "http"
    sum_of, more = hashlib.sha256(), True
    while more:
        message = await receive()
        sum_of.update(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["method"] == "POST":
        body = sum_of.hexdigest().encode()
    elif scope["path"] == "/big":
        for piece in big():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        body = b""
    else:
        body = f"{scope['scheme']} {scope['server'][0]} {scope['client'][0]}".encode()
    await send({"type": "http.response.body", "body": body})


async def talk(receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        if "text" in message:
            await send({"type": "websocket.send", "text": message["text"].upper()})


def uvicorn_with(http: str = "h11", tls: bool = False) -> Any:
    """uvicorn at 10.1.0.5, as `uvicorn --host 10.1.0.5` runs it."""

    @asynccontextmanager
    async def program() -> AsyncIterator[None]:
        import uvicorn

        more: Any = {"ssl_certfile": PEM, "ssl_keyfile": PEM} if tls else {}
        port = 443 if tls else 80
        ws = "websockets-sansio"
        config = uvicorn.Config(
            app, "10.1.0.5", port, http=http, ws=ws, log_level="warning", **more
        )
        server = uvicorn.Server(config)
        serving = asyncio.ensure_future(server.serve())
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        yield
        server.should_exit = True
        await serving

    return program
