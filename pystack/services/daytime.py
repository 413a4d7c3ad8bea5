"""Daytime: the time of day as a line of text.

Called by: services, when it is first wanted.
RFCs: 867.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from socket import SHUT_WR
from socketserver import BaseRequestHandler
from typing import TYPE_CHECKING

from pystack.services.server import ANCILLARY, VirtualServer, datagrams

if TYPE_CHECKING:
    from pystack.services import Running
    from pystack.stack import Stack

LINGER = 2  # seconds for a client to close after us; what it sends is thrown away


def daytime() -> bytes:
    """Weekday, Month Day, Year Time-Zone: the first of the forms that RFC 867 proposes."""
    return time.strftime("%A, %B %d, %Y %H:%M:%S-%Z\r\n").encode()


class Handler(BaseRequestHandler):
    """One connection: the line, then the end; the client's data is not answered with a reset."""

    def handle(self) -> None:
        self.request.sendall(daytime())
        self.request.shutdown(SHUT_WR)
        self.request.settimeout(LINGER)
        end = time.monotonic() + LINGER
        with suppress(OSError):
            while self.request.recv(65536) and time.monotonic() < end:
                pass


class Datagrams:
    """Over UDP: each datagram, whatever is in it, is answered with the line."""

    def __init__(self, stack: Stack, port: int) -> None:
        self.socket = datagrams(stack, port)
        self.thread = threading.Thread(target=self.run, name=f"daytime:{port}", daemon=True)
        self.thread.start()

    def run(self) -> None:
        with suppress(OSError):
            while True:
                _, arrival, _, client = self.socket.recvmsg(0, ANCILLARY)
                self.socket.sendmsg([daytime()], arrival, 0, client)

    def close(self) -> None:
        self.socket.close()
        self.thread.join()


def start(stack: Stack, protocol: str, port: int) -> Running:
    if protocol == "udp":
        return Datagrams(stack, port)
    return VirtualServer(stack, port, Handler)
