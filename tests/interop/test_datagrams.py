"""UDP between the kernel's sockets and the stack, of every length."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest
from interop.virtual import (
    HOST,
    KERNEL,
    KIND,
    SECONDS,
    Background,
    both_families,
    datagrams,
    pattern,
    virtual_net,
)

LONGEST = 65507
IN_FLIGHT = 100_000  # bytes at once: what the kernel's receive buffer holds in any pieces
AT_ONCE = 32  # datagrams
MANY = 200


def echo_of_each(client: socket.socket, sizes: Sequence[int]) -> list[int]:
    """The sizes that did not come back as they were sent, of datagrams all different."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 212992)
    data = pattern(LONGEST + 251)
    wrong, at = [], 0
    while at < len(sizes):
        count = min(AT_ONCE, max(1, IN_FLIGHT // (sizes[at] + 1)))
        batch = [data[size % 251 : size % 251 + size] for size in sizes[at : at + count]]
        for datagram in batch:
            client.send(datagram)
        for datagram in batch:
            if client.recv(65536) != datagram:
                wrong.append(len(datagram))
        at += count
    return wrong


@both_families
def test_echo_of_every_length(namespace, family):
    sizes = range(LONGEST + 1)
    with virtual_net(namespace, mtu=65535) as stack, datagrams(namespace, family, 7) as client:
        stack.serve("echo", "udp", 7)
        assert echo_of_each(client, sizes) == []
        counters = stack.counters()
    assert counters["udp_datagrams_in"] == counters["udp_datagrams_out"] == len(sizes)


@both_families
@pytest.mark.parametrize("offloads", [True, False], ids=["offloads", "no-offloads"])
@pytest.mark.parametrize("mtu", [1280, 1500, 9000])
def test_echo_in_fragments(namespace, family, mtu, offloads):
    """All lengths around the first few fragments, some beyond, and the longest."""
    sizes = [*range(3 * mtu), *range(3 * mtu, LONGEST, 97), *range(LONGEST - 8, LONGEST + 1)]
    with (
        virtual_net(namespace, mtu=mtu, offloads=offloads) as stack,
        datagrams(namespace, family, 7) as client,
    ):
        stack.serve("echo", "udp", 7)
        assert echo_of_each(client, sizes) == []
        counters = stack.counters()
    fitting = mtu - (28 if family == 4 else 48)
    assert counters["udp_datagrams_in"] == counters["udp_datagrams_out"] == len(sizes)
    assert counters["ip_reassembled"] == sum(size > fitting for size in sizes)


@both_families
def test_a_python_socket_answers_from_the_address_that_was_asked(namespace, family):
    kind = KIND[family]
    with virtual_net(namespace) as stack, stack.socket(kind, socket.SOCK_DGRAM) as server:
        server.bind((HOST[family], 5000))
        server.settimeout(SECONDS)
        with Background(answer, server, MANY), datagrams(namespace, family, 5000) as client:
            assert echo_of_each(client, range(0, MANY * 30, 30)) == []


def answer(server: socket.socket, count: int) -> None:
    for _ in range(count):
        data, sender = server.recvfrom(65536)
        assert server.sendto(data, sender) == len(data)


@both_families
def test_trains_of_datagrams_both_ways(namespace, family):
    """UDP_SEGMENT of the kernel and of the stack: 40 datagrams in one call."""
    segment = (socket.IPPROTO_UDP, 103, (1000).to_bytes(2, "little"))
    data = pattern(39_500)
    pieces = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    with virtual_net(namespace) as stack, stack.socket(KIND[family], socket.SOCK_DGRAM) as server:
        server.bind((HOST[family], 5000))
        server.settimeout(SECONDS)
        with datagrams(namespace, family, 5000) as client:
            client.sendmsg([data], [segment])
            assert [server.recv(2000) for _ in pieces] == pieces
            server.sendmsg([data], [segment], 0, client.getsockname())
            assert [client.recv(2000) for _ in pieces] == pieces


@both_families
def test_a_closed_port_is_unreachable(namespace, family):
    with virtual_net(namespace), datagrams(namespace, family, 9) as client:
        client.send(b"hello")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)


@both_families
def test_a_port_that_is_closed_later_is_unreachable_then(namespace, family):
    with virtual_net(namespace) as stack, datagrams(namespace, family, 5000) as client:
        with stack.socket(KIND[family], socket.SOCK_DGRAM) as server:
            server.bind((HOST[family], 5000))
            server.settimeout(SECONDS)
            client.send(b"hello")
            assert server.recv(100) == b"hello"
        client.send(b"hello")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)


@both_families
def test_the_stacks_own_client_is_told_by_the_kernel(namespace, family):
    with virtual_net(namespace) as stack, stack.socket(KIND[family], socket.SOCK_DGRAM) as client:
        client.settimeout(SECONDS)
        client.connect((KERNEL[family], 9))
        client.send(b"hello")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)
