"""The standard library's servers on virtual hosts, unchanged but for the socket."""

from __future__ import annotations

import hashlib
import json
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from interop.harness import require_tool
from interop.virtual import (
    HOST,
    KIND,
    MB,
    SECONDS,
    both_families,
    datagrams,
    pattern,
    python,
    sha256,
    virtual_net,
)

import pystack

DOWNLOADS = 200
SIZE = 500_000  # bytes of each

# Many downloads at once; prints how many there were of each SHA-256.
CLIENT = """
import asyncio, collections, hashlib, json, sys

async def download(host, path):
    reader, writer = await asyncio.open_connection(host, 80)
    writer.write(f"GET {path} HTTP/1.0\\r\\n\\r\\n".encode())
    head = await reader.readuntil(b"\\r\\n\\r\\n")
    assert b" 200 OK" in head, head
    seen = hashlib.sha256()
    while data := await reader.read(1 << 16):
        seen.update(data)
    writer.close()
    return seen.hexdigest()

async def main(host, count):
    seen = await asyncio.gather(*(download(host, f"/{n % 10}") for n in range(count)))
    print(json.dumps(collections.Counter(seen)))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@contextmanager
def serving(server: socketserver.BaseServer, its_socket: pystack.Socket):
    """Let a server of the standard library run on a socket of the stack."""
    server.socket.close()
    server.socket = its_socket
    server.server_address = its_socket.getsockname()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def http_server(stack, family, handler, host=None, **more):
    """A ThreadingHTTPServer on port 80 of a virtual host."""
    address = (host or HOST[family], 80)
    server = ThreadingHTTPServer(("127.0.0.1", 80), handler, bind_and_activate=False)
    server.server_name, server.server_port = address
    its_socket = stack.create_server(address, family=KIND[family], **more)
    return serving(server, its_socket)


class Quiet(BaseHTTPRequestHandler):
    """GET: a body by the number in the path; PUT: its SHA-256."""

    protocol_version = "HTTP/1.1"
    bodies = tuple(pattern(SIZE + n) for n in range(10))

    def do_GET(self):
        self.answer(self.bodies[int(self.path[1:])])

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(hashlib.sha256(body).hexdigest().encode())

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def url(family, path="/"):
    host = HOST[family]
    return f"http://[{host}]{path}" if family == 6 else f"http://{host}{path}"


def curl(namespace, *arguments):
    return namespace.run([require_tool("curl"), "-sSf", *arguments], text=False).stdout


@both_families
def test_curl_downloads_and_uploads(namespace, tmp_path, family):
    data = pattern(5 * MB)
    file = tmp_path / "file"
    file.write_bytes(data)
    with virtual_net(namespace) as stack, http_server(stack, family, Quiet):
        assert curl(namespace, url(family, "/3")) == Quiet.bodies[3]
        assert curl(namespace, "-T", str(file), url(family, "/")) == sha256(data).encode()


def test_one_connection_serves_many_requests(namespace):
    urls = [url(4, f"/{n % 10}") for n in range(50)]
    with virtual_net(namespace) as stack, http_server(stack, 4, Quiet):
        body = curl(namespace, *urls)
        assert stack.counters()["tcp_connections_opened_passive"] == 1
    assert sha256(body) == sha256(b"".join(Quiet.bodies[n % 10] for n in range(50)))


def test_the_files_of_a_directory(namespace, tmp_path):
    (tmp_path / "file").write_bytes(pattern(MB))

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *arguments):
            pass

    with virtual_net(namespace) as stack, http_server(stack, 4, Handler):
        assert curl(namespace, url(4, "/file")) == pattern(MB)
        missing = namespace.run(["curl", "-sSf", url(4, "/none")], check=False)
        assert missing.returncode == 22


@both_families
@pytest.mark.parametrize("offloads", [True, False], ids=["offloads", "no-offloads"])
def test_200_downloads_at_once(namespace, family, offloads):
    expected = {sha256(body): DOWNLOADS // 10 for body in Quiet.bodies}
    with virtual_net(namespace, offloads=offloads) as stack:
        with http_server(stack, family, Quiet, backlog=DOWNLOADS):
            command = python(CLIENT, HOST[family], str(DOWNLOADS))
            assert json.loads(namespace.run(command).stdout) == expected
        assert stack.counters()["tcp_connections_opened_passive"] == DOWNLOADS


@pytest.mark.parametrize(("backlog", "clients"), [(5, 20), (50, DOWNLOADS)])
def test_more_clients_than_the_backlog_holds_wait_their_turn(namespace, backlog, clients):
    """What does not fit is ignored, as by the kernel, and comes again."""
    with virtual_net(namespace) as stack, http_server(stack, 4, Quiet, backlog=backlog):
        command = python(CLIENT, HOST[4], str(clients))
        assert sum(json.loads(namespace.run(command).stdout).values()) == clients


def test_servers_on_many_hosts(namespace):
    """Each the only one to hear what is meant for it."""
    hosts = [f"10.3.0.{n}" for n in range(10, 20)]

    def handler(host):
        class Named(Quiet):
            def do_GET(self):
                self.answer(host.encode())

        return Named

    with virtual_net(namespace) as stack:
        servers = [http_server(stack, 4, handler(host), host) for host in hosts]
        for server in servers:
            server.__enter__()
        try:
            for host in hosts:
                assert curl(namespace, f"http://{host}/") == host.encode()
        finally:
            for server in servers:
                server.__exit__(None, None, None)


class Shout(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


class ShoutOnce(socketserver.DatagramRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.read().upper())


@both_families
@pytest.mark.parametrize("kind", [socketserver.TCPServer, socketserver.ThreadingTCPServer])
def test_netcat_talks_to_a_socketserver(namespace, family, kind):
    lines = "".join(f"line {n}\n" for n in range(10_000))
    with virtual_net(namespace) as stack:
        address = (HOST[family], 5000)
        listener = stack.create_server(address, family=KIND[family])
        with serving(kind(("127.0.0.1", 0), Shout, bind_and_activate=False), listener):
            netcat = [require_tool("nc.openbsd"), "-N", HOST[family], "5000"]
            for _ in range(3):
                assert namespace.run(netcat, input=lines).stdout == lines.upper()


@both_families
@pytest.mark.parametrize("kind", [socketserver.UDPServer, socketserver.ThreadingUDPServer])
def test_datagrams_to_a_socketserver(namespace, family, kind):
    with virtual_net(namespace) as stack:
        its_socket = stack.socket(KIND[family], pystack.SOCK_DGRAM)
        its_socket.bind((HOST[family], 5000))
        with (
            serving(kind(("127.0.0.1", 0), ShoutOnce, bind_and_activate=False), its_socket),
            datagrams(namespace, family, 5000) as client,
        ):
            client.settimeout(SECONDS)
            for n in range(100):
                client.send(f"datagram {n}".encode())
                assert client.recv(100) == f"DATAGRAM {n}".encode()


def test_netcat_talks_udp_to_a_socketserver(namespace):
    with virtual_net(namespace) as stack:
        its_socket = stack.socket(pystack.AF_INET, pystack.SOCK_DGRAM)
        its_socket.bind((HOST[4], 5000))
        server = socketserver.UDPServer(("127.0.0.1", 0), ShoutOnce, bind_and_activate=False)
        with serving(server, its_socket):
            netcat = [require_tool("nc.openbsd"), "-u", "-W", "1", HOST[4], "5000"]
            assert namespace.run(netcat, input="hello\n").stdout == "HELLO\n"
