"""HTTP: a page that names the host that answered and shows the stack's counters.

The standard library's server on a virtual socket.
Called by: services, when it is first wanted.
RFCs: 9110, 9112, as far as http.server goes.
"""

from __future__ import annotations

import json
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from pystack import __version__
from pystack.services.server import VirtualServer, address_text

if TYPE_CHECKING:
    from pystack.stack import Stack

CHUNK = bytes(range(256)) * 1024
MAX_BYTES = 1 << 40

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{host}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 3em auto; max-width: 40em; padding: 0 1em }}
table {{ border-collapse: collapse }}
td {{ border-top: 1px solid #ccc; padding: .1em 1em .1em 0 }}
td + td {{ text-align: right; font-variant-numeric: tabular-nums }}
</style>
<h1>{host}</h1>
<p>This is pystack {version}: no machine has this address, one process answers for all of them.
You came from {peer}.</p>
<p><a href="/counters.json">/counters.json</a> is the table below for programs,
<a href="/bytes/1000000">/bytes/1000000</a> a million bytes.</p>
<table>
{rows}
</table>
</html>
"""


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD of /, /counters.json and /bytes/N."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = f"pystack/{__version__}"
    sys_version = ""
    timeout = 30  # of an idle connection

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/":
            self.reply("text/html; charset=utf-8", self.page().encode())
        elif path == "/counters.json":
            counters = json.dumps(self.counters(), indent=2) + "\n"
            self.reply("application/json", counters.encode())
        elif path.startswith("/bytes/"):
            self.reply_bytes(path.removeprefix("/bytes/"))
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    do_HEAD = do_GET

    def page(self) -> str:
        rows = (
            f"<tr><td>{name.replace('_', ' ')}<td>{value:,}"
            for name, value in self.counters().items()
            if value
        )
        return PAGE.format(
            host=escape(address_text(self.connection.getsockname())),
            peer=escape(address_text(self.client_address)),
            version=__version__,
            rows="\n".join(rows),
        )

    def counters(self) -> dict[str, int]:
        """Of the whole subnet."""
        stack = self.server.stack
        return (stack.shards or stack).counters()

    def reply(self, kind: str, body: bytes) -> None:
        self.head(kind, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def reply_bytes(self, number: str) -> None:
        """0, 1, ... 255, 0, 1, ...: as many as the path says."""
        if not (number.isascii() and number.isdigit() and int(number) <= MAX_BYTES):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        left = int(number)
        self.head("application/octet-stream", left)
        while left and self.command != "HEAD":
            piece = CHUNK if left >= len(CHUNK) else CHUNK[:left]
            self.wfile.write(piece)
            left -= len(piece)

    def head(self, kind: str, length: int) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing: the counters tell."""


class Server(VirtualServer, ThreadingHTTPServer):
    """The standard library's HTTP server at every address."""

    def __init__(self, stack: Stack, port: int) -> None:
        self.server_name, self.server_port = "pystack", port
        super().__init__(stack, port, Handler)


def start(stack: Stack, protocol: str, port: int) -> Server:
    return Server(stack, port)
