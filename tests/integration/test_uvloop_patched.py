"""uvloop within pystack.patch: it connects in C, so it is refused what belongs to a stack."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import pytest
from integration.conftest import FAR, NAMES, NEAR, PATIENCE

import pystack
from pystack import PipeDevice, aio

pytestmark = pytest.mark.needs("uvloop")
SPELLINGS = ["10.1.0.5", b"10.1.0.5", "::ffff:10.1.0.5", "10.1.5", "167837701", "server.test"]


@pytest.fixture
def pair():
    near, far = PipeDevice.pair()
    with pystack.Stack(*NEAR, device=near) as a, pystack.Stack(*FAR, device=far) as b:
        yield a, b


def on_uvloop(main):
    import uvloop

    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(asyncio.wait_for(main(), PATIENCE))
    finally:
        loop.close()


async def refused(call):
    with pytest.raises(OSError, match=r"pystack: .*: use pystack\.aio\.install"):
        await call


def test_it_is_not_imported_for_that():
    """But guarded as soon as a program imports it."""
    program = """
import sys
from pystack import PipeDevice, Stack, patch
with Stack("10.1.0.0/24", device=PipeDevice.pair()[0]) as stack, patch(stack):
    assert "uvloop" not in sys.modules
    import uvloop
    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(loop.create_connection(lambda: None, "10.1.0.5", 7))
    except OSError as problem:
        print(problem)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "belongs to a stack, which uvloop does not know" in done.stdout, done.stderr


@pytest.mark.parametrize("host", SPELLINGS, ids=str)
def test_no_address_of_a_stack_reaches_the_kernel(pair, host):
    async def main():
        loop = asyncio.get_running_loop()
        await refused(asyncio.open_connection(host, 7))
        await refused(loop.create_connection(asyncio.Protocol, host=host, port=7))
        await refused(asyncio.start_server(print, host, 7))
        await refused(asyncio.start_server(print, ["127.0.0.1", host], 7))
        local = {"local_addr": (host, 0)}
        await refused(loop.create_connection(asyncio.Protocol, "127.0.0.1", 7, **local))
        await refused(loop.create_datagram_endpoint(asyncio.DatagramProtocol, **local))
        await refused(
            loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(host, 7))
        )

    with pystack.patch(pair[1], routes=NEAR, names=NAMES):
        on_uvloop(main)


def test_what_could_send_anywhere_is_refused_within_the_block_only(pair):
    async def main():
        return await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
        )

    with pystack.patch(pair[1]):
        on_uvloop(lambda: refused(main()))

    async def open_and_close():
        transport, _ = await main()
        transport.close()

    on_uvloop(open_and_close)


def test_sockets_of_stacks_are_refused(pair):
    async def main():
        loop = asyncio.get_running_loop()
        with pair[0].create_server(("10.1.0.5", 7)) as listener:
            await refused(asyncio.start_server(print, sock=listener))
            with socket.create_connection(("10.1.0.5", 7)) as client, listener.accept()[0] as made:
                for sock in (client, made):
                    await refused(loop.create_connection(asyncio.Protocol, sock=sock))
                    await refused(loop.connect_accepted_socket(asyncio.Protocol, sock))

    with pystack.patch(pair[1], routes=NEAR):
        on_uvloop(main)


def test_the_kernels_addresses_stay_the_kernels(pair):
    async def shout(reader, writer):
        writer.write((await reader.read(5)).upper())
        writer.close()

    async def main():
        server = await asyncio.start_server(shout, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello")
        assert await reader.read() == b"HELLO"
        writer.close()
        server.close()

    with pystack.patch(pair[1]):
        on_uvloop(main)


def test_a_loop_on_which_stacks_are_installed_reaches_them(pair):
    async def main():
        with aio.install(asyncio.get_running_loop(), pair[1], routes=NEAR, names=NAMES):
            reader, writer = await asyncio.open_connection("server.test", 7)
            writer.write(b"hello")
            assert await reader.read(5) == b"hello"
            writer.close()

    pair[0].serve("echo", "tcp", 7)
    with pystack.patch(pair[1], routes=NEAR):
        on_uvloop(main)
