"""A hundred hosts in one process answer, each for itself."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from pystack import aio

EXAMPLE = "hundred_hosts"
HOSTS = [f"10.1.0.{number}" for number in range(2, 102)]


async def ask_everybody(client):
    """Each host for its page, twice, all at the same time."""

    async def ask(host):
        for _ in range(2):
            async with client.get(f"http://{host}/") as answer:
                assert answer.status == 200
                told = await answer.json()
        return told

    return await asyncio.gather(*map(ask, HOSTS))


@pytest.mark.needs("fastapi", "uvicorn", "aiohttp")
def test_each_of_a_hundred_hosts_has_its_own_visits_and_notes(example, wire):
    @asynccontextmanager
    async def program():
        import uvicorn

        (stack,) = aio.install(asyncio.get_running_loop()).owned.stacks
        server = uvicorn.Server(uvicorn.Config(example.application(), log_level="warning"))
        serving = asyncio.ensure_future(example.serve(server, stack, HOSTS))
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        yield
        server.should_exit = True
        await serving

    async def main():
        import aiohttp

        async with aiohttp.ClientSession() as client:
            for host, told in zip(HOSTS, await ask_everybody(client), strict=True):
                assert (told["host"], told["visits"]) == (host, 2)
                assert told["visitor"].startswith("10.2.0.")
            note = {"text": "hello"}
            async with client.put("http://10.1.0.7/notes/a", params=note) as answer:
                assert await answer.json() == {"host": "10.1.0.7", "a": "hello"}
            for host, status in (("10.1.0.7", 200), ("10.1.0.8", 404)):
                async with client.get(f"http://{host}/notes/a") as answer:
                    assert answer.status == status

    with wire.serving(program):
        wire.ask(main)
