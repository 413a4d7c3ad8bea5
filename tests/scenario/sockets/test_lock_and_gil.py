"""A thread that waits for Python's GIL does not have the stack's lock, which others need to run."""

from __future__ import annotations

import sys
import threading

import pytest
from native.lock import lock, times_free, unlock
from native.turn import Driver

MOST_OF_100 = 90


@pytest.fixture
def no_switches():
    """A thread keeps the GIL until it waits for something else."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(interval)


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
def test_a_call_that_has_waited_for_the_lock(talk):
    def call():
        lock(talk.near)
        unlock(talk.near)

    assert times_free_after(talk.near, call) > MOST_OF_100


@pytest.mark.usefixtures("no_switches")
def test_a_short_send_is_done_without_the_gil(talk):
    driver = Driver(talk.near, stays=True)
    driver.turn()
    assert times_free_after(talk.near, lambda: talk.client.sendall(b"text")) > MOST_OF_100
    assert talk.heard() == b""
    driver.turn()
    driver.end()
    assert talk.heard() == b"text"
