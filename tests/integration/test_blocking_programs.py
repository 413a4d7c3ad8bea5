"""Blocking servers and clients within pystack.patch."""

from __future__ import annotations

import hashlib
from functools import partial
from http.server import ThreadingHTTPServer

import pytest
from integration.asgi import uvicorn_with
from integration.conftest import PEM, big, big_sum, contexts, in_thread


def application(environ, start_response):
    """WSGI: GET is the file, POST answers with the sum of what came."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["REQUEST_METHOD"] == "GET":
        return big()
    found = hashlib.sha256()
    while piece := environ["wsgi.input"].read(65536):
        found.update(piece)
    return [found.hexdigest().encode()]


def exchange(client, url):
    """The file each way with requests, or what has its interface."""
    found = hashlib.sha256()
    with client.get(url, stream=True, timeout=20) as answer:
        for piece in answer.iter_content(1 << 18):
            found.update(piece)
    said = client.post(url, data=big(), timeout=60).text
    assert (found.hexdigest(), said) == (big_sum(), big_sum())


@pytest.mark.needs("requests", "uvicorn", "websockets", "httptools")
@pytest.mark.parametrize("tls", [False, True])
def test_requests_carries_a_file_each_way(wire, tls):
    import requests

    with wire.serving(uvicorn_with("httptools", tls)), wire.away(), requests.Session() as client:
        client.verify = str(PEM)
        exchange(client, f"http{'s' * tls}://server.test/big")


@pytest.mark.needs("urllib3", "uvicorn", "websockets", "httptools")
def test_urllib3_keeps_connections(wire):
    import urllib3

    with (
        wire.serving(uvicorn_with("httptools", tls=True)),
        wire.away(),
        urllib3.PoolManager(ssl_context=contexts()[1], timeout=20) as pool,
    ):
        for _ in range(3):
            assert pool.request("GET", "https://server.test/").data.startswith(b"https 10.1.0.5")
        assert pool.connection_from_url("https://server.test/").num_connections == 1


@pytest.mark.needs("httpx", "uvicorn", "websockets", "h11")
def test_httpx_asks(wire):
    import httpx

    with (
        wire.serving(uvicorn_with("h11", tls=True)),
        wire.away(),
        httpx.Client(verify=contexts()[1], timeout=20) as client,
    ):
        assert client.get("https://server.test/").text.startswith("https 10.1.0.5 10.2.0.")


@pytest.mark.needs("httpx", "uvicorn", "websockets", "h11")
def test_httpx_asks_on_an_event_loop(wire):
    async def client():
        import httpx

        async with httpx.AsyncClient(verify=contexts()[1], timeout=20) as client:
            return (await client.get("https://server.test/")).text

    with wire.serving(uvicorn_with("h11", tls=True)):
        assert wire.ask(client).startswith("https 10.1.0.5 10.2.0.")


@pytest.mark.needs("requests")
def test_http_server_serves_with_tls(wire, tmp_path):
    from functools import partial
    from http.server import SimpleHTTPRequestHandler

    import requests

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *what):
            pass

    (tmp_path / "page").write_bytes(b"page" * 100_000)
    with wire.near_patched():
        handler = partial(Quiet, directory=tmp_path)
        server = ThreadingHTTPServer(("10.1.0.5", 443), handler)
        server.socket = contexts()[0].wrap_socket(server.socket, server_side=True)
        with server, in_thread(server.serve_forever, server.shutdown), wire.away():
            answer = requests.get("https://server.test/page", verify=PEM, timeout=20)
            assert answer.content == b"page" * 100_000


@pytest.mark.needs("flask", "requests")
def test_flask_serves(wire):
    import flask
    import requests
    from werkzeug.serving import make_server

    app = flask.Flask("test")

    @app.route("/<name>")
    def hello(name):
        return f"hello {name} from {flask.request.remote_addr}"

    with wire.near_patched():
        server = make_server("10.1.0.5", 80, app, threaded=True)
        with in_thread(server.serve_forever, server.shutdown), wire.away():
            said = requests.get("http://server.test/world", timeout=20).text
        server.server_close()
    assert said.startswith("hello world from 10.2.0.")


@pytest.mark.needs("waitress", "requests")
def test_waitress_serves(wire):
    import requests
    from waitress.server import create_server

    with wire.near_patched():
        server = create_server(
            application, host="10.1.0.5", port=80, clear_untrusted_proxy_headers=True
        )
        # It is closed in its own thread: another one could take the file away that it waits for.
        end = partial(server.trigger.pull_trigger, server.close)
        with in_thread(server.run, end), wire.away(), requests.Session() as client:
            exchange(client, "http://server.test/big")
