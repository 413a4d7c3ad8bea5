"""Which ports are open: as connections find them, as nmap does, and under a flood of SYNs."""

from __future__ import annotations

import random
import re
import socket
import struct
import threading
from contextlib import ExitStack

import dpkt
import pytest
from interop.harness import require_tool
from interop.virtual import (
    HOST,
    KIND,
    SECONDS,
    Background,
    both_families,
    virtual_net,
    wait_until,
)

OPEN = [22, 80, 443, 1234, 8080]
FLOOD = 20_000  # SYNs


@both_families
def test_a_closed_port_refuses(namespace, family):
    with virtual_net(namespace) as stack:
        for port in (1, 80, 65535):
            with pytest.raises(ConnectionRefusedError):
                namespace.connect(HOST[family], port)
        assert stack.counters()["tcp_resets_out"] == 3


@both_families
def test_policy_says_which_ports_are_refused_or_silent(namespace, family):
    with virtual_net(namespace) as stack:
        stack.serve("echo", "tcp", 7)
        stack.serve("echo", "tcp", 8)
        stack.set_policy(HOST[family], "refuse", "tcp", 7)
        stack.set_policy(HOST[family], "drop", "tcp", 8)
        with pytest.raises(ConnectionRefusedError):
            namespace.connect(HOST[family], 7)
        with pytest.raises(TimeoutError):
            namespace.connect(HOST[family], 8, timeout=0.1)
        elsewhere = HOST[family].replace("5", "6")
        namespace.connect(elsewhere, 7).close()
        namespace.connect(elsewhere, 8).close()


def nmap(namespace, family, *options):
    """What nmap says of the virtual host: {port: state}, and the state of all others."""
    command = [require_tool("nmap"), "-n", "-Pn", "-oG", "-", "--max-retries", "3", *options]
    if family == 6:
        command.append("-6")
    said = namespace.run([*command, HOST[family]]).stdout
    ports = re.findall(r"(\d+)/(\w+[|\w]*)/(?:tcp|udp)/", said)
    others = re.search(r"Ignored State: (\S+)", said)
    return {int(port): state for port, state in ports}, others and others.group(1)


@both_families
@pytest.mark.parametrize("scan", ["-sT", "-sS"])
def test_nmap_finds_exactly_the_open_tcp_ports(namespace, family, scan):
    with virtual_net(namespace) as stack, ExitStack() as servers:
        for port in OPEN:
            address = (HOST[family], port)
            servers.enter_context(stack.create_server(address, family=KIND[family]))
        found = nmap(namespace, family, scan, "-p", "1-10000", "-T5")
        assert found == (dict.fromkeys(OPEN, "open"), "closed")
        wait_until(lambda: all(one.state == "LISTEN" for one in stack.connections()))


@both_families
def test_nmap_finds_exactly_the_open_udp_ports(namespace, family):
    """An open one answers; of a closed one an ICMP error tells, as often as we may send some."""
    with virtual_net(namespace) as stack:
        stack.serve("echo", "udp", 7)
        found = nmap(namespace, family, "-sU", "-p", "5-10")
        assert found[0] == {port: "open" if port == 7 else "closed" for port in range(5, 11)}


def test_nmap_finds_the_hosts_of_a_network(namespace):
    said_of = [require_tool("nmap"), "-n", "-sn", "-PE", "-T5", "-oG", "-", "10.3.0.0/26"]
    with virtual_net(namespace):
        said = namespace.run(said_of).stdout
    up = re.findall(r"Host: (\S+) \(\)\s+Status: Up", said)
    assert sorted(up, key=socket.inet_aton) == [f"10.3.0.{n}" for n in range(1, 64)]


# Floods


def syn(source: str, source_port: int, seq: int) -> bytes:
    """The first segment of a connection to the virtual host's port 80."""
    tcp = dpkt.tcp.TCP(sport=source_port, dport=80, seq=seq, flags=dpkt.tcp.TH_SYN, win=1000)
    tcp.opts = struct.pack("!BBH", 2, 4, 1460)
    tcp.off = 6
    packet = dpkt.ip.IP(
        src=socket.inet_aton(source), dst=socket.inet_aton(HOST[4]), p=6, ttl=64, data=tcp
    )
    packet.len = len(packet)
    return bytes(packet)


def flood(namespace, source: str, stop: threading.Event) -> int:
    """Send SYNs that nobody will complete, to the number or to the end."""
    luck = random.Random(4987)
    with namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for sent in range(FLOOD):
            if stop.is_set():
                return sent
            port, seq = luck.randrange(1024, 65536), luck.getrandbits(32)
            raw.sendto(syn(source, port, seq), (HOST[4], 0))
    return FLOOD


@pytest.mark.parametrize("source", ["198.51.100.7", "10.3.0.1"], ids=["silent", "resetting"])
def test_a_flood_of_syns_leaves_the_listener_alive(namespace, source):
    """RFC 4987: nobody at the spoofed address answers; or the kernel there sends a RST."""
    stop = threading.Event()
    with virtual_net(namespace) as stack, stack.create_server((HOST[4], 80), backlog=16) as server:
        server.settimeout(SECONDS)
        with Background(flood, namespace, source, stop) as flooding:
            for _ in range(50):
                talk(namespace, server)
            wait_until(lambda: not flooding.is_alive())
        assert flooding.result == FLOOD
        talk(namespace, server)
        counters = stack.counters()
        assert counters["tcp_connections_opened_passive"] == 51
        assert len(stack.connections()) < 1000
        if source != "10.3.0.1":
            assert counters["tcp_syn_cookies_sent"] > FLOOD // 2


def talk(namespace, server: socket.socket) -> None:
    """A client connects, and its bytes come back.

    It speaks first: a stack that answered with a cookie knows nothing of it if its ACK is lost.
    """
    with namespace.connect(HOST[4], 80, SECONDS) as client:
        client.sendall(b"hello")
        connection, peer = server.accept()
        with connection:
            assert peer == client.getsockname()
            connection.settimeout(SECONDS)
            assert connection.recv(5) == b"hello"
            connection.sendall(b"goodbye")
        assert client.recv(7, socket.MSG_WAITALL) == b"goodbye"
        assert client.recv(1) == b""
