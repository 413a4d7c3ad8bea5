"""`pystack ping` and `pystack nc`, with the kernel on the other end."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
from contextlib import contextmanager

import pytest
from interop.command import PYSTACK, SECONDS, interfaces, pystack, serving
from interop.harness import require_tool

HOST_ADDRESSES = ["10.3.0.1", "fd03::1"]


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@pytest.mark.parametrize("host", HOST_ADDRESSES)
class TestPing:
    def test_the_kernel_answers(self, namespace, host):
        done = pystack(namespace, "ping", "-c", "3", "-i", "0.01", host)
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        source = "fd03::5" if ":" in host else "10.3.0.5"
        assert lines[0] == f"PING {host} ({host}) from {source}: 56 data bytes"
        for sequence, line in enumerate(lines[1:4], 1):
            assert re.fullmatch(
                rf"64 bytes from {host}: icmp_seq={sequence} ttl=64 time=[\d.]+ ms", line
            )
        assert lines[5] == f"--- {host} ping statistics ---"
        assert lines[6].startswith("3 packets transmitted, 3 received, 0% packet loss, time ")
        assert lines[7].startswith("rtt min/avg/max/mdev = ")
        assert interfaces(namespace) == ["lo"]

    @pytest.mark.parametrize("size", [0, 1, 1452, 1453, 30000])
    def test_of_any_size(self, namespace, host, size):
        done = pystack(namespace, "ping", "-c", "1", "-s", str(size), host)
        assert done.returncode == 0
        assert f"{size + 8} bytes from {host}: icmp_seq=1" in done.stdout
        assert "wrong" not in done.stdout


def test_ping_from_an_address_and_a_network_of_ones_own(namespace):
    options = ["--net", "10.4.0.0/24", "--source", "10.4.0.77", "--tun", "wire"]
    done = pystack(namespace, "ping", "-c", "1", "10.4.0.1", *options)
    assert done.returncode == 0
    assert "from 10.4.0.77: " in done.stdout


def test_ping_that_nobody_answers_fails_and_says_why(namespace):
    done = pystack(namespace, "ping", "-c", "1", "-W", "0.1", "10.9.0.1")
    assert done.returncode == 1
    assert "1 packets transmitted, 0 received, 100% packet loss" in done.stdout
    assert done.stderr == (
        "pystack: 10.9.0.1 is not on this machine, which forwards no packets: "
        "sysctl net.ipv4.ip_forward=1\n"
    )


def test_ping_reaches_beyond_the_machine_where_it_forwards(namespace):
    namespace.run(["sysctl", "-q", "net.ipv4.ip_forward=1"])
    with serving(namespace, "--net", "10.4.0.0/24"):
        done = pystack(namespace, "ping", "-c", "1", "10.4.0.9")
        assert done.returncode == 0
        assert "64 bytes from 10.4.0.9: icmp_seq=1 ttl=63 " in done.stdout


def test_ping_ends_with_ctrl_c_and_sums_up(namespace):
    process = namespace.popen(
        [*PYSTACK, "ping", "10.3.0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        while "icmp_seq=1" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    assert " 0% packet loss" in out
    assert (process.returncode, err) == (0, "")
    assert interfaces(namespace) == ["lo"]


# nc


@contextmanager
def waiting(namespace, *arguments: str, stdin=subprocess.PIPE):
    """`pystack nc -l` that has begun to wait; its stdin and stdout are bytes."""
    process = namespace.popen(
        [*PYSTACK, "nc", "-v", "-l", *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            line = process.stderr.readline()
            assert line.startswith(b"pystack: waiting at "), line
            yield process
        finally:
            process.kill()


@contextmanager
def listener(namespace, host: str, kind: int = socket.SOCK_STREAM):
    """A kernel socket that waits, before the host has its address, for it has all."""
    with namespace.socket(family_of(host), kind) as made:
        made.settimeout(SECONDS)
        made.bind(("::" if ":" in host else "0.0.0.0", 0))
        if kind == socket.SOCK_STREAM:
            made.listen()
        yield made


@pytest.mark.parametrize("host", HOST_ADDRESSES)
class TestNcToTheKernel:
    def test_bytes_go_both_ways_and_the_end_is_half(self, namespace, host):
        with listener(namespace, host) as server:
            port = str(server.getsockname()[1])
            client = namespace.popen(
                [*PYSTACK, "nc", host, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            with client:
                client.stdin.write(b"question")
                client.stdin.close()
                accepted, peer = server.accept()
                with accepted:
                    assert peer[0] == ("fd03::5" if ":" in host else "10.3.0.5")
                    assert accepted.makefile("rb").read() == b"question"
                    accepted.sendall(b"answer")
                assert client.stdout.read() == b"answer"
                assert client.wait(SECONDS) == 0
        assert interfaces(namespace) == ["lo"]

    def test_udp_ends_when_nobody_answers_any_more(self, namespace, host):
        with listener(namespace, host, socket.SOCK_DGRAM) as server:
            port = str(server.getsockname()[1])
            client = namespace.popen(
                [*PYSTACK, "nc", "-u", host, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            with client:
                client.stdin.write(b"question")
                client.stdin.close()
                data, peer = server.recvfrom(100)
                assert data == b"question"
                server.sendto(b"answer", peer)
                assert client.stdout.read() == b"answer"
                assert client.wait(SECONDS) == 0

    @pytest.mark.parametrize("option", [[], ["-u"]])
    def test_a_closed_port_is_one_line(self, namespace, host, option):
        done = pystack(namespace, "nc", *option, host, "9", input="x")
        assert done.returncode == 1
        assert done.stderr == f"pystack: {host} port 9: connection refused\n"
        assert done.stdout == ""


def test_nc_carries_a_large_transfer_whole(namespace, tmp_path):
    sent = os.urandom(20_000_000)
    (tmp_path / "file").write_bytes(sent)
    with listener(namespace, "10.3.0.1") as server, open(tmp_path / "file", "rb") as file:
        port = str(server.getsockname()[1])
        client = namespace.popen(
            [*PYSTACK, "nc", "10.3.0.1", port], stdin=file, stdout=subprocess.DEVNULL
        )
        with client, server.accept()[0] as accepted:
            got = accepted.makefile("rb").read()
    assert hashlib.sha256(got).digest() == hashlib.sha256(sent).digest()
    assert client.returncode == 0


def test_nc_gives_up_after_a_time_without_a_connection(namespace):
    namespace.run(["sysctl", "-q", "net.ipv4.ip_forward=1"])
    namespace.run(["ip", "route", "add", "blackhole", "10.9.0.0/24"])
    namespace.run(["ip", "route", "add", "10.8.0.0/24", "dev", "lo"])
    done = pystack(namespace, "nc", "-w", "0.2", "10.8.0.1", "7")
    assert done.returncode == 1
    assert done.stderr.startswith("pystack: 10.8.0.1 port 7: ")
    assert done.stderr.count("\n") == 1


def test_nc_waits_at_a_virtual_address(namespace):
    with waiting(namespace, "10.3.0.5", "9000") as server:
        with namespace.connect("10.3.0.5", 9000) as client:
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert server.stdout.read(8) == b"question"
            server.stdin.write(b"answer")
            server.stdin.close()
            assert client.makefile("rb").read() == b"answer"
        assert server.wait(SECONDS) == 0


def test_nc_waits_for_datagrams(namespace):
    with (
        waiting(namespace, "-u", "-w", "5", "10.3.0.5", "9000") as server,
        namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        client.settimeout(SECONDS)
        client.connect(("10.3.0.5", 9000))
        client.send(b"question")
        assert server.stdout.read(8) == b"question"
        server.stdin.write(b"answer")
        server.stdin.flush()
        assert client.recv(100) == b"answer"


def test_the_kernels_nc_and_ours_understand_each_other(namespace):
    with waiting(namespace, "10.3.0.5", "9000", stdin=subprocess.DEVNULL) as server:
        namespace.run([require_tool("nc"), "-N", "10.3.0.5", "9000"], input="hello\n")
        assert server.communicate(timeout=SECONDS)[0] == b"hello\n"
        assert server.returncode == 0


def test_nc_ends_by_a_signal_without_a_word(namespace):
    with waiting(namespace, "10.3.0.5", "9000") as server:
        server.send_signal(signal.SIGTERM)
        assert server.communicate(timeout=SECONDS) == (b"", b"")
        assert server.returncode == 128 + signal.SIGTERM
    assert interfaces(namespace) == ["lo"]
