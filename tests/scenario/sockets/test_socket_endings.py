"""Ends of blocked calls, sockets, stacks, devices, processes; signals and forks."""

from __future__ import annotations

import errno
import gc
import os
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from scenario.sockets.blocked import descriptors, wait_until_blocked

from pystack import Device, PipeDevice, Stack


def end(one, how):
    one.close() if how == "socket" else one.stack.close()


def blocked_calls(world):
    """(socket, function that blocks) of every kind."""
    client, server = world.connected()
    yield client, lambda: client.recv(1)
    yield server, lambda: server.sendall(bytes(1 << 26))
    listener = world.listener()
    yield listener, listener.accept
    datagrams = world.bound(socket.SOCK_DGRAM)
    yield datagrams, lambda: datagrams.recvfrom(1)
    world.pair.near.set_policy("10.1.0.66", "drop")
    caller = world.fresh()
    yield caller, lambda: caller.connect(("10.1.0.66", 1))


@pytest.mark.parametrize("how", ["socket", "stack"])
@pytest.mark.parametrize(
    "which", range(5), ids=["recv", "sendall", "accept", "recvfrom", "connect"]
)
def test_closing_ends_blocked_calls(stack_world, in_thread, how, which):
    one, function = list(blocked_calls(stack_world))[which]
    one.settimeout(None)
    calls = [in_thread(function) for _ in range(1 if which in (1, 4) else 3)]
    for call in calls:
        wait_until_blocked(call.thread)
    end(one, how)
    for call in calls:
        with pytest.raises(OSError) as caught:
            call.result()
        assert caught.value.errno == errno.EBADF


def test_every_waiting_thread_gets_its_connection(stack_world, in_thread):
    with stack_world.listener(backlog=64) as listener:
        listener.settimeout(None)
        waiting = [in_thread(listener.accept) for _ in range(8)]
        for call in waiting:
            wait_until_blocked(call.thread)
        clients = [stack_world.fresh() for _ in waiting]
        for client in clients:
            client.connect(listener.getsockname())
        names = set()
        for call in waiting:
            accepted, peer = call.result()
            accepted.close()
            names.add(peer)
        assert names == {client.getsockname() for client in clients}


def test_a_lost_device_is_told_to_everyone_and_logged_once(in_thread, caplog):
    near, far = PipeDevice.pair()
    with Stack("10.1.0.0/24", device=near) as stack, Stack("10.2.0.0/24", device=far):
        listener = stack.create_server(("10.1.0.5", 80))
        idle = stack.socket()
        waiting = in_thread(listener.accept)
        wait_until_blocked(waiting.thread)
        near.close()
        with pytest.raises(OSError) as caught:
            waiting.result()
        assert caught.value.errno == errno.ENETDOWN
        for call in (lambda: idle.connect(("10.2.0.1", 1)), stack.socket, listener.accept):
            with pytest.raises(OSError, match="the stack's device is gone") as caught:
                call()
            assert caught.value.errno == errno.ENETDOWN
        stack.engine.thread.join(20)
        assert [record.name for record in caplog.records] == ["pystack"]
        assert "pipe-a is gone" in caplog.text
        listener.close()
        idle.close()


def test_nothing_is_left_of_a_closed_stack():
    """No thread, no descriptor, no packet."""

    def session():
        near, far = PipeDevice.pair()
        with Stack("10.1.0.0/24", device=near) as one, Stack("10.2.0.0/24", device=far) as other:
            one.serve("echo", "tcp", 7)
            clients = [other.create_connection(("10.1.0.5", 7), timeout=5) for _ in range(5)]
            for client in clients:
                assert client.fileno() >= 0
                client.sendall(b"x")
                assert client.recv(1) == b"x"
            assert other._live_packets() == 0
            for client in clients:
                client.close()

    session()
    gc.collect()
    threads, open_before = threading.active_count(), descriptors()
    for _ in range(3):
        session()
    assert threading.active_count() == threads
    assert descriptors() == open_before


def test_closing_a_stack_resets_its_connections(stack_world):
    client, server = stack_world.connected()
    stack_world.pair.far.close()
    stack_world.pair.far.close()
    assert stack_world.pair.far.closed
    with pytest.raises(ConnectionResetError):
        server.recv(1)
    for call in (lambda: client.send(b"x"), stack_world.pair.far.socket):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EBADF
    client.close()


def test_a_stack_that_nobody_holds_is_closed():
    near, far = PipeDevice.pair()
    stack = Stack("10.1.0.0/24", device=near)
    thread = stack.engine.thread
    one = stack.socket()
    del stack
    gc.collect()
    assert thread.is_alive()  # its socket holds it
    one.close()
    with pytest.warns(ResourceWarning, match="unclosed <Stack"):
        del one
    thread.join(20)
    assert not thread.is_alive()
    assert near.closed
    far.close()


@pytest.mark.parametrize("timeout", [None, 60])
def test_linger_waits_until_the_peer_has_everything(stack_world, in_thread, timeout):
    """SO_LINGER, as socket(7)."""
    client, server, room = stack_world.full()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
    client.settimeout(timeout)
    closing = in_thread(client.close)
    wait_until_blocked(closing.thread)
    while room:
        room -= len(server.recv(1 << 20))
    closing.result()
    assert server.recv(1) == b""


class Reentrant(Device):
    """A device whose Python code does what it must not."""

    def __init__(self):
        super().__init__()
        self.stack = None
        self.problems = []
        self.garbage = []

    def send(self, packets):
        if self.garbage:
            self.garbage.clear()
            gc.collect()
        if self.stack is not None:
            try:
                self.stack.counters()
            except OSError as problem:
                self.problems.append(problem.errno)


def test_a_device_that_calls_its_stack_gets_edeadlk():
    device = Reentrant()
    with Stack("10.1.0.0/24", device=device) as stack, stack.socket(type=socket.SOCK_DGRAM) as one:
        device.stack = stack
        one.sendto(b"x", ("10.9.9.9", 9))
        device.stack = None
    assert device.problems == [errno.EDEADLK]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_socket_may_be_collected_while_its_stack_is_sending():
    device = Reentrant()
    with Stack("10.1.0.0/24", device=device) as stack, stack.socket(type=socket.SOCK_DGRAM) as one:
        other = stack.socket(type=socket.SOCK_DGRAM)
        other.bind(("10.1.0.5", 9))
        cycle = [other]
        cycle.append(cycle)
        device.garbage.append(cycle)
        del other, cycle
        one.sendto(b"x", ("10.9.9.9", 9))
        assert not device.garbage
        with stack.socket(type=socket.SOCK_DGRAM) as again:
            again.bind(("10.1.0.5", 9))


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_stack_closed_by_its_own_device_ends():
    class Suicidal(Device):
        def send(self, packets):
            stack.close()

    device = Suicidal()
    stack = Stack("10.1.0.0/24", device=device)
    thread = stack.engine.thread
    with stack.socket(type=socket.SOCK_DGRAM) as one:
        one.sendto(b"x", ("10.9.9.9", 9))
    thread.join(20)
    assert stack.closed
    assert device.closed


# Other processes.

PRELUDE = """
import gc, os, signal, socket, sys, threading, time
from pystack import PipeDevice, Stack
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
near, far = PipeDevice.pair()
one, other = Stack("10.1.0.0/24", device=near), Stack("10.2.0.0/24", device=far)
listener = one.create_server(("10.1.0.5", 80))
"""


def run(program: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PRELUDE + textwrap.dedent(program)],
        capture_output=True, text=True, timeout=60, **options,
    )  # fmt: skip


def test_ctrl_c_ends_a_blocked_call():
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PRELUDE + textwrap.dedent("""
            client = other.create_connection(("10.1.0.5", 80))
            print("ready", flush=True)
            try:
                client.recv(1)
            except KeyboardInterrupt:
                print("interrupted")
            """)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with child:
        try:
            assert child.stdout.readline() == "ready\n"
            wait_until_sleeping(child.pid)
            child.send_signal(signal.SIGINT)
            assert child.communicate(timeout=20)[0] == "interrupted\n"
        finally:
            child.kill()
    assert child.returncode == 0


def wait_until_sleeping(pid: int) -> None:
    """Until the main thread of a process sleeps."""
    while True:
        with open(f"/proc/{pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] == "S":
                return
        time.sleep(0)


def test_a_signal_handler_runs_while_a_call_goes_on():
    done = run("""
        client = other.create_connection(("10.1.0.5", 80))
        server, _ = listener.accept()
        def handler(*_):
            print("handled", flush=True)
            server.sendall(b"x")
        signal.signal(signal.SIGUSR1, handler)
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        print(client.recv(1))
        """)
    assert done.stdout == "handled\nb'x'\n"
    assert done.returncode == 0


def test_the_interpreter_ends_with_open_stacks_and_blocked_threads():
    """Which say nothing, as if they were blocked in the kernel: stderr is being taken down. Nor do
    those that hear that the other stack has reset their connections before theirs is closed.
    """
    done = run("""
        clients = [other.create_connection(("10.1.0.5", 80)) for _ in range(20)]
        calls = [lambda client=client: client.recv(1) for client in clients]
        for call in (listener.accept, *calls):
            threading.Thread(target=call, daemon=True).start()
        print("end", flush=True)
        """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_the_interpreter_ends_while_an_event_loop_of_a_thread_writes():
    """Its calls keep the GIL, which who ends the interpreter needs."""
    done = run("""
        import asyncio
        from pystack import aio
        near, far = PipeDevice.pair()
        begun = threading.Event()

        async def serve(reader, writer):
            while await reader.read(100):
                begun.set()

        async def write():
            async with aio.Stack("10.1.0.0/24", device=near) as a, aio.Stack(
                "10.2.0.0/24", device=far
            ) as b:
                await a.start_server(serve, "10.1.0.5", 7)
                _, writer = await b.open_connection("10.1.0.5", 7)
                while True:
                    writer.write(b"x")
                    await asyncio.sleep(0)

        threading.Thread(target=asyncio.run, args=(write(),), daemon=True).start()
        begun.wait()
        print("end", flush=True)
        """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_is_refused_and_does_no_harm():
    done = run("""
        client = other.create_connection(("10.1.0.5", 80))
        server, _ = listener.accept()
        pid = os.fork()
        if pid == 0:
            for call in (lambda: client.recv(1), one.counters, one.socket):
                try:
                    call()
                except OSError as problem:
                    print(problem.errno, problem.strerror, flush=True)
            client.close()
            one.close()
            del client, server, listener, one, other
            gc.collect()
            sys.exit()
        assert os.waitpid(pid, 0)[1] == 0
        client.sendall(b"x")
        print(server.recv(1))
        """)
    refusal = (
        f"{errno.EBADF} pystack: this stack stayed in the parent process; make one after the fork\n"
    )
    assert done.stdout == 3 * refusal + "b'x'\n"
    assert done.returncode == 0


def test_a_reset_and_a_fin_wake_a_blocked_recv(stack_world, in_thread):
    """RFC 9293 section 3.10.7.4; of timeouts, scenario/virtual/test_time.py knows."""
    for how in ("reset", "end"):
        client, server = stack_world.connected()
        client.settimeout(None)
        call = in_thread(lambda client=client: client.recv(1))
        wait_until_blocked(call.thread)
        if how == "end":
            server.shutdown(socket.SHUT_WR)
            assert call.result() == b""
            continue
        server.abort()
        with pytest.raises(ConnectionResetError):
            call.result()
