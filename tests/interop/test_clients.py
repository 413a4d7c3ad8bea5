"""Sockets of the stack as clients of the kernel's servers."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from interop.harness import require_tool
from interop.virtual import (
    HOST,
    KERNEL,
    KIND,
    MB,
    SECONDS,
    Background,
    both_families,
    exchange,
    kernel_listener,
    pattern,
    sha256,
    virtual_net,
    wait_until,
)

import pystack

SIZE = 50 * MB
CLIENTS = 32
REPORT_ERRORS = {
    4: (pystack.IPPROTO_IP, pystack.IP_RECVERR),
    6: (pystack.IPPROTO_IPV6, pystack.IPV6_RECVERR),
}

NGINX = """
daemon off; master_process off; user root; pid {directory}/pid; error_log stderr;
events {{ worker_connections 512; }}
http {{
    access_log off; client_body_temp_path {directory}; proxy_temp_path {directory};
    fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
    server {{ listen 10.3.0.1:80; listen [fd03::1]:80; root {directory}; }}
}}
"""


@contextmanager
def nginx(namespace, directory):
    """The kernel's side serves a directory over HTTP."""
    file = directory / "nginx.conf"
    file.write_text(NGINX.format(directory=directory))
    command = [require_tool("nginx"), "-p", str(directory), "-c", str(file), "-e", "stderr"]
    process = namespace.popen(command, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            wait_until(lambda: process.poll() is not None or answers(namespace))
            assert process.poll() is None, process.stderr.read()
            yield
        finally:
            process.kill()


def answers(namespace):
    try:
        namespace.connect(KERNEL[4], 80).close()
    except ConnectionRefusedError:
        return False
    return True


class Connection(http.client.HTTPConnection):
    """The standard library's client; all that is the stack's is the socket."""

    def __init__(self, stack, address, **more):
        super().__init__(address, 80, timeout=SECONDS, **more)
        self._create_connection = stack.create_connection


def get(stack, address, path, **more):
    """The SHA-256 of what a server has at a path."""
    client = Connection(stack, address, **more)
    try:
        client.request("GET", path)
        answer = client.getresponse()
        assert answer.status == 200
        return sha256(answer.read())
    finally:
        client.close()


@both_families
@pytest.mark.parametrize("offloads", [True, False], ids=["offloads", "no-offloads"])
def test_a_download_of_50_mb_from_nginx(namespace, tmp_path, family, offloads):
    data = pattern(SIZE)
    (tmp_path / "file").write_bytes(data)
    with virtual_net(namespace, offloads=offloads) as stack, nginx(namespace, tmp_path):
        assert get(stack, KERNEL[family], "/file") == sha256(data)


def test_many_hosts_download_at_once(namespace, tmp_path):
    """Each from an address of its own."""
    data = pattern(MB)
    (tmp_path / "file").write_bytes(data)
    with virtual_net(namespace) as stack, nginx(namespace, tmp_path):

        def fetch(number):
            own = (f"10.3.0.{number}", 0) if number % 2 else (f"fd03::{number}", 0)
            to = KERNEL[4] if number % 2 else KERNEL[6]
            return get(stack, to, "/file", source_address=own)

        with ThreadPoolExecutor(CLIENTS) as pool:
            assert set(pool.map(fetch, range(100, 100 + CLIENTS))) == {sha256(data)}
        assert stack.counters()["tcp_connections_opened_active"] == CLIENTS


@both_families
def test_an_upload_and_a_download_at_once(namespace, family):
    data = pattern(20 * MB)
    with virtual_net(namespace) as stack, kernel_listener(namespace, family) as listener:
        address = (KERNEL[family], listener.getsockname()[1])
        with stack.create_connection(address, SECONDS) as client:
            server, peer = listener.accept()
            server.settimeout(SECONDS)
            with server, Background(exchange, server, data) as other:
                assert peer[:2] == client.getsockname()[:2]
                assert exchange(client, data) == sha256(data)
            assert other.result == sha256(data)


@both_families
def test_a_closed_port_of_the_kernel_refuses(namespace, family):
    with virtual_net(namespace) as stack:
        with pytest.raises(ConnectionRefusedError):
            stack.create_connection((KERNEL[family], 9), SECONDS)
        with stack.socket(KIND[family], socket.SOCK_DGRAM) as client:
            client.settimeout(SECONDS)
            client.connect((KERNEL[family], 9))
            client.send(b"hello")
            with pytest.raises(ConnectionRefusedError):
                client.recv(100)


def test_where_nothing_answers_connecting_times_out(namespace):
    """Beyond the kernel, which forwards nothing."""
    with virtual_net(namespace) as stack, pytest.raises(TimeoutError):
        stack.create_connection(("192.0.2.1", 80), 0.2)


@both_families
def test_an_unreachable_network_is_reported(namespace, family):
    """By the kernel, once it forwards but knows no way (RFC 1122 section 4.2.3.9: a hint only)."""
    forward = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
    for name in forward:
        namespace.run(["sh", "-c", f"echo 1 >/proc/sys/{name}"])
    beyond = "192.0.2.1" if family == 4 else "2001:db8::1"
    with virtual_net(namespace) as stack, stack.socket(KIND[family], socket.SOCK_DGRAM) as client:
        client.settimeout(SECONDS)
        client.setsockopt(*REPORT_ERRORS[family], 1)
        client.connect((beyond, 80))
        client.send(b"hello")
        with pytest.raises(OSError) as problem:
            client.recv(100)
    assert problem.value.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH)


@both_families
def test_datagrams_of_all_lengths_to_the_kernel_and_back(namespace, family):
    sizes = [0, 1, 1452, 1453, 1472, 1473, 9000, 65000, 65507]
    with virtual_net(namespace) as stack, namespace.socket(KIND[family], socket.SOCK_DGRAM) as echo:
        echo.settimeout(SECONDS)
        echo.bind((KERNEL[family], 0))
        with stack.socket(KIND[family], socket.SOCK_DGRAM) as client:
            client.settimeout(SECONDS)
            client.bind((HOST[family], 0))
            for size in sizes:
                data = os.urandom(size)
                client.sendto(data, echo.getsockname())
                received, sender = echo.recvfrom(65536)
                assert received == data
                assert sender[:2] == client.getsockname()[:2]
                echo.sendto(data, sender)
                assert client.recvfrom(65536)[0] == data
