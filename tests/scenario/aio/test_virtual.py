"""One event loop in virtual time drives programs and network together."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from scenario.aio.test_tls import contexts

from pystack import aio
from pystack.testing import Deadlock, VirtualNetwork


@pytest.fixture
def net():
    with VirtualNetwork(seed=1) as made:
        yield made


@pytest.fixture
def pair(net):
    a, b = net.host("10.0.0.1", "fd00::1", name="a"), net.host("10.0.0.2", "fd00::2", name="b")
    net.link(a, b, delay="150ms")
    return a, b


async def shout(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
    writer.close()


def test_a_connect_takes_one_round_trip_exactly(net, pair):
    a, _ = pair

    async def main():
        server = await asyncio.start_server(shout, "10.0.0.2", 7)
        before = asyncio.get_running_loop().time()
        _, writer = await asyncio.open_connection("10.0.0.2", 7)
        assert asyncio.get_running_loop().time() - before == pytest.approx(0.3, abs=1e-9)
        writer.close()
        server.close()

    net.run_async(main(), a)
    assert net.now >= 0.3


def test_an_hour_takes_less_than_a_second(net, pair):
    a, _b = pair
    started = time.process_time()
    asked = []

    async def slow(reader, writer):
        asked.append(await reader.readline())
        await asyncio.sleep(30)
        writer.close()

    async def main():
        server = await asyncio.start_server(slow, "b", 80)
        while asyncio.get_running_loop().time() < 3600:
            reader, writer = await asyncio.open_connection("b", 80)
            writer.write(b"hello\n")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(reader.read(), 10)
            writer.close()
            await asyncio.sleep(50)
        server.close()

    net.run_async(main(), a)
    assert len(asked) == 60
    assert 3600 < net.now < 3700
    assert time.process_time() - started < 1


def transcript(seed):
    """What a client sees over a bad link, and when."""
    lines = []
    with VirtualNetwork(seed=seed) as net:
        a, b = net.host("10.0.0.1", name="a"), net.host("10.0.0.2", name="b")
        net.link(a, b, delay="20ms", jitter="5ms", loss=0.1)

        async def main():
            server = await asyncio.start_server(shout, "b", 7)
            for number in range(5):
                reader, writer = await asyncio.open_connection("b", 7)
                writer.write(b"x" * 20000 + b"%d\n" % number)
                lines.append((len(await reader.readline()), asyncio.get_running_loop().time()))
                writer.close()
                await writer.wait_closed()
            server.close()

        net.run_async(main(), a)
        lines.append(net.events)
    return lines


def test_the_same_seed_gives_the_same_run():
    assert transcript(7) == transcript(7)
    assert transcript(7) != transcript(8)


def test_tls_works_in_virtual_time(net, pair):
    server_context, client_context = contexts()

    async def main():
        server = await asyncio.start_server(shout, "10.0.0.2", 443, ssl=server_context)
        reader, writer = await asyncio.open_connection("10.0.0.2", 443, ssl=client_context)
        writer.write(b"secret\n")
        assert await reader.readline() == b"SECRET\n"
        writer.close()
        await writer.wait_closed()
        server.close()

    net.run_async(main(), pair[0])


def test_a_task_lives_on_the_host_that_it_was_made_on(net, pair):
    a, b = pair
    peers = []

    async def serve(reader, writer):
        peers.append(writer.get_extra_info("peername")[0])
        writer.close()

    async def client():
        reader, _writer = await asyncio.open_connection("10.0.0.9", 7)
        await reader.read()
        _writer.close()

    async def main():
        c = net.host("10.0.0.9", name="c")
        net.link(a, c)
        net.link(b, c)
        with aio.on(c):
            server = await asyncio.start_server(serve, None, 7)
        tasks = []
        for host in (a, b):
            with aio.on(host):
                tasks.append(asyncio.ensure_future(client()))
        await asyncio.gather(*tasks)
        server.close()

    net.run_async(main())
    assert sorted(peers) == ["10.0.0.1", "10.0.0.2"]


def test_without_a_host_a_program_is_told_to_say_which(net, pair):
    async def main():
        with pytest.raises(RuntimeError, match="on which host is this"):
            await asyncio.open_connection("10.0.0.2", 7)

    net.run_async(main())


def test_datagrams_and_names_of_hosts(net, pair):
    a, _b = pair

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, sender):
            self.transport.sendto(data, sender)

    class Client(asyncio.DatagramProtocol):
        def __init__(self):
            self.answer = asyncio.get_running_loop().create_future()

        def datagram_received(self, data, sender):
            self.answer.set_result(data)

    async def main():
        loop = asyncio.get_running_loop()
        echo, _ = await loop.create_datagram_endpoint(Echo, local_addr=("b", 9))
        transport, client = await loop.create_datagram_endpoint(Client, remote_addr=("b", 9))
        transport.sendto(b"ping")
        assert await client.answer == b"ping"
        transport.close()
        echo.close()
        with pytest.raises(socket.gaierror):
            await asyncio.open_connection("nobody", 7)

    net.run_async(main(), a)
    assert net.now == pytest.approx(0.3)


def test_waiting_for_what_never_comes_is_a_deadlock(net, pair):
    async def main():
        await asyncio.get_running_loop().create_future()

    loop = net.new_event_loop(pair[0])
    coroutine = main()
    with pytest.raises(Deadlock):
        loop.run_until_complete(coroutine)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()


def test_time_stands_still_while_another_thread_works(net, pair):
    async def main():
        loop = asyncio.get_running_loop()
        before = loop.time()
        assert await loop.run_in_executor(None, lambda: time.sleep(0.02) or 5) == 5
        assert loop.time() == before
        await asyncio.wait([loop.run_in_executor(None, time.sleep, 0.01)], timeout=3600)
        assert loop.time() == before

    net.run_async(main(), pair[0])


def test_loops_and_blocking_functions_live_in_one_network(net, pair):
    a, b = pair

    def serve():
        async def main():
            server = await asyncio.start_server(shout, "10.0.0.2", 7)
            await asyncio.sleep(60)
            server.close()

        net.run_async(main(), b)

    def call():
        net.sleep("1s")
        with a.create_connection(("10.0.0.2", 7)) as sock:
            sock.sendall(b"hello\n")
            return sock.recv(100)

    net.spawn(serve)
    assert net.spawn(call).result() == b"HELLO\n"
    net.run()
    assert net.now == pytest.approx(60, abs=1)


def test_a_lost_peer_times_out(net, pair):
    a, _b = pair

    async def main():
        net.links[0].partition()
        with pytest.raises(TimeoutError) as caught:
            await asyncio.open_connection("10.0.0.2", 7)
        assert "Connect call failed" in str(caught.value)

    net.run_async(main(), a)
    assert net.now > 60


def test_callbacks_come_at_their_time(net, pair):
    times = []

    async def main():
        loop = asyncio.get_running_loop()
        for delay in (0.1, 3.3, 1e-9, 86.4, 1000.001):
            loop.call_later(delay, lambda: times.append(loop.time()))
        await asyncio.sleep(2000)

    net.run_async(main(), pair[0])
    assert times == pytest.approx([1e-9, 0.1, 3.3, 86.4, 1000.001], abs=2e-9)
