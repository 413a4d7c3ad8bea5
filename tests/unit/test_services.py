"""The services that stand on the public sockets, between two stacks joined in memory."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from contextlib import ExitStack
from socketserver import BaseRequestHandler

import pytest

from pystack import PipeDevice, Stack
from pystack.services import SERVICES, default_services, start
from pystack.services.server import VirtualServer

HOSTS = ["10.2.0.77", "fd02::77"]
WAIT = 10


@pytest.fixture
def stacks():
    """A client and a server; whatever services start must be gone before they are."""
    before = set(threading.enumerate())
    near, far = PipeDevice.pair()
    with (
        Stack("10.1.0.0/24", "fd01::/64", device=near) as client,
        Stack("10.2.0.0/24", "fd02::/64", device=far) as server,
    ):
        yield client, server
    left = {thread for thread in set(threading.enumerate()) - before if thread.is_alive()}
    for thread in left:  # handlers of connections that have just ended
        thread.join(WAIT)
    assert not {thread for thread in left if thread.is_alive()}


@pytest.fixture
def serve(stacks):
    """Starts a service that ends with the test."""
    with ExitStack() as ending:

        def begin(name: str, protocol: str, port: int) -> None:
            running = start(stacks[1], name, protocol, port)
            if running is not None:
                ending.callback(running.close)

        yield begin


@pytest.fixture
def connect(stacks):
    with ExitStack() as ending:

        def connect(host: str, port: int) -> socket.socket:
            return ending.enter_context(stacks[0].create_connection((host, port), timeout=WAIT))

        yield connect


@pytest.fixture
def ask(stacks, serve):
    """Asks the page's server; (status, headers, body)."""
    serve("http", "tcp", 80)

    def ask(host: str, path: str, method: str = "GET"):
        connection = http.client.HTTPConnection(host, 80, timeout=WAIT)
        connection._create_connection = lambda address, *_: stacks[0].create_connection(
            address, timeout=WAIT
        )
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    return ask


def test_every_service_has_a_port_by_default():
    assert {name for _, _, name in default_services()} == set(SERVICES)


@pytest.mark.parametrize("host", HOSTS)
class TestHttp:
    def test_the_page_names_host_and_client(self, ask, host):
        status, headers, body = ask(host, "/?x=1")
        assert status == 200
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert f"<h1>{host}</h1>" in body.decode()
        client = "fd01::" if ":" in host else "10.1.0."
        assert f"You came from {client}" in body.decode()

    def test_counters_are_there_for_programs(self, stacks, ask, host):
        status, headers, body = ask(host, "/counters.json")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert json.loads(body).keys() == stacks[1].counters().keys()
        assert json.loads(body)["tcp_connections_opened_passive"] == 1

    @pytest.mark.parametrize("number", [0, 1, 262144, 600000])
    def test_bytes_as_many_as_asked_for(self, ask, host, number):
        status, headers, body = ask(host, f"/bytes/{number}")
        assert (status, headers["Content-Length"]) == (200, str(number))
        assert body == (bytes(range(256)) * (number // 256 + 1))[:number]


@pytest.mark.parametrize("path", ["/x", "/bytes/", "/bytes/-1", "/bytes/9" + 30 * "9"])
def test_other_paths_are_not_found(ask, path):
    status, _, _ = ask("10.2.0.1", path)
    assert status == 404


@pytest.mark.parametrize("path", ["/", "/counters.json", "/bytes/1000"])
def test_head_is_get_without_the_body(ask, path):
    status, headers, body = ask("10.2.0.1", path, "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


def test_other_methods_are_refused(ask):
    assert ask("10.2.0.1", "/", "DELETE")[0] == 501


def test_a_client_that_goes_away_disturbs_nobody(ask, connect):
    rude = connect("10.2.0.1", 80)
    rude.sendall(b"GET /bytes/100000000 HTTP/1.1\r\n\r\n")
    assert rude.recv(1)
    rude.close()
    assert ask("10.2.0.1", "/")[0] == 200


@pytest.mark.parametrize("host", HOSTS)
class TestDaytime:
    LINE = rb"[A-Z]\w+, [A-Z]\w+ \d\d, \d{4} \d\d:\d\d:\d\d-\w+\r\n"

    def test_over_tcp_a_line_and_the_end(self, serve, connect, host):
        serve("daytime", "tcp", 13)
        client = connect(host, 13)
        with client.makefile("rb") as file:
            assert re.fullmatch(self.LINE, file.read())

    def test_over_tcp_what_the_client_says_does_not_matter(self, serve, connect, host):
        serve("daytime", "tcp", 13)
        client = connect(host, 13)
        client.sendall(b"x" * 100_000)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as file:
            assert re.fullmatch(self.LINE, file.read())

    def test_over_udp_the_answer_comes_from_where_it_was_asked(self, stacks, serve, host):
        serve("daytime", "udp", 13)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with stacks[0].socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(WAIT)
            for data in (b"", b"what time is it"):
                client.sendto(data, (host, 13))
                line, sender = client.recvfrom(100)
                assert re.fullmatch(self.LINE, line)
                assert sender[:2] == (host, 13)


@pytest.mark.parametrize("name", ["echo", "discard", "chargen"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_native_services_answer_by_themselves(stacks, serve, connect, name, protocol):
    threads = threading.active_count()
    serve(name, protocol, SERVICES[name].port)
    assert threading.active_count() == threads
    if protocol == "tcp" and name == "echo":
        client = connect("10.2.0.9", 7)
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"


def test_more_connections_than_threads_wait_for_their_turn(serve, connect, monkeypatch):
    monkeypatch.setattr(VirtualServer, "at_once", 2)
    serve("daytime", "tcp", 13)
    first, second, third = (connect("10.2.0.9", 13) for _ in range(3))
    for client in first, second:
        assert client.recv(100).endswith(b"\r\n")  # and lingers, as long as we are there
    third.settimeout(0.2)
    with pytest.raises(TimeoutError):
        third.recv(100)
    first.close()
    third.settimeout(WAIT)
    assert third.recv(100).endswith(b"\r\n")


def test_a_server_that_is_busy_closes_at_once(stacks, connect, monkeypatch):
    monkeypatch.setattr(VirtualServer, "at_once", 1)
    running = start(stacks[1], "http", "tcp", 80)
    clients = [connect("10.2.0.9", 80) for _ in range(3)]
    began = time.monotonic()
    running.close()
    assert time.monotonic() - began < WAIT / 2
    clients.clear()


def test_a_port_that_is_taken_is_the_callers_fault(serve):
    serve("http", "tcp", 80)
    with pytest.raises(OSError, match="in use"):
        serve("daytime", "tcp", 80)


def test_a_handler_that_raises_costs_its_connection_only_and_close_ends(stacks, connect):
    class Faulty(BaseRequestHandler):
        def handle(self) -> None:
            if self.request.recv(1) == b"!":
                raise RuntimeError("a fault of the handler")
            self.request.sendall(b"well")

    server = VirtualServer(stacks[1], 99, Faulty)
    try:
        for _ in range(3):
            faulty, good = connect(HOSTS[0], 99), connect(HOSTS[0], 99)
            faulty.sendall(b"!")
            assert faulty.recv(1) == b""
            good.sendall(b"?")
            assert good.recv(4) == b"well"
    finally:
        server.close()
    assert not server.thread.is_alive()
