"""A path that becomes narrower midway: the router says so, the stream goes on in smaller pieces."""

from __future__ import annotations

import errno
import socket

import pytest
from interop.virtual import (
    KIND,
    MB,
    Background,
    both_families,
    pattern,
    receive_all,
    sha256,
    wait_until,
)

import pystack

NEAR = ("10.3.0.0/24", "fd03::/64")
FAR = ("10.4.0.0/24", "fd04::/64")
NEAR_HOST = {4: "10.3.0.5", 6: "fd03::5"}
FAR_HOST = {4: "10.4.0.5", 6: "fd04::5"}
NARROW = 1300  # bytes; IPv6 allows 1280 and more
DATA = pattern(4 * MB)


def narrow(namespace) -> None:
    """From now on the kernel, which routes, does not get larger packets onto the far interface."""
    namespace.run(["ip", "link", "set", "pystack1", "mtu", str(NARROW)])


@pytest.fixture
def ends(namespace):
    """Two stacks, each on an interface of its own, with the namespace's kernel as their router."""
    for setting in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        namespace.run(["sysctl", "-q", "-w", f"{setting}=1"])
    with (
        pystack.Stack(*NEAR, device=namespace.tun(*NEAR)) as near,
        pystack.Stack(*FAR, device=namespace.tun(*FAR, name="pystack1")) as far,
    ):
        yield near, far


@both_families
def test_a_stream_survives_a_path_that_becomes_narrower(namespace, ends, family):
    near, far = ends
    with (
        far.create_server((FAR_HOST[family], 80), family=KIND[family]) as server,
        near.create_connection((FAR_HOST[family], 80)) as client,
    ):
        connection, _ = server.accept()
        with connection, Background(receive_all, connection) as reader:
            client.sendall(DATA[:MB])
            narrow(namespace)
            client.sendall(DATA[MB:])
            client.shutdown(socket.SHUT_WR)
            reader.join(30)
            assert reader.result == sha256(DATA)
    assert near.counters()["ip_path_mtu_lowered"] >= 1
    assert near.counters()["tcp_errors_delivered"] >= 1


@both_families
def test_datagrams_are_cut_to_the_path(namespace, ends, family):
    near, far = ends
    far.serve("echo", "udp", 7)
    narrow(namespace)
    with near.socket(KIND[family], socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((FAR_HOST[family], 7))
        client.send(DATA[:1400])
        wait_until(lambda: near.counters()["ip_path_mtu_lowered"])
        # As Linux: who is connected hears once that a datagram was lost.
        with pytest.raises(OSError) as caught:
            client.send(DATA[:1400])
        assert caught.value.errno == errno.EMSGSIZE
        client.send(DATA[:1400])
        assert client.recv(2000) == DATA[:1400]
    assert near.counters()["ip_fragments_out"] >= 2
