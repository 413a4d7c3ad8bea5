"""uvicorn and hypercorn serve a virtual host."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest
from integration.asgi import app, uvicorn_with
from integration.conftest import PEM, contexts


def get(url: str, **options) -> str:
    import httpx

    return httpx.get(url, timeout=20, **options).text


@pytest.mark.needs("uvicorn", "websockets", "httptools", "httpx")
@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("tls", [False, True])
def test_uvicorn_serves_http(wire, http, tls):
    scheme = "https" if tls else "http"
    with wire.serving(uvicorn_with(http, tls)), wire.away():
        said = get(f"{scheme}://server.test/", verify=contexts()[1]).split()
    assert said[:2] == [scheme, "10.1.0.5"]
    assert said[2].startswith("10.2.0.")


@pytest.mark.needs("uvicorn", "websockets")
def test_uvicorn_serves_websockets_with_tls(wire):
    async def client():
        from websockets.asyncio.client import connect

        async with connect("wss://server.test/", ssl=contexts()[1]) as talk:
            await talk.send("hello")
            return await talk.recv()

    with wire.serving(uvicorn_with("httptools", tls=True)):
        assert wire.ask(client) == "HELLO"


@pytest.mark.needs("hypercorn", "httpx")
def test_hypercorn_serves_http_with_tls(wire):
    @asynccontextmanager
    async def program():
        from hypercorn.asyncio import serve
        from hypercorn.config import Config

        config, ending = Config(), asyncio.Event()
        config.bind = ["10.1.0.5:443"]
        config.certfile = config.keyfile = str(PEM)
        config.accesslog = config.errorlog = None
        serving = asyncio.ensure_future(serve(app, config, shutdown_trigger=ending.wait))
        while not serving.done():  # until it listens
            with socket.socket() as probe:
                if probe.connect_ex(("10.1.0.5", 443)) == 0:
                    break
            await asyncio.sleep(0.005)
        yield
        ending.set()
        await serving

    with wire.serving(program, patched=True), wire.away():
        said = get("https://server.test/", verify=contexts()[1]).split()
    assert said[:2] == ["https", "10.1.0.5"]
