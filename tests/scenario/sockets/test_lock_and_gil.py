"""A thread that waits for Python's GIL does not have the stack's lock, which others need to run."""

from __future__ import annotations

import sys
import threading

import pytest
from native.lock import lock, times_free, unlock
from native.turn import Driver

from pystack import PipeDevice, Stack

MOST_OF_100 = 90


@pytest.fixture
def no_switches():
    """A thread keeps the GIL until it waits for something else."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(interval)


@pytest.fixture
def stacks():
    near, far = PipeDevice.pair()
    with (
        Stack("10.1.0.0/24", device=near, driver="caller") as one,
        Stack("10.2.0.0/24", device=far, driver="caller") as other,
    ):
        yield one, other


def times_free_after(stack, call):
    """How often the lock is free while a call that has waited for it waits for the GIL."""
    lock(stack)
    thread = threading.Thread(target=call)
    thread.start()  # comes back when the call waits
    unlock(stack)
    free = times_free(stack)
    thread.join()
    return free


@pytest.mark.usefixtures("no_switches")
def test_a_call_that_has_waited_for_the_lock(stacks):
    stack, _ = stacks

    def call():
        lock(stack)
        unlock(stack)

    assert times_free_after(stack, call) > MOST_OF_100


@pytest.mark.usefixtures("no_switches")
def test_a_short_send_is_done_without_the_gil(stacks):
    stack, other = stacks
    with stack.socket() as client, other.create_server(("10.2.0.5", 80)) as listener:
        client.connect_ex(("10.2.0.5", 80))
        for _ in range(3):
            stack.poll()
            other.poll()
        driver = Driver(stack, stays=True)
        driver.turn()
        before = stack.counters()["packets_out"]
        assert times_free_after(stack, lambda: client.sendall(b"text")) > MOST_OF_100
        driver.turn()
        driver.end()
        assert stack.counters()["packets_out"] == before + 1
        other.poll()
        server, _ = listener.accept()
        with server:
            assert server.recv(100) == b"text"
