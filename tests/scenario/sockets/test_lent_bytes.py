"""Bytes that were sent from where they lie: who drives the stack lets go of them."""

from __future__ import annotations

import socket
import sys
import threading

import pytest

from pystack import Stack

LONG = 200_000  # less than a send buffer


class References:
    """To some bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def count(self) -> int:
        return sys.getrefcount(self.data)

    def sink_to(self, number: int) -> bool:
        """Soon, though this thread calls nothing."""
        poll = threading.Event()
        for _ in range(1000):
            if self.count() == number:
                return True
            poll.wait(0.01)
        return False


@pytest.fixture
def data():
    return b"pystack " * (LONG // 8)


def test_the_thread_lets_go(stack_world, data):
    client, server = stack_world.connected()
    references = References(data)
    before = references.count()
    client.sendall(data)
    assert server.recv(LONG, socket.MSG_WAITALL) == data
    assert references.sink_to(before)


def test_a_call_that_waits_lets_go(stack_world, in_thread, data):
    client, server = stack_world.connected()

    def converse() -> bytes:
        client.sendall(data)
        return client.recv(1)

    references = References(data)
    before = references.count()
    calling = in_thread(converse)
    assert server.recv(LONG, socket.MSG_WAITALL) == data
    assert references.sink_to(before)
    server.sendall(b"x")
    assert calling.result() == b"x"


def test_a_stack_without_a_driver_lets_go(data):
    """Its caller turns it."""
    with Stack("10.1.0.0/24", device=None) as near, Stack("10.2.0.0/24", device=None) as far:
        listener = near.create_server(("10.1.0.1", 80))
        client = far.socket()
        client.setblocking(False)
        client.connect_ex(("10.1.0.1", 80))
        exchange(near, far)
        server, _ = listener.accept()
        server.setblocking(False)
        before = sys.getrefcount(data)
        assert client.send(data) == LONG
        received = b""
        while len(received) < LONG:
            exchange(near, far)
            received += server.recv(LONG)
        exchange(near, far)
        assert received == data
        assert sys.getrefcount(data) == before


def exchange(near, far):
    """Until both are silent."""
    moved = True
    while moved:
        moved = False
        for giver, taker in ((near, far), (far, near)):
            for packet in giver.transmit():
                taker.receive(packet)
                moved = True
