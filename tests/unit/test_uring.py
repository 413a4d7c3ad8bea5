"""Uring: several reads or writes by one system call."""

from __future__ import annotations

import errno
import os
import resource
import socket

import pytest
from native.uring import ENTRIES, Ring


@pytest.fixture
def ring():
    try:
        opened = Ring()
    except OSError as problem:
        pytest.skip(f"this machine permits no io_uring: {problem}")
    yield opened
    opened.close()


@pytest.fixture
def ends():
    """Two ends of a connection that keeps messages apart, as a device does packets."""
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    a.setblocking(False)
    b.setblocking(False)
    with a, b:
        yield a, b


def messages(count, start=0):
    return [f"message {start + i}".encode() for i in range(count)]


def test_requests_are_executed_in_order(ring, ends):
    sent = messages(8)
    for message in sent:
        ring.write(ends[0].fileno(), message)
    assert ring.submit() == [len(message) for message in sent]
    for _ in sent:
        ring.read(ends[1].fileno(), 100)
    assert ring.submit() == sent


def test_a_write_gathers_its_parts(ring, ends):
    ring.write(ends[0].fileno(), b"one, ", b"two, ", b"three")
    assert ring.submit() == [15]
    assert ends[1].recv(100) == b"one, two, three"


def test_what_would_wait_is_told_so(ring, ends):
    ends[0].send(b"only one")
    for _ in range(3):
        ring.read(ends[1].fileno(), 100)
    assert ring.submit() == [b"only one", -errno.EAGAIN, -errno.EAGAIN]
    ends[0].send(b"later")  # nobody waits for it
    assert ends[1].recv(100) == b"later"


def test_a_request_that_fails_does_not_stop_the_others(ring, ends):
    ring.write(ends[0].fileno(), b"one")
    ring.write(-1, b"two")
    ring.write(ends[0].fileno(), b"three")
    assert ring.submit() == [3, -errno.EBADF, 5]
    assert [ends[1].recv(100), ends[1].recv(100)] == [b"one", b"three"]


def test_of_a_file_that_may_wait_nothing_is_tried(ring):
    with open("/proc/self/stat", "rb") as file:
        ring.read(file.fileno(), 10)
        assert ring.submit() == [-errno.EOPNOTSUPP]


@pytest.mark.parametrize("count", [1, 5, ENTRIES - 1, ENTRIES])
def test_it_goes_round_and_round(ring, count):
    reader, writer = os.pipe2(os.O_NONBLOCK)
    try:
        for turn in range(3 * ENTRIES // count + 3):
            sent = messages(count, turn)
            for message in sent:
                ring.write(writer, message)
            assert ring.submit() == [len(message) for message in sent]
            assert os.read(reader, 1 << 16) == b"".join(sent)
    finally:
        os.close(reader)
        os.close(writer)


def test_nothing_queued_is_nothing_done(ring):
    assert ring.submit() == []


def test_what_the_kernel_does_not_take_is_taken_back(ring, ends):
    spare = os.dup(ring.fd)
    os.close(ring.fd)
    try:
        ring.write(ends[0].fileno(), b"one")
        ring.write(ends[0].fileno(), b"two")
        assert ring.submit() == [-errno.EOPNOTSUPP] * 2
    finally:
        os.dup2(spare, ring.fd)
        os.close(spare)
    ring.write(ends[0].fileno(), b"three")
    assert ring.submit() == [5]
    assert ends[1].recv(100) == b"three"
    with pytest.raises(BlockingIOError):
        ends[1].recv(100)


def test_it_leaves_nothing_behind(ring):
    """Neither a file nor memory, and it can be closed twice."""
    files, mapped = os.listdir("/proc/self/fd"), mappings()
    for _ in range(3):
        other = Ring()
        assert mappings() > mapped
        other.close()
        other.close()
        assert not other.is_open
    assert os.listdir("/proc/self/fd") == files
    assert mappings() == mapped


def mappings():
    with open("/proc/self/maps") as maps:
        return sum("[io_uring]" in line for line in maps)


def test_without_room_for_its_file_it_does_not_open(ring):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            Ring()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert caught.value.errno == errno.EMFILE
