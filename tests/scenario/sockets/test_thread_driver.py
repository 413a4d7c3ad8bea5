"""The thread that turns a stack: with devices of every kind, awake when it must be."""

from __future__ import annotations

import errno
import os
import resource
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from scenario.sockets.blocked import wait_until_blocked

from pystack import Device, PipeDevice, Stack

REQUESTS = 300
BATCH = 64  # packets
JUNK = b"no packet at all"


class Delivering(Device):
    """A device that is handed what arrives, and may lose what it should carry."""

    def __init__(self):
        super().__init__()
        self.peer = None
        self.lose = False

    def send(self, packets):
        if not self.lose:
            self.peer.deliver(packets)


class Asked(Device):
    """A device that is asked when its file is readable."""

    def __init__(self, file):
        super().__init__()
        self.file = file
        self.lose = False

    def fileno(self):
        return self.file.fileno()

    def receive(self):
        packets = []
        try:
            while len(packets) < 10:
                packets.append(self.file.recv(65536))
        except BlockingIOError:
            pass
        if b"" in packets:
            raise OSError(errno.EPIPE, "the other end is gone")
        return packets

    def send(self, packets):
        if not self.lose:
            for packet in packets:
                self.file.send(packet)

    def close(self):
        super().close()
        self.file.close()


def delivering_pair():
    devices = Delivering(), Delivering()
    devices[0].peer, devices[1].peer = devices[1], devices[0]
    return devices


class Halting(Asked):
    """One that can halt its driver while that is awake, and notes who sends."""

    def __init__(self, file):
        super().__init__(file)
        self.senders = []
        self.steps = []  # what receive does next
        self.halted, self.go_on = threading.Event(), threading.Event()

    def receive(self):
        return self.steps.pop(0)() if self.steps else super().receive()

    def send(self, packets):
        self.senders.append(threading.current_thread())
        super().send(packets)

    def halt(self):
        """Return when the driver is between two turns: it asks at once after a full batch."""
        self.steps += [lambda: [JUNK] * BATCH, self.wait]
        self.deliver([JUNK])
        assert self.halted.wait(30)

    def wait(self):
        self.halted.set()
        assert self.go_on.wait(30)
        return []

    def close(self):
        self.go_on.set()
        super().close()


def asked_pair(kind=Asked):
    files = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for file in files:
        file.setblocking(False)
        file.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return tuple(map(kind, files))


@contextmanager
def connected(near, far):
    """The stack of the near device, and both ends of a connection that it has opened."""
    with (
        Stack("10.1.0.0/24", device=near) as one,
        Stack("10.2.0.0/24", device=far) as other,
        other.create_server(("10.2.0.5", 80)) as listener,
        one.create_connection(("10.2.0.5", 80), 30) as client,
    ):
        server, _ = listener.accept()
        with server:
            yield one, client, server


PAIRS = {
    "pipe": PipeDevice.pair,
    "cut pipe": lambda: PipeDevice.pair(cut=True),
    "delivering": delivering_pair,
    "asked": asked_pair,
}


@pytest.mark.parametrize("pair_of", PAIRS.values(), ids=PAIRS)
def test_every_kind_of_device_carries_a_conversation(pair_of, in_thread):
    near, far = pair_of()
    with Stack("10.1.0.0/24", device=near) as one, Stack("10.2.0.0/24", device=far) as other:
        listener = one.create_server(("10.1.0.5", 80))
        with listener, other.create_connection(("10.1.0.5", 80), timeout=30) as client:
            server, _ = listener.accept()
            with server:
                data = bytes(range(256)) * 2000
                sending = in_thread(client.sendall, data)
                assert server.recv(len(data), socket.MSG_WAITALL) == data
                sending.result()
                server.sendall(b"thanks")
                assert client.recv(6, socket.MSG_WAITALL) == b"thanks"


@pytest.mark.parametrize("pair_of", [delivering_pair, asked_pair], ids=["delivering", "asked"])
def test_an_idle_driver_wakes_for_the_deadline_of_a_call(pair_of):
    """With fds and without: who sleeps for ever must hear that there is now a timer."""
    near, far = pair_of()
    far.deliver([b"something that is there before the stack"])
    with (
        Stack("10.1.0.0/24", device=near) as one,
        Stack("10.2.0.0/24", device=far) as other,
        one.create_server(("10.1.0.5", 80)) as listener,
        other.socket() as client,
    ):
        listener.settimeout(0.15)  # so long that the drivers fall asleep
        with pytest.raises(TimeoutError):
            listener.accept()
        client.setblocking(False)
        far.lose = True
        client.connect_ex(("10.1.0.5", 80))
        far.lose = False
        listener.settimeout(20)
        listener.accept()[0].close()


def test_an_idle_driver_sleeps():
    near, far = PipeDevice.pair()
    with (
        Stack("10.1.0.0/24", device=near) as one,
        Stack("10.2.0.0/24", device=far) as other,
        one.create_server(("10.1.0.5", 80)) as listener,
        other.create_connection(("10.1.0.5", 80), timeout=0.3) as client,
    ):
        server, _ = listener.accept()
        before = resource.getrusage(resource.RUSAGE_SELF)
        with server, pytest.raises(TimeoutError):
            client.recv(1)
        after = resource.getrusage(resource.RUSAGE_SELF)
        assert after.ru_nvcsw - before.ru_nvcsw < 100  # times that a thread went to sleep
        assert after.ru_utime - before.ru_utime < 0.1


def test_a_device_whose_file_ends_is_gone(caplog):
    near, far = asked_pair()
    with Stack("10.1.0.0/24", device=near) as stack:
        far.close()
        stack.engine.thread.join(20)
        assert not stack.engine.thread.is_alive()
        with pytest.raises(OSError) as caught:
            stack.socket()
        assert caught.value.errno == errno.ENETDOWN
    assert "is gone (Broken pipe)" in caplog.text


def test_a_device_whose_file_is_closed_under_it_does_not_spin(caplog):
    class Forgetful(Asked):
        def receive(self):
            return []

    file, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with other, Stack("10.1.0.0/24", device=Forgetful(file)) as stack:
        os.close(file.detach())
        other.close()  # wakes the driver, if it sleeps on the old file
        stack.engine.thread.join(20)
        assert not stack.engine.thread.is_alive()
    assert "is gone (Bad file descriptor)" in caplog.text


def test_a_device_in_python_is_asked_when_its_file_is_readable():
    """Not again and again while packets come fast, as a TUN device is."""
    near, far = asked_pair()
    vain = []
    ask = near.receive

    def receive():
        packets = ask()
        if not packets:
            vain.append(1)
        return packets

    near.receive = receive
    with Stack("10.1.0.0/24", device=near) as one, Stack("10.2.0.0/24", device=far) as other:
        one.serve("echo", "tcp", 7)
        with other.create_connection(("10.1.0.5", 7), timeout=30) as client:
            for _ in range(REQUESTS):
                client.sendall(b"x")
                assert client.recv(1) == b"x"
    assert len(vain) < 1.5 * REQUESTS  # after each, since something else was due at once


def test_packets_wait_for_a_stack_that_starts_later(in_thread):
    near, far = PipeDevice.pair()
    with (
        Stack("10.1.0.0/24", device=near, start=False) as late,
        Stack("10.2.0.0/24", device=far) as peer,
    ):
        connecting = in_thread(peer.create_connection, ("10.1.0.5", 80))
        while not peer.counters()["packets_out"]:
            assert connecting.thread.is_alive()
        with late.create_server(("10.1.0.5", 80)) as server:
            assert late.counters()["packets_in"] == 0
            late.start()
            late.start()
            connection, _ = server.accept()
        with connection, connecting.result() as client:
            client.sendall(b"x")
            assert connection.recv(1) == b"x"


def test_a_stack_that_was_never_started_closes():
    near, _far = PipeDevice.pair()
    stack = Stack("10.1.0.0/24", device=near, start=False)
    stack.close()
    stack.start()
    assert stack.closed
    assert near.closed


def test_threads_are_named_after_their_devices():
    near, far = PipeDevice.pair()
    with Stack("10.1.0.0/24", device=near), Stack("10.2.0.0/24", device=far):
        names = {thread.name for thread in threading.enumerate()}
        assert {"pystack pipe-a", "pystack pipe-b"} <= names


def test_a_driver_that_is_closed_while_packets_pour_in_ends(in_thread):
    near, far = PipeDevice.pair()
    with (
        Stack("10.2.0.0/24", device=far) as other,
        Stack("10.1.0.0/24", device=near) as one,
        other.socket(type=socket.SOCK_DGRAM) as flood,
    ):
        stop = threading.Event()

        def pour():
            while not stop.is_set():
                flood.sendto(bytes(1000), ("10.1.0.5", 9))

        pouring = in_thread(pour)
        one.close()
        stop.set()
        pouring.result()
        assert not one.engine.thread.is_alive()


@pytest.mark.parametrize("cpus", [1, 2])
def test_the_thread_sends_for_calls_if_there_is_a_cpu_for_both(monkeypatch, cpus):
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpus)))
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)
    near, far = asked_pair(Halting)
    me = threading.current_thread()
    with connected(near, far) as (_, client, server):
        near.halt()
        near.senders.clear()
        client.sendall(b"to be sent")
        assert near.senders == ([me] if cpus == 1 else [])
        near.go_on.set()
        server.settimeout(30)
        assert server.recv(100) == b"to be sent"
        assert (me in near.senders) == (cpus == 1)


TIMEOUT = 2.0  # seconds: more than it takes until a packet arrives


class Slow:
    """A capture that holds the stack's lock until a time."""

    def __init__(self, until):
        self.until = until

    def write(self, packet, time_ns, outbound):
        if not outbound and packet.endswith(b"late"):
            threading.Event().wait(self.until - time.monotonic())


def test_a_call_that_is_woken_when_its_time_is_up_has_what_woke_it(in_thread):
    with connected(*PipeDevice.pair()) as (one, client, server):
        client.settimeout(TIMEOUT)
        receiving = in_thread(client.recv, 100)
        wait_until_blocked(receiving.thread)
        one.capture(Slow(time.monotonic() + TIMEOUT + 0.1))
        server.sendall(b"late")
        assert receiving.result() == b"late"
