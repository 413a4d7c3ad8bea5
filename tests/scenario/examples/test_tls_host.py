"""HTTPS on a virtual host."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from pystack import PipeDevice, Stack

EXAMPLE = "tls_host"
PEM = Path(__file__).parents[1] / "aio/server.pem"


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"over " + self.connection.version().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def test_https_is_served_beside_a_client_that_says_nothing(example):
    near, far = PipeDevice.pair()
    with (
        Stack("10.1.0.0/24", device=near) as stack,
        Stack("10.2.0.0/24", device=far) as visitor,
        example.Server(stack, ("10.1.0.5", 443), example.context_from(PEM), Page) as server,
    ):
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        silent = visitor.create_connection(("10.1.0.5", 443))
        for _ in range(2):
            client = http.client.HTTPSConnection(
                "10.1.0.5", timeout=20, context=ssl.create_default_context(cafile=PEM)
            )
            client._create_connection = visitor.create_connection
            client.request("GET", "/")
            assert client.getresponse().read() == b"over TLSv1.3"
            client.close()
        silent.shutdown(socket.SHUT_RDWR)
        silent.close()
        server.shutdown()
        thread.join()
