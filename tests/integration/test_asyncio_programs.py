"""aiohttp, websockets, asyncssh and redis.asyncio at both ends, where aio.install was called."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager

import pytest
from integration.conftest import BIG, big, big_sum, contexts
from integration.resp import redis_server


@pytest.mark.needs("aiohttp")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_aiohttp_serves_and_asks_and_carries_a_file_each_way(wire, scheme, tmp_path):
    file = tmp_path / "big"
    with file.open("wb") as out:
        out.writelines(big())
    server_context, client_context = contexts() if scheme == "https" else (None, None)

    @asynccontextmanager
    async def program():
        from aiohttp import web

        async def fetch(request):
            return web.FileResponse(file)

        async def take(request):
            found = hashlib.sha256()
            async for piece in request.content.iter_any():
                found.update(piece)
            return web.Response(text=found.hexdigest())

        application = web.Application()
        application.add_routes([web.get("/big", fetch), web.post("/big", take)])
        runner = web.AppRunner(application, shutdown_timeout=1)
        await runner.setup()
        port = 443 if scheme == "https" else 80
        await web.TCPSite(runner, "10.1.0.5", port, ssl_context=server_context).start()
        yield
        await runner.cleanup()

    async def client():
        import aiohttp

        connector = aiohttp.TCPConnector(ssl=client_context or True)
        async with aiohttp.ClientSession(connector=connector) as session:
            found, size = hashlib.sha256(), 0
            async with session.get(f"{scheme}://10.1.0.5/big") as answer:
                async for piece in answer.content.iter_any():
                    found.update(piece)
                    size += len(piece)
            with file.open("rb") as body:
                async with session.post(f"{scheme}://10.1.0.5/big", data=body) as answer:
                    return size, found.hexdigest(), await answer.text()

    with wire.serving(program):
        assert wire.ask(client) == (BIG, big_sum(), big_sum())


@pytest.mark.needs("websockets")
def test_websockets_talk(wire):
    @asynccontextmanager
    async def program():
        from websockets.asyncio.server import serve

        async def shout(talk):
            async for message in talk:
                await talk.send(message.upper())

        async with serve(shout, "10.1.0.5", 80):
            yield

    async def client():
        from websockets.asyncio.client import connect

        async with connect("ws://server.test/") as talk:
            await talk.send("a" * 300_000)
            return await talk.recv()

    with wire.serving(program):
        assert wire.ask(client) == "A" * 300_000


@asynccontextmanager
async def ssh_server():
    """asyncssh's, whose shell prints its command; anyone may come in, and forward ports."""
    import asyncssh

    class Open(asyncssh.SSHServer):
        def begin_auth(self, username):
            return False

        def connection_requested(self, *where):
            return True

    async def handle(process):
        process.stdout.write(f"ran {process.command}\n")
        process.exit(3)

    key = asyncssh.generate_private_key("ssh-ed25519")
    async with asyncssh.listen(
        "10.1.0.5", 22, server_factory=Open, server_host_keys=[key], process_factory=handle
    ):
        yield


@pytest.mark.needs("asyncssh")
def test_asyncssh_runs_commands_and_forwards_to_other_virtual_hosts(wire):
    @asynccontextmanager
    async def program():
        async def shout(reader, writer):
            writer.write((await reader.readline()).upper())
            writer.close()

        async with ssh_server(), await asyncio.start_server(shout, "10.1.0.9", 7):
            yield

    async def client():
        import asyncssh

        async with asyncssh.connect("server.test", known_hosts=None, username="me") as ssh:
            done = await ssh.run("something")
            reader, writer = await ssh.open_connection("10.1.0.9", 7)
            writer.write(b"hello\n")
            return done.stdout, done.exit_status, await reader.read()

    with wire.serving(program):
        assert wire.ask(client) == ("ran something\n", 3, b"HELLO\n")


@pytest.mark.needs("asyncssh", "paramiko")
def test_paramiko_runs_commands_of_asyncssh(wire):
    import paramiko

    with wire.serving(ssh_server), wire.away(), paramiko.SSHClient() as ssh:
        ssh.set_missing_host_key_policy(paramiko.MissingHostKeyPolicy())
        ssh.connect("server.test", username="me", password="", look_for_keys=False)
        _, out, _ = ssh.exec_command("something", timeout=20)
        assert out.read() == b"ran something\n"
        assert out.channel.recv_exit_status() == 3


@pytest.mark.needs("redis")
def test_redis_sets_and_gets(wire):
    import redis

    options = {"protocol": 2, "socket_timeout": 20}
    with wire.serving(redis_server), wire.away(), redis.Redis("server.test", **options) as client:
        client.set("a", b"x" * 100_000)
        assert client.get("a") == b"x" * 100_000


@pytest.mark.needs("redis")
def test_redis_sets_and_gets_on_an_event_loop(wire):
    async def client():
        import redis.asyncio

        async with redis.asyncio.Redis(host="server.test", protocol=2) as client:
            await client.set("a", b"x" * 100_000)
            return await client.get("a")

    with wire.serving(redis_server):
        assert wire.ask(client) == b"x" * 100_000
