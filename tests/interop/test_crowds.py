"""Many connections: ten thousand one after the other, hundreds at once."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
from interop.virtual import (
    HOST,
    SECONDS,
    Background,
    both_families,
    python,
    virtual_net,
    wait_until,
)

import pystack

CONNECTIONS = 10_000
OPEN_AT_ONCE = 400

# Opens and closes connections, of both families, in four threads; in every other one it is the
# server that closes first, and the byte says so.
OPENER = """
import socket, sys, threading

def some(first, last):
    for number in range(first, last):
        with socket.create_connection((hosts[number & 1], 80), 30) as client:
            client.sendall(b"server" if number & 2 else b"client")
            if number & 2:
                assert client.recv(100) == b""

hosts, count = sys.argv[1:3], int(sys.argv[3])
parts = [(count * n // 4, count * (n + 1) // 4) for n in range(4)]
threads = [threading.Thread(target=some, args=part) for part in parts]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def close_all(server: socket.socket, count: int) -> int:
    """Accept connections and close them, before the client does or after; how many went well."""
    well = 0
    for _ in range(count):
        connection, _ = server.accept()
        with connection:
            connection.settimeout(SECONDS)
            first = connection.recv(6, socket.MSG_WAITALL)
            well += first == b"server" or (first == b"client" and connection.recv(1) == b"")
    return well


def test_10000_connections_are_opened_and_closed(namespace):
    """By either side first; the counters and the table agree that all are gone."""
    with virtual_net(namespace) as stack:
        with stack.create_server(
            ("::", 80), family=socket.AF_INET6, backlog=100, dualstack_ipv6=True
        ) as server:
            server.settimeout(SECONDS)
            with Background(close_all, server, CONNECTIONS) as closer:
                command = python(OPENER, HOST[4], HOST[6], str(CONNECTIONS))
                namespace.run(command, timeout=2 * SECONDS)
            assert closer.result == CONNECTIONS
        wait_until(lambda: all_wait(stack))
        waiting = len(stack.connections(10**6))
        counters = stack.counters()
        assert counters["tcp_connections_opened_passive"] == CONNECTIONS
        assert counters["tcp_connections_closed"] == CONNECTIONS + 1 - waiting  # the listener too
        assert counters["tcp_connections_reset"] == counters["tcp_connections_timed_out"] == 0
        assert CONNECTIONS // 4 < waiting <= CONNECTIONS // 2 + 10
    assert stack.counters()["tcp_connections_closed"] == CONNECTIONS + 1


def all_wait(stack: pystack.Stack) -> bool:
    return {one.state for one in stack.connections(10**6)} <= {"TIME-WAIT"}


@both_families
def test_many_connections_are_open_at_once(namespace, family):
    """Their streams are not mixed up, and a close of the stack resets them all."""
    with virtual_net(namespace) as stack, ExitStack() as clients:
        stack.serve("echo", "tcp", 7)
        connected = [
            clients.enter_context(namespace.connect(HOST[family], 7, SECONDS))
            for _ in range(OPEN_AT_ONCE)
        ]
        for number, client in enumerate(connected):
            client.sendall(f"{number:04}".encode() * 100)
        for number, client in enumerate(connected):
            assert client.recv(400, socket.MSG_WAITALL) == f"{number:04}".encode() * 100
        stack.close()
        for client in connected:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
