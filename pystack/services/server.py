"""Sockets at every address of a stack, and the standard library's servers on them.

Called by: the services that stand on the public sockets.
RFCs: 3493 section 3.7 (IPv4 on an IPv6 socket).
"""

from __future__ import annotations

import threading
from ipaddress import IPv6Address, ip_address
from socket import AF_INET6, IPPROTO_IPV6, IPV6_RECVPKTINFO, IPV6_V6ONLY, SOCK_DGRAM
from socketserver import BaseRequestHandler, TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pystack.socket import Socket
    from pystack.stack import Stack

BACKLOG = 1024
ANCILLARY = 128  # bytes, for what recvmsg says
STOP_LATENCY = 0.1  # seconds: how often serve_forever looks whether it shall end


def listen(stack: Stack, port: int) -> Socket:
    """A TCP listener at every address."""
    return stack.create_server(("", port), family=AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)


def datagrams(stack: Stack, port: int) -> Socket:
    """A UDP socket at every address.

    What recvmsg says about a datagram's destination makes it the source of sendmsg.
    """
    socket = stack.socket(AF_INET6, SOCK_DGRAM)
    try:
        socket.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 0)
        socket.setsockopt(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
        socket.bind(("::", port))
    except BaseException:
        socket.close()
        raise
    return socket


def address_text(name: tuple[Any, ...]) -> str:
    """The address of a socket's name, without the dress that IPv4 wears on an IPv6 socket."""
    address = ip_address(name[0].partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address)


class VirtualServer(ThreadingMixIn, TCPServer):
    """A server of the standard library with a stack's socket in place of the kernel's.

    It runs, in a thread of its own, from now until close().
    """

    daemon_threads = True
    block_on_close = False
    at_once = 1000  # connections, a thread for each; more wait in the backlog

    def __init__(self, stack: Stack, port: int, handler: type[BaseRequestHandler]) -> None:
        super().__init__(("", port), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listen(stack, port)
        self.stack = stack
        self.closing = False
        self.free = threading.Semaphore(self.at_once)
        name = f"{type(self).__module__}:{port}"
        self.thread = threading.Thread(
            target=self.serve_forever, args=(STOP_LATENCY,), name=name, daemon=True
        )
        self.thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection in a thread, as soon as there may be one more."""
        while not self.free.acquire(timeout=STOP_LATENCY):
            if self.closing:
                self.shutdown_request(request)
                return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: that a client goes away is no event."""

    def close(self) -> None:
        self.closing = True
        self.shutdown()
        self.server_close()
        self.thread.join()
