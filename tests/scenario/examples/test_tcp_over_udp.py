"""The tunnel carries TCP between two processes over UDP, whatever UDP loses."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys

import pytest
from scenario.examples.conftest import EXAMPLES

EXAMPLE = "tcp_over_udp"
BIG = bytes(range(256)) * 2048


async def echo(reader, writer):
    data = await reader.read()
    gc.collect()  # asyncio holds nothing of a tunnel that has been closed in one direction
    writer.write(data)
    writer.close()


async def ask(port, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def free_port(kind):
    import socket

    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("loss", [False, True])
def test_what_goes_in_comes_out(example, loss):
    async def main():
        target = await asyncio.start_server(echo, "127.0.0.1", 0)
        to = target.sockets[0].getsockname()
        udp = "127.0.0.1", free_port(2)
        far_stack, far = await example.tunnel("far", udp, to)
        near_stack, near = await example.tunnel("near", udp, ("127.0.0.1", 0))
        carriers = [stack.device._send.__self__ for stack in (near_stack, far_stack)]
        if loss:
            pipe = near_stack.device
            whole, count = pipe._send, 0

            def leaky(packet):
                nonlocal count
                count += 1
                if count % 7:
                    whole(packet)

            pipe._send = leaky
        port = near.sockets[0].getsockname()[1]
        data = BIG[:50_000] if loss else BIG
        assert await asyncio.gather(ask(port, data), ask(port, b"x")) == [data, b"x"]
        target.close()
        near.close()
        far.close()
        while len(asyncio.all_tasks()) > 2:  # this one, and wait_for's
            await asyncio.sleep(0.01)
        near_stack.close()
        far_stack.close()
        for carrier in carriers:
            carrier.transport.close()
        await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 20))


def test_two_processes(example):
    async def main():
        target = await asyncio.start_server(echo, "127.0.0.1", 0)
        udp, at = str(free_port(2)), str(free_port(1))
        to = str(target.sockets[0].getsockname()[1])
        command = [sys.executable, str(EXAMPLES / "tcp_over_udp.py")]
        environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
        sides = [
            subprocess.Popen([*command, *arguments], env=environment)
            for arguments in (
                ("far", "127.0.0.1", udp, "127.0.0.1", to),
                ("near", "127.0.0.1", udp, "127.0.0.1", at),
            )
        ]
        try:
            while True:
                try:
                    assert await ask(int(at), BIG) == BIG
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    break
        finally:
            for side in sides:
                side.terminate()
                side.wait()
            target.close()

    asyncio.run(asyncio.wait_for(main(), 50))
