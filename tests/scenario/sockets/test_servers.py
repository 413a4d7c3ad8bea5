"""The standard library's servers and clients on virtual hosts: unchanged but for the socket."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import (
    BaseRequestHandler,
    BaseServer,
    DatagramRequestHandler,
    StreamRequestHandler,
    TCPServer,
    ThreadingMixIn,
    ThreadingTCPServer,
    UDPServer,
)

import pytest


@contextmanager
def serving(server: BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def put(server: BaseServer, own: socket.socket) -> None:
    """Give a server, made without bind, the socket of a stack."""
    server.socket.close()
    server.socket = own


class Upper(StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


@pytest.mark.parametrize("kind", [TCPServer, ThreadingTCPServer])
def test_socketserver_serves_streams(pair, kind):
    address = ("10.1.0.5", 7000)
    server = kind(address, Upper, bind_and_activate=False)
    server.daemon_threads = True
    put(server, pair.near.create_server(address))
    with (
        serving(server),
        pair.far.create_connection(address, timeout=20) as client,
        client.makefile("rwb") as file,
    ):
        for line in (b"first\n", b"second\n"):
            file.write(line)
            file.flush()
            assert file.readline() == line.upper()


def test_socketserver_serves_by_its_own_bind_and_activate(pair):
    server = TCPServer(("10.1.0.5", 0), Upper, bind_and_activate=False)
    put(server, pair.near.socket())
    server.allow_reuse_address = True
    server.server_bind()
    server.server_activate()
    with serving(server), pair.far.create_connection(server.server_address, timeout=20) as client:
        client.sendall(b"text\n")
        assert client.recv(5, socket.MSG_WAITALL) == b"TEXT\n"


class Reverse(DatagramRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.read()[::-1])


class ThreadingUDPServer(ThreadingMixIn, UDPServer):
    pass


@pytest.mark.parametrize("kind", [UDPServer, ThreadingUDPServer])
def test_socketserver_serves_datagrams(pair, kind):
    server = kind(("10.1.0.5", 7000), Reverse, bind_and_activate=False)
    put(server, pair.near.socket(type=socket.SOCK_DGRAM))
    server.server_bind()
    with serving(server), pair.far.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.sendto(b"abc", ("10.1.0.5", 7000))
        assert client.recvfrom(100) == (b"cba", ("10.1.0.5", 7000))


class Echo(BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1 << 16):
            self.request.sendall(data)


def test_many_clients_at_once(pair):
    address = ("10.1.0.5", 7000)
    server = ThreadingTCPServer(address, Echo, bind_and_activate=False)
    put(server, pair.near.create_server(address, backlog=64))
    with serving(server):
        clients = [pair.far.create_connection(address, timeout=20) for _ in range(40)]
        for number, client in enumerate(clients):
            client.sendall(number.to_bytes(4, "big") * 5000)
        for number, client in enumerate(clients):
            with client:
                assert client.recv(20000, socket.MSG_WAITALL) == number.to_bytes(4, "big") * 5000


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"{self.path} at {self.connection.getsockname()[0]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.mark.parametrize("host", ["10.1.0.77", "fd01::77"])
def test_http_server_and_client(pair, monkeypatch, host):
    """Both ends of the standard library's HTTP over virtual hosts, one server at all addresses."""
    monkeypatch.setattr(socket, "getfqdn", lambda name="": name)  # it would ask the network
    server = ThreadingHTTPServer(("::", 80), Page, bind_and_activate=False)
    put(server, pair.near.socket(socket.AF_INET6))
    server.server_bind()
    server.server_activate()
    with serving(server):
        client = http.client.HTTPConnection(host, 80, timeout=20)
        client._create_connection = pair.far.create_connection
        for path in ("/one", "/two"):
            client.request("GET", path)
            shown = host if ":" in host else f"::ffff:{host}"
            assert client.getresponse().read().decode() == f"{path} at {shown}"
        body = bytes(range(256)) * 4000
        client.request("POST", "/", body)
        assert client.getresponse().read() == body
        client.close()
