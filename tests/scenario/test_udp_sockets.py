"""Claims about binding, connecting and closing of datagram sockets."""

from __future__ import annotations

import errno
from itertools import pairwise, permutations

import pytest
from scenario.udp_wire import (
    FAMILIES,
    IPV4,
    IPV6,
    family_name,
    parse,
    refused,
    running_host,
    udp_packet,
)


@pytest.fixture
def host():
    with running_host() as host:
        yield host


@pytest.fixture(params=FAMILIES, ids=family_name)
def family(request):
    return request.param


def bound(host, family, address, port=0, **options):
    socket = host.socket(v6=family.v6).set(**options)
    socket.bind(address, port)
    return socket


def test_one_address_and_port_belong_to_one_socket(host, family):
    bound(host, family, family.ours, 53)
    with refused(errno.EADDRINUSE):
        bound(host, family, family.ours, 53)
    bound(host, family, family.ours, 54)
    bound(host, family, family.second, 53)


def test_a_wildcard_conflicts_with_every_address_and_the_other_way_round(host, family):
    bound(host, family, family.any, 53)
    with refused(errno.EADDRINUSE):
        bound(host, family, family.ours, 53)
    with refused(errno.EADDRINUSE):
        bound(host, family, family.any, 53)
    bound(host, family, family.ours, 54)
    with refused(errno.EADDRINUSE):
        bound(host, family, family.any, 54)


def test_the_ipv6_wildcard_takes_the_port_in_ipv4_too(host):
    """RFC 3493 section 5.3."""
    bound(host, IPV6, "::", 53)
    with refused(errno.EADDRINUSE):
        bound(host, IPV4, IPV4.ours, 53)
    with refused(errno.EADDRINUSE):
        bound(host, IPV4, "0.0.0.0", 53)
    bound(host, IPV4, IPV4.ours, 54)
    with refused(errno.EADDRINUSE):
        bound(host, IPV6, "::", 54)


def test_an_ipv6_only_wildcard_leaves_ipv4_alone(host):
    """RFC 3493 section 5.3."""
    bound(host, IPV6, "::", 53, v6only=True)
    bound(host, IPV4, "0.0.0.0", 53)
    bound(host, IPV4, IPV4.ours, 54)
    bound(host, IPV6, "::", 54, v6only=True)
    with refused(errno.EADDRINUSE):
        bound(host, IPV6, "::", 54)


def test_a_mapped_address_is_the_ipv4_address(host):
    """RFC 3493 section 3.7."""
    bound(host, IPV6, "::ffff:10.3.0.1", 53)
    with refused(errno.EADDRINUSE):
        bound(host, IPV4, "10.3.0.1", 53)


def test_sockets_share_a_port_if_all_of_them_ask_for_it(host, family):
    bound(host, family, family.ours, 53, reuse_address=True)
    with refused(errno.EADDRINUSE):
        bound(host, family, family.ours, 53)
    bound(host, family, family.ours, 53, reuse_address=True)
    bound(host, family, family.any, 53, reuse_address=True)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_of_sockets_that_share_all_the_newest_receives(host, order):
    sockets = {i: bound(host, IPV4, IPV4.ours, 53, reuse_address=True) for i in range(3)}
    for gone in order:
        host.receive(udp_packet(IPV4.peer, 9, IPV4.ours, 53, b"?"))
        newest = max(sockets)
        assert sockets[newest].recv().data == b"?"
        assert all(socket.recv() is None for socket in sockets.values())
        sockets.pop(gone).close()
    bound(host, IPV4, IPV4.any, 53)


@pytest.mark.parametrize("address", ["10.9.0.1", "127.0.0.1"])
def test_only_our_own_addresses_can_be_bound(host, address):
    with refused(errno.EADDRNOTAVAIL):
        bound(host, IPV4, address, 53)
    with refused(errno.EADDRNOTAVAIL):
        bound(host, IPV6, f"::ffff:{address}", 53)


def test_the_address_of_somebody_else_in_our_network_can_not_be_bound(host):
    host.exclude("10.3.0.1")
    with refused(errno.EADDRNOTAVAIL):
        bound(host, IPV4, "10.3.0.1", 53)


def test_a_socket_is_bound_once(host, family):
    socket = bound(host, family, family.ours, 53)
    with refused(errno.EINVAL):
        socket.bind(family.ours, 54)
    sender = host.socket(v6=family.v6)
    sender.send(b"!", (family.peer, 9))
    with refused(errno.EINVAL):
        sender.bind(family.ours, 54)


def test_a_socket_keeps_to_its_family(host):
    """RFC 3493 section 5.3; the errors are those that Linux 6.18 gives."""
    with refused(errno.EAFNOSUPPORT):
        host.socket().bind(IPV6.ours)
    with refused(errno.EAFNOSUPPORT):
        host.socket().connect(IPV6.peer, 9)
    only = host.socket(v6=True).set(v6only=True)
    with refused(errno.EINVAL):
        only.bind(f"::ffff:{IPV4.ours}")
    with refused(errno.ENETUNREACH):
        only.connect(f"::ffff:{IPV4.peer}", 9)
    with refused(errno.ENETUNREACH):
        only.send(b"!", (IPV4.peer, 9))
    with refused(errno.EAFNOSUPPORT):
        bound(host, IPV6, f"::ffff:{IPV4.ours}").connect(IPV6.peer, 9)
    with refused(errno.ENETUNREACH):
        bound(host, IPV6, IPV6.ours).connect(f"::ffff:{IPV4.peer}", 9)


def test_port_0_binds_to_a_free_ephemeral_port(host, family):
    ports = [bound(host, family, family.ours).name[1] for _ in range(500)]
    assert len(set(ports)) == 500
    assert all(32768 <= port <= 60999 for port in ports)
    bound(host, family, family.second, ports[0])


def test_ephemeral_ports_are_not_to_be_guessed_but_repeat_with_the_seed():
    """RFC 6056 section 3.1."""

    def ports(seed):
        with running_host(seed=seed) as host:
            return [bound(host, IPV4, IPV4.ours).name[1] for _ in range(4)]

    runs = [ports(seed) for seed in range(8)]
    assert runs == [ports(seed) for seed in range(8)]
    assert len({run[0] for run in runs}) == 8
    steps = {b - a for run in runs for a, b in pairwise(run)}
    assert len(steps) > 16


def test_ephemeral_ports_run_out_one_address_at_a_time(host):
    for port in set(range(32768, 61000)) - {50000}:
        bound(host, IPV4, IPV4.ours, port, reuse_address=True)
    assert bound(host, IPV4, IPV4.ours, reuse_address=True).name[1] == 50000
    with refused(errno.EADDRINUSE):
        bound(host, IPV4, IPV4.ours, reuse_address=True)
    with refused(errno.EADDRINUSE):
        bound(host, IPV6, "::")
    with refused(errno.EAGAIN):
        host.socket().send(b"!", (IPV4.peer, 9))
    bound(host, IPV4, IPV4.second)
    bound(host, IPV6, IPV6.ours)


def test_connect_chooses_the_source_and_a_port(host, family):
    """RFC 1122 section 4.1.4."""
    socket = host.socket(v6=family.v6)
    socket.connect(family.peer, 53)
    assert socket.name[0] in (family.ours, family.far)
    assert 32768 <= socket.name[1] <= 60999
    assert socket.peer == (family.peer, 53)
    socket.send(b"!")
    [packet] = map(parse, host.transmit())
    assert (packet.source, packet.port) == socket.name
    assert (packet.destination, packet.destination_port) == socket.peer


def test_connect_keeps_what_bind_has_set(host, family):
    socket = bound(host, family, family.third, 5000)
    socket.connect(family.peer, 53)
    assert socket.name == (family.third, 5000)


def test_a_connected_socket_can_be_connected_elsewhere(host, family):
    socket = host.socket(v6=family.v6)
    socket.connect(family.peer, 53)
    port = socket.name[1]
    socket.connect(family.stranger, 54)
    assert socket.peer == (family.stranger, 54)
    assert socket.name[1] == port
    host.receive(udp_packet(family.peer, 53, *socket.name, b"late"))
    host.receive(udp_packet(family.stranger, 54, *socket.name, b"new"))
    assert socket.recv().data == b"new"
    assert socket.recv() is None


def test_an_ipv6_socket_connects_to_either_family(host):
    """RFC 3493 section 3.7."""
    socket = host.socket(v6=True)
    socket.connect(f"::ffff:{IPV4.peer}", 53)
    assert socket.name[0] in (IPV4.ours, IPV4.far)
    socket.connect(IPV6.peer, 53)
    assert socket.name[0] in (IPV6.ours, IPV6.far)
    socket.send(b"!")
    assert [parse(packet).destination for packet in host.transmit()] == [IPV6.peer]


def test_disconnect_returns_to_what_bind_has_set(host, family):
    socket = bound(host, family, family.any, 5000)
    socket.connect(family.peer, 53)
    socket.disconnect()
    assert socket.peer is None
    assert socket.name == (family.any, 5000)
    host.receive(udp_packet(family.stranger, 9, family.second, 5000, b"anybody"))
    assert socket.recv().data == b"anybody"
    with refused(errno.EDESTADDRREQ):
        socket.send(b"!")


def test_disconnect_gives_a_port_back_that_nobody_asked_for(host, family):
    socket = host.socket(v6=family.v6)
    socket.connect(family.peer, 53)
    port = socket.name[1]
    socket.disconnect()
    assert socket.name == (family.any, 0)
    bound(host, family, family.any, port)
    socket.bind(family.ours, 5000)
    assert socket.name == (family.ours, 5000)


def test_disconnecting_an_unconnected_socket_is_fine(host, family):
    socket = bound(host, family, family.ours, 5000)
    socket.disconnect()
    assert socket.name == (family.ours, 5000)


def test_the_unspecified_address_means_the_socket_s_own_host(host, family):
    socket = bound(host, family, family.second, 5000)
    socket.connect(family.any, 5000)
    assert socket.peer == (family.second, 5000)
    socket.send(b"to myself")
    assert socket.recv().data == b"to myself"
    assert host.transmit() == []


def test_broadcast_needs_permission(host):
    """SO_BROADCAST, as in Linux."""
    for address in ("255.255.255.255", "10.3.0.255"):
        with refused(errno.EACCES):
            host.socket().connect(address, 9)
        with refused(errno.EACCES):
            host.socket().send(b"!", (address, 9))
    host.socket().set(broadcast=True).connect("255.255.255.255", 9)


def test_a_service_of_the_stack_is_in_nobody_s_way(host, family):
    service = host.socket(v6=True).set(service=1)
    service.bind("::", 7)
    program = bound(host, family, family.ours, 7)
    host.receive(udp_packet(family.peer, 9, family.ours, 7, b"to the program"))
    host.receive(udp_packet(family.peer, 9, family.second, 7, b"to the service"))
    assert program.recv().data == b"to the program"
    assert service.recv().data == b"to the service"
    assert [socket for socket, _ in host.ready()] == [program]
    with refused(errno.EADDRINUSE):
        host.socket(v6=True).set(service=2).bind("::", 7)


def test_close_gives_port_and_packets_back(host, family):
    socket = bound(host, family, family.ours, 53)
    for i in range(3):
        host.receive(udp_packet(family.peer, 9, family.ours, 53, bytes(i)))
    assert host.live == 3
    socket.close()
    assert host.live == 0
    assert host.ready() == []
    bound(host, family, family.any, 53)


def test_a_closed_connected_socket_is_gone(host, family):
    socket = bound(host, family, family.ours, 53)
    socket.connect(family.peer, 9)
    socket.close()
    host.receive(udp_packet(family.peer, 9, family.ours, 53, b"?"))
    assert host.counters["udp_port_unreachable"] == 1
    host.transmit()


def test_closing_one_socket_leaves_the_others_readiness(host):
    sockets = [bound(host, IPV4, IPV4.ours, port) for port in (1, 2, 3)]
    for port in (1, 2, 3):
        host.receive(udp_packet(IPV4.peer, 9, IPV4.ours, port, b"?"))
    sockets[1].close()
    assert [socket for socket, _ in host.ready()] == [sockets[0], sockets[2]]


def test_shutdown_ends_each_direction_and_wakes(host, family):
    socket = bound(host, family, family.ours, 53)
    socket.connect(family.peer, 9)
    host.receive(udp_packet(family.peer, 9, family.ours, 53, b"before"))
    socket.shut_read()
    host.receive(udp_packet(family.peer, 9, family.ours, 53, b"after"))
    assert host.counters["udp_drop_shut_down"] == 1
    assert [(s, events & 0x08) for s, events in host.ready()] == [(socket, 0)]
    assert socket.recv().data == b"before"
    assert socket.recv() is None
    socket.shut_write()
    assert [(s, events & 0x08) for s, events in host.ready()] == [(socket, 0x08)]
    with refused(errno.EPIPE):
        socket.send(b"!")


def test_shutdown_of_an_unconnected_socket_works_and_says_enotconn(host):
    """As in Linux."""
    socket = bound(host, IPV4, IPV4.ours, 53)
    with refused(errno.ENOTCONN):
        socket.shut_write()
    with refused(errno.EPIPE):
        socket.send(b"!", (IPV4.peer, 9))
