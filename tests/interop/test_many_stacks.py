"""Several stacks in one process, each on an interface of its own, with the kernel in between."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from interop.command import interfaces
from interop.virtual import NETS, SECONDS, Background, pattern, receive_all

import pystack

BODY = pattern(300_000)


def test_each_stack_reaches_every_other(namespace):
    """Through the kernel, which forwards; an interface goes when its stack does."""
    nets = [f"10.{n}.0.0/24" for n in range(3, 9)]
    namespace.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
    with ExitStack() as running:
        stacks = [
            running.enter_context(pystack.Stack(net, device=namespace.tun(net, name=f"wire{n}")))
            for n, net in enumerate(nets)
        ]
        for n, stack in enumerate(stacks):
            server = running.enter_context(stack.create_server((f"10.{n + 3}.0.5", 80)))
            for m, other in enumerate(stacks):
                own = f"10.{m + 3}.0.77"
                with other.create_connection((f"10.{n + 3}.0.5", 80), SECONDS, (own, 0)) as client:
                    connection, peer = server.accept()
                    with connection, Background(connection.sendall, BODY):
                        assert peer[0] == own
                        assert client.recv(len(BODY), socket.MSG_WAITALL) == BODY
        assert interfaces(namespace) == ["lo", *(f"wire{n}" for n in range(len(nets)))]
        stacks[2].close()
        assert "wire2" not in interfaces(namespace)
        with namespace.connect("10.4.0.5", 80, SECONDS):
            pass
    assert interfaces(namespace) == ["lo"]


def test_stacks_of_one_family_beside_one_of_both(namespace):
    with (
        pystack.Stack("10.3.0.0/24", "fd03::/64", device=namespace.tun(*NETS)) as one,
        pystack.Stack("10.4.0.0/24", device=namespace.tun("10.4.0.0/24", name="four")) as four,
        pystack.Stack("fd06::/64", device=namespace.tun("fd06::/64", name="six")) as six,
    ):
        hosts = {"10.3.0.5": one, "fd03::5": one, "10.4.0.5": four, "fd06::5": six}
        for stack in (one, four, six):
            stack.serve("echo", "tcp", 7)
        with ExitStack() as clients:
            open_to = {
                host: clients.enter_context(namespace.connect(host, 7, SECONDS)) for host in hosts
            }
            for host, client in open_to.items():
                client.sendall(host.encode())
                client.shutdown(socket.SHUT_WR)
            digests = {host: receive_all(client) for host, client in open_to.items()}
        assert len(set(digests.values())) == len(hosts)
        for stack in (one, four, six):
            expected = sum(owner is stack for owner in hosts.values())
            assert stack.counters()["tcp_connections_opened_passive"] == expected
