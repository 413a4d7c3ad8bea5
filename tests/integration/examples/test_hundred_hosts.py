"""A hundred hosts in one process answer, each for itself."""

from __future__ import annotations

import asyncio

import pytest

from pystack import PipeDevice, aio

EXAMPLE = "hundred_hosts"
HOSTS = [f"10.3.0.{number}" for number in range(2, 102)]


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
def test_each_of_a_hundred_hosts_has_its_own_visits_and_notes(example):
    async def main():
        import aiohttp
        import uvicorn

        near, far = PipeDevice.pair()
        async with (
            aio.Stack("10.3.0.0/24", device=near) as stack,
            aio.Stack("10.4.0.0/24", device=far, address="10.4.0.9") as visitor,
        ):
            config = uvicorn.Config(example.application(), log_level="warning")
            server = uvicorn.Server(config)
            serving = asyncio.ensure_future(example.serve(server, stack, HOSTS))
            while not server.started:
                await asyncio.sleep(0.005)
            with aio.install(asyncio.get_running_loop(), visitor, routes=["10.3.0.0/24"]):
                async with aiohttp.ClientSession() as client:
                    assert await ask_everybody(client) == [
                        {"host": host, "visitor": "10.4.0.9", "visits": 2} for host in HOSTS
                    ]
                    note = {"text": "hello"}
                    async with client.put("http://10.3.0.7/notes/a", params=note) as answer:
                        assert await answer.json() == {"host": "10.3.0.7", "a": "hello"}
                    for host, status in (("10.3.0.7", 200), ("10.3.0.8", 404)):
                        async with client.get(f"http://{host}/notes/a") as answer:
                            assert answer.status == status
            server.should_exit = True
            await serving

    asyncio.run(asyncio.wait_for(main(), 60))
