"""However a stack ends, nothing is left of it: no thread, file, packet, interface or memory."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import threading

from interop.command import interfaces
from interop.harness import require_tool
from interop.virtual import (
    HOST,
    NETS,
    SECONDS,
    Background,
    datagrams,
    pattern,
    python,
)

import pystack

LIVES = 20
BODY = pattern(300_000)


def life(namespace) -> None:
    """A stack with all that it can hold in the middle of something when it is closed."""
    with pystack.Stack(*NETS, device=namespace.tun(*NETS)) as stack:
        stack.serve("echo", "tcp", 7)
        stack.serve("echo", "udp", 7)
        server = stack.create_server((HOST[4], 80))
        receiver = stack.socket(pystack.AF_INET6, pystack.SOCK_DGRAM)
        receiver.bind((HOST[6], 5000))
        with (
            namespace.connect(HOST[4], 80, SECONDS) as one,
            namespace.connect(HOST[6], 7, SECONDS) as other,
            datagrams(namespace, 6, 5000) as client,
            datagrams(namespace, 4, 7) as echoed,
        ):
            connection, _ = server.accept()
            connection.sendall(BODY)  # more than the kernel reads
            other.sendall(bytes(1000))
            client.send(bytes(30_000))
            echoed.send(bytes(9000))
            assert one.recv(1000)
            assert other.recv(10)
            assert echoed.recv(9000)
            waiter = Background(end_of, server)
            waiter.start()
            assert receiver.fileno() >= 0
            stack.close()
        waiter.join(SECONDS)
        assert waiter.result == "OSError"
    for left in (server, receiver, connection):
        left.close()
    assert stack._live_packets() == 0


def end_of(server: socket.socket) -> str:
    """How a blocked accept ends."""
    try:
        server.accept()
    except OSError as problem:
        return type(problem).__name__
    return "accepted"


def usage() -> dict[str, object]:
    gc.collect()
    with open("/proc/self/statm") as statm:
        resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "threads": len(os.listdir("/proc/self/task")),
        "names": sorted(thread.name for thread in threading.enumerate()),
        "fds": sorted(os.listdir("/proc/self/fd")),
        "resident": resident,
    }


def test_nothing_is_left_after_close(namespace):
    """No thread, no file, no packet, no interface, and no memory."""
    for _ in range(5):
        life(namespace)
    before = usage()
    for _ in range(LIVES):
        life(namespace)
    after = usage()
    grown = after.pop("resident") - before.pop("resident")
    assert after == before
    # The allocator's own slack: a buffer of 64 KiB lost in each life would be more.
    assert grown < 1 << 20
    assert interfaces(namespace) == ["lo"]


def test_a_stack_that_nobody_closed_is_closed_at_exit(namespace):
    """Also in the middle of a transfer, its threads included."""
    program = """
import pystack, socket, threading
stack = pystack.Stack("10.3.0.0/24", device=pystack.TunDevice("pystack0"))
stack.serve("echo", "tcp", 7)
server = stack.create_server(("10.3.0.5", 80))
threading.Thread(target=server.accept, daemon=True).start()
client = socket.create_connection(("10.3.0.5", 7))
client.sendall(bytes(1000))
assert client.recv(1)
print("done")
"""
    ended = namespace.run(python(program), check=False)
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr
    assert interfaces(namespace) == ["lo"]


def test_a_kill_in_the_middle_of_a_transfer_leaves_nothing(namespace):
    program = """
import pystack, threading
stack = pystack.Stack("10.3.0.0/24", "fd03::/64", device=pystack.TunDevice("pystack0"))
stack.serve("chargen", "tcp", 19)
print("ready", flush=True)
threading.Event().wait()
"""
    with namespace.popen(python(program), stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        with namespace.connect(HOST[4], 19, SECONDS) as client:
            assert client.recv(100_000)
            process.send_signal(signal.SIGKILL)
            process.wait(SECONDS)
    assert interfaces(namespace) == ["lo"]
    for family in ("-4", "-6"):
        listed = [require_tool("ip"), family, "route", "show", "table", "all"]
        assert "pystack0" not in namespace.run(listed).stdout
