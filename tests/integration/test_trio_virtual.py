"""trio in the virtual time of a network: one clock drives programs and packets."""

from __future__ import annotations

import time

import pytest

import pystack
from pystack.testing import Deadlock, TimeLimit, VirtualNetwork

pytestmark = pytest.mark.needs("trio")


@pytest.fixture
def net():
    with VirtualNetwork(seed=1, limit="2h") as made:
        yield made


@pytest.fixture
def pair(net):
    a, b = net.host("10.0.0.1", name="a"), net.host("10.0.0.2", name="b")
    net.link(a, b, delay="150ms")
    return a, b


async def shout(stream):
    async with stream:
        async for data in stream:
            await stream.send_all(data.upper())


def connect(host):
    return pystack.trio.open_tcp_stream(host, "10.0.0.2", 7)


def test_a_connect_takes_one_round_trip_exactly(net, pair):
    import trio

    a, b = pair

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(pystack.trio.serve_tcp, b, shout, 7)
            before = trio.current_time()
            async with await connect(a) as stream:
                assert trio.current_time() - before == pytest.approx(0.3, abs=1e-9)
                await stream.send_all(b"hello")
                assert await stream.receive_some() == b"HELLO"
            nursery.cancel_scope.cancel()
        assert trio.current_time() == net.now
        return "done"

    assert net.run_trio(main) == "done"
    assert net.now == pytest.approx(0.6, abs=1e-6)


def test_the_clock_is_one_for_trio_run(net, pair):
    import trio

    _, b = pair
    net.sleep("5s")

    async def main(name):
        assert trio.current_time() == 5
        listeners = await pystack.trio.open_tcp_listeners(b, 7)
        with trio.move_on_after(60) as scope:
            await listeners[0].accept()
        assert scope.cancelled_caught
        await listeners[0].aclose()
        return name

    assert trio.run(main, "run", clock=net.trio_clock()) == "run"
    assert net.now == 65


def test_an_hour_takes_less_than_a_second(net, pair):
    import trio

    a, b = pair
    asked = []

    async def slow(stream):
        asked.append(await stream.receive_some())
        await trio.sleep(30)

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(pystack.trio.serve_tcp, b, slow, 7)
            while trio.current_time() < 3600:
                async with await connect(a) as stream:
                    await stream.send_all(b"hello")
                    with trio.move_on_after(10) as patience:
                        await stream.receive_some()
                    assert patience.cancelled_caught
                await trio.sleep(50)
            nursery.cancel_scope.cancel()

    started = time.process_time()
    net.run_trio(main)
    assert time.process_time() - started < 1
    assert len(asked) == 60
    assert 3600 < net.now < 3700


def transcript(seed):
    """What some clients that run at the same time see over a bad link, and when."""
    import trio

    lines = []
    with VirtualNetwork(seed=seed) as net:
        a, b = net.host("10.0.0.1", name="a"), net.host("10.0.0.2", name="b")
        net.link(a, b, delay="20ms", jitter="5ms", loss=0.1)

        async def client(number):
            for _ in range(3):
                async with await connect(a) as stream:
                    await stream.send_all(b"x" * 5000)
                    left = 5000
                    while left:
                        left -= len(await stream.receive_some())
                        lines.append((number, left, net.now))

        async def main():
            async with trio.open_nursery() as servers:
                await servers.start(pystack.trio.serve_tcp, b, shout, 7)
                async with trio.open_nursery() as clients:
                    for number in range(10):
                        clients.start_soon(client, number)
                servers.cancel_scope.cancel()

        net.run_trio(main)
        lines.append(net.events)
    return lines


def test_the_same_seed_gives_the_same_run():
    assert transcript(7) == transcript(7)
    assert transcript(7) != transcript(8)


def test_sleepers_wake_at_their_time(net):
    import trio

    times = []

    async def sleep(delay):
        await trio.sleep(delay)
        times.append(trio.current_time())

    async def main():
        async with trio.open_nursery() as nursery:
            for delay in (0.1, 3.3, 1e-9, 86.4, 1000.001, 0.1 + 0.2):
                nursery.start_soon(sleep, delay)

    net.run_trio(main)
    assert times == pytest.approx([1e-9, 0.1, 0.3, 3.3, 86.4, 1000.001], abs=2e-9)


def test_time_stands_still_for_threads_and_while_all_tasks_are_waited_for(net):
    import trio
    import trio.testing

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 3600)
            await trio.testing.wait_all_tasks_blocked()
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert await trio.to_thread.run_sync(lambda: time.sleep(0.02) or 5) == 5
            assert trio.current_time() == 0
            nursery.cancel_scope.cancel()

    net.run_trio(main)


def test_waiting_for_what_never_comes_is_a_deadlock_after_tasks_have_ended(net, pair):
    import trio

    ended = []

    async def wait_for_ever():
        (listener,) = await pystack.trio.open_tcp_listeners(pair[1], 7)
        try:
            await listener.accept()
        finally:
            ended.append(True)
            await listener.aclose()

    async def sleep():
        await trio.sleep(10_000)

    with pytest.raises(Deadlock):
        net.run_trio(wait_for_ever)
    assert ended == [True]
    with pytest.raises(TimeLimit):
        net.run_trio(sleep)


def test_runs_and_blocking_functions_live_in_one_network(net, pair):
    import trio

    a, b = pair

    async def serve():
        with trio.move_on_after(60):
            await pystack.trio.serve_tcp(b, shout, 7)

    async def ask():
        await trio.sleep(2)
        async with await connect(a) as stream:
            await stream.send_all(b"tasks")
            return await stream.receive_some()

    def call():
        net.sleep("1s")
        with a.create_connection(("10.0.0.2", 7)) as sock:
            sock.sendall(b"calls")
            return sock.recv(100)

    net.spawn(net.run_trio, serve)
    calls, tasks = net.spawn(call), net.spawn(net.run_trio, ask)
    assert calls.result() == b"CALLS"
    assert tasks.result() == b"TASKS"
    net.run()
    assert net.now == pytest.approx(60, abs=1)


def test_a_host_that_is_closed_tells_its_sockets(net, pair):
    import trio

    _, b = pair

    async def main():
        listeners = await pystack.trio.open_tcp_listeners(b, 7)
        net.at("9s", b.close)
        with pytest.raises((OSError, trio.ClosedResourceError)):
            await listeners[0].accept()
        assert trio.current_time() == 9

    net.run_trio(main)


def test_unmodified_programs_reach_hosts_by_name(net, pair):
    import trio

    a, b = pair

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(pystack.trio.serve_tcp, b, shout, 7)
            with pystack.trio.install(a, routes=["10.0.0.0/8"], names={"b": "10.0.0.2"}):
                async with await trio.open_tcp_stream("b", 7) as stream:
                    await stream.send_all(b"hello")
                    assert await stream.receive_some() == b"HELLO"
                    assert stream.socket.getsockname()[0] == "10.0.0.1"
            nursery.cancel_scope.cancel()

    net.run_trio(main)
    assert net.now < 1


@pytest.mark.needs("anyio")
def test_anyio_takes_the_clock(net, pair):
    import anyio

    a, b = pair

    async def main():
        async with anyio.create_task_group() as group:
            await group.start(pystack.trio.serve_tcp, b, shout, 7)
            with pystack.trio.install(a, routes=["10.0.0.0/8"]), anyio.fail_after(600):
                async with await anyio.connect_tcp("10.0.0.2", 7) as stream:
                    await stream.send(b"hello")
                    assert await stream.receive() == b"HELLO"
                await anyio.sleep(500)
            group.cancel_scope.cancel()

    anyio.run(main, backend="trio", backend_options={"clock": net.trio_clock()})
    assert 500 < net.now < 502


def test_a_host_needs_the_time_of_its_own_network(net, pair):
    import trio

    async def main():
        with pytest.raises(RuntimeError, match=r"clock=net\.trio_clock"):
            await connect(pair[0])

    trio.run(main)
    with VirtualNetwork() as other:
        other.run_trio(main)
