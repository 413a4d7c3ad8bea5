"""An event loop and a TUN device: while packets come fast it looks for them, then it sleeps."""

from __future__ import annotations

import asyncio
import selectors
import socket
import sys
import time

from interop.virtual import HOST, NETS, SECONDS

import pystack
from pystack import aio
from pystack.engine.loop import LoopCrank
from pystack.engine.watch import Watcher

REQUESTS = 2_000
# In a process of its own, or the loop would wait for the interpreter instead of for packets.
CLIENT = f"""
import socket, time
with socket.create_connection(({HOST[4]!r}, 7), {SECONDS}) as client:
    for number in range({REQUESTS}):
        request = b"%d" % number
        client.sendall(request)
        assert client.recv(100) == request
    time.sleep(0.1)
"""


class Watched(selectors.DefaultSelector):
    """Counts how often it is asked to look without waiting."""

    def __init__(self):
        super().__init__()
        self.looks = 0

    def select(self, timeout=None):
        self.looks += timeout is not None and timeout <= 0
        return super().select(timeout)


async def looks_of(selector, namespace):
    """How often it looked while there were requests, and in the pause that followed."""
    looks = []

    async def echo(reader, writer):
        while data := await reader.read(100):
            writer.write(data)
            looks.append(selector.looks)
        looks.append(selector.looks)
        writer.close()

    async with (
        aio.Stack(*NETS, device=namespace.tun(*NETS)) as stack,
        await stack.start_server(echo, HOST[4], 7),
    ):
        await asyncio.to_thread(namespace.run, [sys.executable, "-c", CLIENT])
    return looks[-2] - looks[0], looks[-1] - looks[-2]


class Soon(list):
    """What a loop is to call next; a handle is of no use here."""

    def call_soon(self, callback):
        self.append(callback)
        return self

    def cancel(self):
        """Too late."""


def test_after_packets_that_came_fast_it_looks_for_more(namespace):
    until = time.monotonic() + SECONDS
    soon = Soon()
    with (
        pystack.Stack(*NETS, device=namespace.tun(*NETS), driver="caller") as stack,
        namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        nothing = [lambda _=None: None] * 3
        crank = LoopCrank(stack.engine, Watcher(), True, -1, soon.call_soon, *nothing)
        while crank.look not in soon:
            assert time.monotonic() < until
            client.sendto(b"x", (HOST[4], 9))
            crank.step()
        while soon:
            assert time.monotonic() < until
            soon.pop()()
        crank.end()


def test_a_loop_that_looked_for_packets_sleeps_when_none_come(namespace):
    selector = Watched()
    loop = asyncio.SelectorEventLoop(selector)
    try:
        busy, quiet = loop.run_until_complete(looks_of(selector, namespace))
    finally:
        loop.close()
    assert busy >= REQUESTS / 2  # for the callbacks of each
    assert quiet < 500  # 0.1 ms of looking are fewer, 100 ms thousands
