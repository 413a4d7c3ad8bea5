"""Datagram endpoints are asyncio's own, as far as a protocol can tell."""

from __future__ import annotations

import asyncio
import errno
import sys

import pytest
from scenario.aio.conftest import in_loop

import pystack
from pystack import aio


class Recorder(asyncio.DatagramProtocol):
    def __init__(self):
        loop = asyncio.get_running_loop()
        self.events = []
        self.received = asyncio.Queue()
        self.problems = asyncio.Queue()
        self.lost = loop.create_future()

    def connection_made(self, transport):
        self.events.append("made")
        self.transport = transport

    def datagram_received(self, data, sender):
        self.received.put_nowait((data, sender))

    def error_received(self, problem):
        self.problems.put_nowait(problem)

    def connection_lost(self, problem):
        self.events.append("lost")
        self.lost.set_result(problem)


@in_loop
async def test_datagrams_go_both_ways(world):
    near, serving = await world.datagrams(Recorder)
    far, calling = await world.caller(Recorder, remote_addr=near.get_extra_info("sockname"))
    far.sendto(b"one")
    far.sendto(bytearray(b"two"), near.get_extra_info("sockname"))
    data, sender = await serving.received.get()
    assert (data, sender) == (b"one", far.get_extra_info("sockname"))
    assert (await serving.received.get())[0] == b"two"
    near.sendto(b"answer", sender)
    assert await calling.received.get() == (b"answer", near.get_extra_info("sockname"))
    assert far.get_extra_info("peername") == near.get_extra_info("sockname")
    assert near.get_extra_info("peername") is None
    near.close()
    far.abort()
    assert await serving.lost is None
    assert await calling.lost is None
    assert serving.events == calling.events == ["made", "lost"]


@in_loop
async def test_a_burst_arrives_whole(world):
    near, serving = await world.datagrams(Recorder)
    far, _ = await world.caller(Recorder, remote_addr=near.get_extra_info("sockname"))
    for number in range(150):
        far.sendto(b"%d" % number)
    assert [(await serving.received.get())[0] for _ in range(150)] == [
        b"%d" % number for number in range(150)
    ]
    near.close()
    far.close()


@in_loop
async def test_an_endpoint_with_a_peer_sends_to_nobody_else(world):
    near, _ = await world.datagrams(Recorder)
    far, _ = await world.caller(Recorder, remote_addr=near.get_extra_info("sockname"))
    with pytest.raises(ValueError, match="Invalid address"):
        far.sendto(b"x", (world.host, 5))
    with pytest.raises(TypeError):
        far.sendto("text")
    near.close()
    far.close()


@in_loop
async def test_an_unreachable_port_is_told_to_error_received(world):
    near, serving = await world.datagrams(Recorder)
    address = near.get_extra_info("sockname")
    near.close()
    await serving.lost
    far, calling = await world.caller(Recorder, remote_addr=address)
    far.sendto(b"anybody?")
    problem = await calling.problems.get()
    assert isinstance(problem, ConnectionRefusedError)
    assert not far.is_closing()
    far.close()


@in_loop
async def test_what_cannot_be_sent_is_told_to_error_received(stack_world):
    far, calling = await stack_world.caller(Recorder, local_addr=("10.2.0.9", 0))
    far.sendto(bytes(70000), ("10.1.0.5", 9))
    assert (await calling.problems.get()).errno == errno.EMSGSIZE
    far.close()


@in_loop
async def test_an_empty_datagram_is_one_from_python_3_13_on(stack_world):
    near, serving = await stack_world.datagrams(Recorder)
    far, _ = await stack_world.caller(Recorder, remote_addr=near.get_extra_info("sockname"))
    far.sendto(b"")
    far.sendto(b"full")
    first, _ = await serving.received.get()
    assert first == (b"" if sys.version_info >= (3, 13) else b"full")
    near.close()
    far.close()


@in_loop
async def test_after_close_nothing_is_sent_or_heard(world):
    near, serving = await world.datagrams(Recorder)
    far, _ = await world.caller(Recorder, remote_addr=near.get_extra_info("sockname"))
    near.close()
    assert near.is_closing()
    far.sendto(b"x")
    assert await serving.lost is None
    near.close()
    assert serving.received.empty()
    far.close()


@in_loop
async def test_what_is_known_of_an_endpoint(world):
    near, serving = await world.datagrams(Recorder)
    sock = near.get_extra_info("socket")
    assert sock.type == pystack.SOCK_DGRAM
    assert sock.getsockname() == near.get_extra_info("sockname")
    assert near.get_write_buffer_size() == 0
    assert near.get_protocol() is serving
    near.close()


@in_loop
async def test_both_addresses_must_be_of_one_family(world):
    call = world._call("create_datagram_endpoint", world.near)
    with pytest.raises(ValueError, match="can not get address information"):
        await call(Recorder, local_addr=(world.host, 0), remote_addr=("::1", 9))
    with pytest.raises(ValueError, match="unexpected address family"):
        await call(Recorder)


@in_loop
async def test_a_socket_of_the_stack_can_be_given(stack_world):
    sock = stack_world.near.socket(pystack.AF_INET6, pystack.SOCK_DGRAM)
    sock.bind(("fd01::5", 9))
    near, serving = await aio.create_datagram_endpoint(stack_world.near, Recorder, sock=sock)
    far, _ = await aio.create_datagram_endpoint(stack_world.far, Recorder, family=pystack.AF_INET6)
    far.sendto(b"over IPv6", ("fd01::5", 9))
    data, sender = await serving.received.get()
    assert data == b"over IPv6"
    assert sender[0] == "fd02::1"
    near.close()
    far.close()
