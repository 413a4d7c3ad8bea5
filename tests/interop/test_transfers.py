"""Large transfers between the kernel and the stack, whatever the device can and the MTU is."""

from __future__ import annotations

import hashlib
import os
import socket

import pytest
from interop.harness import require_tool
from interop.lossy import LossyDevice
from interop.virtual import (
    HOST,
    KIND,
    MB,
    NETS,
    SECONDS,
    Background,
    both_families,
    exchange,
    pattern,
    receive_all,
    send_all,
    sha256,
    virtual_net,
)

import pystack

LARGE = bool(os.environ.get("PYSTACK_LARGE"))  # what takes minutes, too
LOSSY_SIZE = (100 if LARGE else 3) * MB  # a sender that loses 5 % waits for a timeout now and then
FAMILIES = {576: [4], 1500: [4, 6], 9000: [6], 65535: [4]}  # by MTU; IPv6 needs 1280


@pytest.fixture(scope="module")
def data() -> bytes:
    return pattern(100 * MB)


@pytest.fixture(scope="module")
def whole(data) -> str:
    return sha256(data)


@both_families
def test_netcat_gets_100_mb_back_from_echo(namespace, tmp_path, data, whole, family):
    netcat = require_tool("nc.openbsd")
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(data)
    with (
        virtual_net(namespace) as stack,
        open(there, "rb") as stdin,
        open(back, "wb") as stdout,
    ):
        stack.serve("echo", "tcp", 7)
        namespace.run([netcat, "-N", HOST[family], "7"], stdin=stdin, stdout=stdout)
        counters = stack.counters()
    assert hashlib.sha256(back.read_bytes()).hexdigest() == whole
    assert counters["tcp_bytes_in"] == len(data)


@pytest.mark.parametrize("mtu", FAMILIES)
@pytest.mark.parametrize("offloads", [True, False], ids=["offloads", "no-offloads"])
def test_100_mb_are_echoed_at_every_mtu(namespace, data, whole, mtu, offloads):
    families = FAMILIES[mtu]
    with virtual_net(namespace, mtu=mtu, offloads=offloads) as stack:
        stack.serve("echo", "tcp", 7)
        for family in families:
            with namespace.connect(HOST[family], 7, SECONDS) as client:
                assert exchange(client, data) == whole
        counters = stack.counters()
    assert counters["tcp_bytes_in"] == len(families) * len(data)
    if offloads or 2 * mtu < 65535:  # of longer ones two fit together only if they are not full
        assert bool(counters["packets_joined"]) == (not offloads)
    assert not drops(counters)


@both_families
@pytest.mark.parametrize("offloads", ["", "csum", "csum,tso4", "csum,tso6", "csum,tso4,tso6"])
def test_what_the_kernel_does_not_offer_is_done_in_software(namespace, data, offloads, family):
    """Checksums and the cutting of trains, each on its own."""
    some = data[: 20 * MB]
    with virtual_net(namespace, offloads=offloads) as stack:
        stack.serve("echo", "tcp", 7)
        with namespace.connect(HOST[family], 7, SECONDS) as client:
            assert exchange(client, some) == sha256(some)
        counters = stack.counters()
    assert counters["trains_in"]
    assert counters["packets_joined"] or f"tso{family}" in offloads
    assert not counters["packets_joined"] or offloads != "csum,tso4,tso6"
    assert not drops(counters)


def drops(counters):
    """Names of the counters of what should never happen on a wire that loses no bit."""
    names = ("bad", "too_short", "no_memory", "out_of_memory", "reneged", "no_connection")
    return [key for key, value in counters.items() if value and any(n in key for n in names)]


@both_families
@pytest.mark.parametrize("offloads", [True, False], ids=["offloads", "no-offloads"])
class TestOneWay:
    """By sockets of the stack in Python, with the kernel at the other end."""

    def test_100_mb_to_the_kernel(self, namespace, data, whole, family, offloads):
        with virtual_net(namespace, offloads=offloads) as stack:
            with (
                stack.create_server((HOST[family], 5000), family=KIND[family]) as server,
                Background(send_to_first, server, data),
                namespace.connect(HOST[family], 5000, SECONDS) as client,
            ):
                assert receive_all(client) == whole
            assert not drops(stack.counters())

    def test_100_mb_from_the_kernel(self, namespace, data, whole, family, offloads):
        with virtual_net(namespace, offloads=offloads) as stack:
            with (
                stack.create_server((HOST[family], 5000), family=KIND[family]) as server,
                Background(receive_from_first, server) as receiver,
                namespace.connect(HOST[family], 5000, SECONDS) as client,
            ):
                send_all(client, data)
                assert client.recv(1) == b""  # it was all read
            assert receiver.result == whole
            assert stack.counters()["tcp_bytes_in"] == len(data)


def send_to_first(server: socket.socket, data: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        send_all(connection, data)
        assert connection.recv(1) == b""


def receive_from_first(server: socket.socket) -> str:
    connection, _ = server.accept()
    with connection:
        return receive_all(connection)


@both_families
class TestOverADeviceThatLosesFivePercent:
    """RFC 6675, 6298: what is lost, either data or what acknowledges it, is sent again."""

    @pytest.fixture
    def device(self, namespace):
        made = LossyDevice(namespace, loss=0.05, seed=5)
        yield made
        made.close_file()

    def test_from_the_kernel(self, namespace, device, data, whole, family):
        with (
            pystack.Stack(*NETS, device=device) as stack,
            stack.create_server((HOST[family], 5000), family=KIND[family]) as server,
            Background(receive_from_first, server) as receiver,
            namespace.connect(HOST[family], 5000, SECONDS) as client,
        ):
            send_all(client, data)
            assert client.recv(1) == b""
            counters = stack.counters()
        assert receiver.result == whole
        assert counters["tcp_out_of_order_in"] > 1000
        assert device.lost_on_purpose > 1000

    def test_to_the_kernel(self, namespace, device, data, family):
        some = data[:LOSSY_SIZE]
        with (
            pystack.Stack(*NETS, device=device) as stack,
            stack.create_server((HOST[family], 5000), family=KIND[family]) as server,
            Background(send_to_first, server, some),
            namespace.connect(HOST[family], 5000, SECONDS) as client,
        ):
            assert receive_all(client) == sha256(some)
            counters = stack.counters()
        assert counters["tcp_fast_retransmits"]
        assert device.lost_on_purpose > 100

    def test_both_ways_at_once(self, namespace, device, data, family):
        some = data[:LOSSY_SIZE]
        with pystack.Stack(*NETS, device=device) as stack:
            stack.serve("echo", "tcp", 7)
            with namespace.connect(HOST[family], 7, SECONDS) as client:
                assert exchange(client, some) == sha256(some)
            assert stack.counters()["tcp_retransmitted_segments"] > 10
