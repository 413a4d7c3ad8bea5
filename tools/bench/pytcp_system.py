"""PyTCP behind a TAP interface: echo (7), discard (9) and chargen (19) over TCP, echo over UDP.

usage: pytcp_system.py INTERFACE PREFIX      with a Python that has PyTCP; PREFIX: such as 10.1.0

A thread for each connection, as PyTCP's own examples have. Nothing here is pystack's.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from pytcp import TcpIpStack, config
from pytcp.lib import socket

ECHO, DISCARD, CHARGEN = 7, 9, 19
PATTERN = b"".join(
    bytes(32 + (line + column) % 95 for column in range(72)) + b"\r\n" for line in range(95)
)


def converse(connection: Any, port: int) -> None:
    with suppress(Exception):
        while port == CHARGEN:
            connection.send(PATTERN)
        while data := connection.recv():
            if port == ECHO:
                connection.send(data)
    with suppress(Exception):
        connection.close()


def serve_tcp(address: str, port: int) -> None:
    listener = socket.socket(socket.AF_INET4, socket.SOCK_STREAM)
    listener.bind((address, port))
    listener.listen()
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=converse, args=(connection, port), daemon=True).start()


def serve_udp(address: str) -> None:
    datagrams = socket.socket(socket.AF_INET4, socket.SOCK_DGRAM)
    datagrams.bind((address, ECHO))
    while True:
        data, peer = datagrams.recvfrom()
        datagrams.sendto(data, peer)


def main() -> None:
    interface, prefix = sys.argv[1:]
    config.LOG_CHANEL = set()
    stack = TcpIpStack(interface=interface, ip4_address=f"{prefix}.2/24")
    config.IP6_SUPPORT = False
    for arguments in (f"address add {prefix}.1/24 dev {interface}", f"link set {interface} up"):
        subprocess.run(["ip", *arguments.split()], check=True)
    stack.start()
    for port in (ECHO, DISCARD, CHARGEN):
        threading.Thread(target=serve_tcp, args=(f"{prefix}.2", port), daemon=True).start()
    threading.Thread(target=serve_udp, args=(f"{prefix}.2",), daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
