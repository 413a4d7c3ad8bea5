"""The Python programs of the bench: echo, sink and source with blocking sockets.

usage: python -m bench.program kernel            on the kernel's sockets
       python -m bench.program pystack NAME NETS OFFLOADS   on pystack's, and its native services
       python -m bench.program mirror NAME NETS OFFLOADS    nothing but the mirror

NETS: networks, separated by commas.

The same functions on both; a thread for each connection. Ends with the bench.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

from bench.rows import CHARGEN, DISCARD, ECHO, PROGRAM

CHUNK = 256 << 10
PATTERN = b"".join(
    bytes(32 + (line + column) % 95 for column in range(72)) + b"\r\n" for line in range(95)
)
PR_SET_PDEATHSIG = 1


def echo(connection: Any) -> None:
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    while got := connection.recv_into(buffer):
        connection.sendall(view[:got])


def sink(connection: Any) -> None:
    buffer = bytearray(CHUNK)
    while connection.recv_into(buffer):
        pass


def source(connection: Any) -> None:
    """The pattern, in writes of about 256 KiB."""
    whole = PATTERN * (CHUNK // len(PATTERN))
    while True:
        connection.sendall(whole)


def serve(listener: Any, answer: Any) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=converse, args=(connection, answer), daemon=True).start()


def converse(connection: Any, answer: Any) -> None:
    from socket import IPPROTO_TCP, TCP_NODELAY

    with connection, suppress(OSError):
        connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        answer(connection)


def start_programs(create_server: Any) -> None:
    for port, answer in ((ECHO, echo), (DISCARD, sink), (CHARGEN, source)):
        listener = create_server(("", PROGRAM + port), backlog=1024)
        threading.Thread(target=serve, args=(listener, answer), daemon=True).start()


def main(arguments: list[str]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if arguments[0] == "kernel":
        import socket

        start_programs(socket.create_server)
    else:
        import pystack
        from pystack.device.tun import TunDevice

        kind, name, given, offloads = arguments
        networks = given.split(",")
        stack = pystack.Stack(*networks, device=TunDevice(name, offloads=offloads == "offloads"))
        if kind == "mirror":
            for network in networks:
                stack.set_policy(network, "mirror")
        else:
            for service, port in (("echo", ECHO), ("discard", DISCARD), ("chargen", CHARGEN)):
                stack.serve(service, "tcp", port)
                stack.serve(service, "udp", port)
            start_programs(stack.create_server)
    print("ready", flush=True)
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
