"""A client that retries, and its tests under loss: virtual time, one seed for each run.

    pytest test_retrying_client.py

See docs/how-to/test-a-retrying-client.md.
"""

import asyncio

import pytest


async def fetch(host, port, question, attempts=5, patience=3.0, pause=0.5):
    """The client under test: ask, and ask again after a pause that doubles."""
    for attempt in range(attempts):
        try:
            return await asyncio.wait_for(ask(host, port, question), patience)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            if attempt == attempts - 1:
                raise
            await asyncio.sleep(pause * 2**attempt)


async def ask(host, port, question):
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(question + b"\n")
        return await reader.readuntil(b"\n")
    finally:
        writer.transport.abort()


async def shout(reader, writer):
    writer.write((await reader.readline()).upper())
    writer.close()


@pytest.fixture
def hosts(net):
    client, server = net.host("10.0.0.1", name="client"), net.host("10.0.0.2", name="server")
    return client, server, net.link(client, server, delay="40ms")


async def talk(**options):
    server = await asyncio.start_server(shout, "server", 80)
    try:
        return await fetch("server", 80, b"hello", **options)
    finally:
        server.close()


@pytest.mark.net(seeds=10)
def test_it_gets_through_a_link_that_loses_a_fifth(net, hosts):
    client, _, link = hosts
    link.set(loss=0.2)
    assert net.run_async(talk(patience=10), client) == b"HELLO\n"


def test_it_survives_a_link_that_is_down_for_a_while(net, hosts):
    client, _, link = hosts
    link.partition()
    net.at("5s", link.heal)
    assert net.run_async(talk(), client) == b"HELLO\n"
    assert 5 < net.now < 12


def test_it_gives_up_in_time(net, hosts):
    client, _, link = hosts
    link.partition()
    with pytest.raises((OSError, asyncio.TimeoutError)):
        net.run_async(talk(attempts=3), client)
    assert net.now == pytest.approx(3 * 3 + 0.5 + 1, abs=0.1)


def test_a_server_that_is_not_there_is_asked_again(net, hosts):
    client, *_ = hosts
    with pytest.raises(ConnectionRefusedError):
        net.run_async(fetch("server", 80, b"hello", attempts=3), client)
    assert net.now > 1.5
