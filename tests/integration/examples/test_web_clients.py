"""requests, httpx and aiohttp ask a server, each from an address of its own."""

from __future__ import annotations

import pytest
from integration.asgi import uvicorn_with
from integration.conftest import FAR

import pystack

EXAMPLE = "web_clients"


@pytest.mark.needs("requests", "httpx", "aiohttp", "uvicorn", "websockets", "h11")
def test_each_client_comes_from_its_own_address(example, wire):
    with (
        wire.serving(uvicorn_with("h11")),
        pystack.Stack(*FAR, device=wire.far) as stack,
    ):
        found = list(example.ask_all(stack, "http://10.1.0.5/"))
    assert found == [
        (name, source, 200, f"http 10.1.0.5 {source}".encode())
        for name, source in (
            ("requests", "10.2.0.10"), ("httpx", "10.2.0.11"), ("aiohttp", "10.2.0.12"),
        )
    ]  # fmt: skip
