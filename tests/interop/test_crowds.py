"""Many connections: downloads side by side, ten thousand opened and closed, and nothing left."""

from __future__ import annotations

import gc
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from interop.virtual import HOST, NETS, pattern, python, sha256, virtual_net, wait_until

import pystack

DOWNLOADS = 200
BODY = pattern(300_000)
CONNECTIONS = 10_000

# Asks for the same page DOWNLOADS times at once; prints how many bodies had the sum.
DOWNLOADER = """
import asyncio, hashlib, sys
host, count, expected = sys.argv[1], int(sys.argv[2]), sys.argv[3]
async def one():
    reader, writer = await asyncio.open_connection(host, 80)
    writer.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
    answer = await reader.read()
    writer.close()
    return hashlib.sha256(answer.partition(b"\\r\\n\\r\\n")[2]).hexdigest() == expected
async def main():
    print(sum(await asyncio.gather(*(one() for _ in range(count)))))
asyncio.run(main())
"""

# Opens and closes connections, 50 side by side; whose turn it is to close first alternates.
OPENER = """
import asyncio, sys
host, count = sys.argv[1], int(sys.argv[2])
async def some(number):
    for i in range(number):
        reader, writer = await asyncio.open_connection(host, 7)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        if i % 2:
            writer.write_eof()
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
async def main():
    await asyncio.gather(*(some(count // 50) for _ in range(50)))
asyncio.run(main())
"""


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = DOWNLOADS


def test_200_downloads_at_once_from_the_standard_librarys_server(namespace):
    with virtual_net(namespace) as stack:
        server = Server((HOST[4], 80), Page, bind_and_activate=False)
        server.socket.close()
        server.socket = stack.socket()
        server.server_bind()
        server.server_activate()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            command = python(DOWNLOADER, HOST[4], str(DOWNLOADS), sha256(BODY))
            assert namespace.run(command).stdout.strip() == str(DOWNLOADS)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.mark.parametrize("family", [4, 6], ids=["v4", "v6"])
def test_10000_connections_are_opened_and_closed(namespace, family):
    with virtual_net(namespace) as stack:
        stack.serve("echo", "tcp", 7)
        namespace.run(python(OPENER, HOST[family], str(CONNECTIONS)), timeout=120)
        counters = stack.counters()
        assert counters["tcp_connections_opened_passive"] == CONNECTIONS
        wait_until(lambda: not [c for c in stack.connections(10**6) if c.state != "TIME-WAIT"])
    assert stack.counters()["tcp_drop_no_memory"] == 0


def usage() -> dict[str, object]:
    gc.collect()
    with open("/proc/self/statm") as statm:
        resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "threads": len(os.listdir("/proc/self/task")),
        "fds": sorted(os.listdir("/proc/self/fd")),
        "resident": resident,
    }


def test_nothing_is_left_after_close(namespace):
    def life() -> None:
        device = namespace.tun(*NETS)
        with pystack.Stack(*NETS, device=device) as stack:
            stack.serve("echo", "tcp", 7)
            server = stack.create_server((HOST[4], 80))
            with namespace.connect(HOST[4], 80) as one, namespace.connect(HOST[4], 7) as other:
                connection, _ = server.accept()
                connection.sendall(BODY)
                other.sendall(b"x" * 1000)
                assert one.recv(1000)
                assert other.recv(10)
        assert stack._live_packets() == 0
        assert json.dumps(stack.counters())

    for _ in range(3):
        life()
    before = usage()
    for _ in range(20):
        life()
    after = usage()
    assert after["threads"] == before["threads"]
    assert after["fds"] == before["fds"]
    # The allocator's own slack; 20 lives that leaked one receive buffer each would show.
    assert int(after["resident"]) - int(before["resident"]) < 4 << 20
