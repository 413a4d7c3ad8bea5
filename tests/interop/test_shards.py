"""Shards on the queues of one interface: the kernel spreads flows, and keeps each where it is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from interop.virtual import (
    HOST,
    KIND,
    MB,
    NETS,
    SECONDS,
    Background,
    both_families,
    pattern,
    receive_all,
    sha256,
    wait_until,
)

import pystack

WORKERS = 4  # more than the machines have cores on which this is tested mostly
CONNECTIONS = 40
FAR = ("10.4.0.0/24", "fd04::/64")
NARROW = 1300  # bytes
IP_PMTUDISC_DONT = 0


@contextmanager
def virtual_shards(namespace) -> Iterator[pystack.Shards]:
    with pystack.Shards(*NETS, devices=namespace.tuns(WORKERS, *NETS)) as shards:
        yield shards
        wait_until(lambda: not any(stack._live_packets() for stack in shards))


@both_families
def test_flows_are_spread_and_stay_on_their_queue(namespace, family):
    with virtual_shards(namespace) as shards, ExitStack() as ending:
        shards.serve("echo", "tcp", 7)
        clients = [
            ending.enter_context(namespace.connect(HOST[family], 7, SECONDS))
            for _ in range(CONNECTIONS)
        ]
        for number in range(20):
            for client in clients:
                client.sendall(b"%d" % (number % 10))
            for client in clients:
                assert client.recv(1) == b"%d" % (number % 10)
        opened = [stack.counters()["tcp_connections_opened_passive"] for stack in shards]
        assert sum(opened) == shards.counters()["tcp_connections_opened_passive"] == CONNECTIONS
        assert sum(count > 0 for count in opened) > 1
        assert shards.counters()["packets_handed_on"] == 0


@contextmanager
def routed(namespace) -> Iterator[tuple[pystack.Shards, pystack.Stack]]:
    """Shards, and a stack elsewhere, with the namespace's kernel as the router between them."""
    for setting in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        namespace.run(["sysctl", "-q", "-w", f"{setting}=1"])
    far_device = namespace.tun(*FAR, name="pystack1")
    with virtual_shards(namespace) as near, pystack.Stack(*FAR, device=far_device) as far:
        yield near, far


def listen(shards: pystack.Shards, family: int, ending: ExitStack) -> list[socket.socket]:
    servers = [
        ending.enter_context(stack.create_server(("", 80), family=KIND[family])) for stack in shards
    ]
    for server in servers:
        server.settimeout(0)
    return servers


def accept(servers: list[socket.socket]) -> list[socket.socket]:
    """All that wait to be accepted."""
    accepted = []
    for server in servers:
        while True:
            try:
                accepted.append(server.accept()[0])
            except BlockingIOError:
                break
    return accepted


@both_families
def test_all_streams_survive_a_path_that_becomes_narrower(namespace, family):
    """The router's errors come by one queue, whosesoever the connections are."""
    with routed(namespace) as (near, far), ExitStack() as ending:
        servers = listen(near, family, ending)
        clients = [
            ending.enter_context(far.create_connection((HOST[family], 80), SECONDS))
            for _ in range(12)
        ]
        wait_until(lambda: opened(near) == len(clients))
        namespace.run(["ip", "link", "set", "pystack1", "mtu", str(NARROW)])
        data = pattern(MB // 2)
        readers = [ending.enter_context(Background(receive_all, client)) for client in clients]
        for server in accept(servers):
            server.settimeout(SECONDS)
            server.sendall(data)
            server.close()
        for reader in readers:
            reader.join(SECONDS)
            assert reader.result == sha256(data)
        counters = near.counters()
        assert counters["tcp_errors_delivered"] > 0
        assert counters["packets_handed_on"] > 0
        assert counters["tcp_resets_out"] == 0


def opened(shards: pystack.Shards) -> int:
    return shards.counters()["tcp_connections_opened_passive"]


def test_segments_in_fragments_reach_their_connections(namespace):
    """The router cuts what may be cut; whose the pieces are it does not see."""
    with routed(namespace) as (near, far), ExitStack() as ending:
        servers = listen(near, 4, ending)
        clients = []
        for _ in range(12):
            client = ending.enter_context(far.socket())
            client.setsockopt(socket.IPPROTO_IP, pystack.IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
            client.settimeout(SECONDS)
            client.connect((HOST[4], 80))
            clients.append(client)
        wait_until(lambda: opened(near) == len(clients))
        namespace.run(["ip", "link", "set", "pystack0", "mtu", str(NARROW)])
        data = pattern(MB // 10)
        for client in clients:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        # They stay open: once closed, they answer a segment that was sent twice with a RST.
        for server in map(ending.enter_context, accept(servers)):
            server.settimeout(SECONDS)
            assert receive_all(server) == sha256(data)
        counters = near.counters()
        assert counters["ip_reassembled"] > 100
        assert counters["packets_handed_on"] > 0
        assert counters["tcp_resets_out"] == 0
