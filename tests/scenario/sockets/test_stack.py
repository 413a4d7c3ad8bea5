"""Stack: what it is made of, what it does by policy, what it tells."""

from __future__ import annotations

import errno
import io
import socket
import time
from ipaddress import ip_address, ip_network

import dpkt
import pytest

import pystack
from pystack import Connection, Device, PipeDevice, Stack

# The constructor.


@pytest.mark.parametrize(
    ("networks", "text"),
    [
        ((), "needs a network"),
        (("10.3.0.5/24",), r"10\.3\.0\.5/24 has host bits set; the network is 10\.3\.0\.0/24"),
        (("fd03::1/64",), r"fd03::1/64 has host bits set; the network is fd03::/64"),
        (("10.3.0.0/24", "10.3.0.128/25"), r"10\.3\.0\.0/24 and 10\.3\.0\.128/25 overlap"),
        (("nonsense",), "nonsense"),
        (("10.3.0.0/33",), "10.3.0.0/33"),
    ],
)
def test_networks_are_checked(networks, text):
    with pytest.raises(ValueError, match=text):
        Stack(*networks)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"mtu": 67}, ValueError),
        ({"mtu": 65536}, ValueError),
        ({"driver": "engine"}, ValueError),
        ({"device": object()}, TypeError),
        ({"driver": "thread", "now": 0}, ValueError),
        ({"address": "10.4.0.1"}, ValueError),
        ({"address": "nonsense"}, ValueError),
    ],
)
def test_options_are_checked(options, kind):
    with pytest.raises(kind):
        Stack("10.3.0.0/24", **options)


def test_networks_may_be_objects_of_any_size():
    networks = ip_network("10.0.0.0/8"), ip_network("fd03::/64"), ip_network("192.0.2.1/32")
    with Stack(*networks) as stack:
        assert stack.networks == networks
        assert repr(stack) == "<Stack 10.0.0.0/8 fd03::/64 192.0.2.1/32>"
    assert repr(stack) == "<Stack 10.0.0.0/8 fd03::/64 192.0.2.1/32 closed>"


def test_a_device_serves_one_stack_at_a_time():
    near, far = PipeDevice.pair()
    with Stack("10.1.0.0/24", device=near) as stack:
        with pytest.raises(OSError) as caught:
            Stack("10.2.0.0/24", device=near)
        assert caught.value.errno == errno.EBUSY
        assert not near.closed
        assert stack.device is near
        with pytest.raises(ValueError, match="the device has one"):
            Stack("10.2.0.0/24", device=far, mtu=1400)
    assert near.closed
    far.close()


def test_a_device_that_cannot_be_configured_is_closed_again():
    class Unwilling(Device):
        def configure(self, networks):
            raise PermissionError(errno.EPERM, f"not for {networks[0]}")

    device = Unwilling()
    with pytest.raises(PermissionError, match=r"not for 10\.1\.0\.0/24"):
        Stack("10.1.0.0/24", device=device)
    assert device.closed


def test_addresses_of_the_other_side_are_not_the_stack_s(pair):
    class Shared(Device):
        def configure(self, networks):
            self.local_addresses = (ip_address("10.1.0.1"),)

        def send(self, packets):
            pass

    with Stack("10.1.0.0/24", device=Shared()) as stack, stack.socket() as one:
        with pytest.raises(OSError) as caught:
            one.bind(("10.1.0.1", 0))
        assert caught.value.errno == errno.EADDRNOTAVAIL
        one.bind(("10.1.0.2", 0))


def test_sockets_that_are_not_bound_speak_from_the_address_given():
    near, far = PipeDevice.pair()
    with (
        Stack("10.1.0.0/24", "fd01::/64", device=near) as server,
        Stack("10.2.0.0/24", "fd02::/64", device=far, address=("10.2.0.50", "fd02::50")) as client,
    ):
        server.serve("echo", "tcp", 7)
        for host, source in (("10.1.0.5", "10.2.0.50"), ("fd01::5", "fd02::50")):
            with client.create_connection((host, 7), timeout=5) as one:
                assert one.getsockname()[0] == source
        with server.socket(type=socket.SOCK_DGRAM) as listening:
            listening.settimeout(5)
            listening.bind(("10.1.0.5", 9))
            with client.socket(type=socket.SOCK_DGRAM) as one:
                one.sendto(b"x", ("10.1.0.5", 9))
                assert listening.recvfrom(1)[1][0] == "10.2.0.50"
            with client.socket(type=socket.SOCK_DGRAM) as one:
                one.connect(("10.1.0.5", 9))
                assert one.getsockname()[0] == "10.2.0.50"


def test_many_stacks_live_side_by_side():
    pipes = [PipeDevice.pair() for _ in range(5)]
    stacks = [
        (Stack("10.1.0.0/24", device=near), Stack("10.2.0.0/24", device=far)) for near, far in pipes
    ]
    for number, (one, other) in enumerate(stacks):
        with (
            one.create_server(("10.1.0.5", 80)) as listener,
            other.create_connection(("10.1.0.5", 80), timeout=5) as client,
        ):
            listener.settimeout(5)
            server, _ = listener.accept()
            with server:
                server.sendall(bytes([number]))
            assert client.recv(1) == bytes([number])
    for one, other in stacks:
        one.close()
        other.close()


# Policy and services.


@pytest.mark.parametrize(
    ("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)]
)
@pytest.mark.parametrize("host", ["10.1.0.5", "fd01::5"])
def test_services_of_the_core_answer_at_every_address(pair, protocol, kind, host):
    pair.near.serve("echo", protocol, 7)
    with pair.far.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as client:
        client.settimeout(5)
        client.connect((host, 7))
        client.send(b"hello")
        assert client.recv(5, socket.MSG_WAITALL) == b"hello"


def test_the_longest_prefix_decides(pair):
    pair.near.serve("echo", "tcp", 7)
    pair.near.set_policy("10.1.0.0/24", "refuse", "tcp")
    pair.near.set_policy("10.1.0.5", "accept", "tcp", 7)
    pair.near.set_policy(ip_network("10.1.0.128/25"), "refuse", ports=(1, 10))
    with pair.far.create_connection(("10.1.0.5", 7), timeout=5):
        pass
    for host in ("10.1.0.6", "10.1.0.200"):
        with pytest.raises(ConnectionRefusedError):
            pair.far.create_connection((host, 7), timeout=5)


@pytest.mark.parametrize(
    "arguments",
    [
        ("10.1.0.0/24", "allow"),
        ("10.1.0.0/24", "drop", "sctp"),
        ("10.1.0.0/24", "drop", "tcp", 65536),
        ("10.1.0.0/24", "drop", "tcp", (10, 9)),
        ("10.1.0.1/24", "drop"),
    ],
)
def test_a_policy_is_checked(pair, arguments):
    with pytest.raises(ValueError):
        pair.near.set_policy(*arguments)


def test_a_service_is_checked(pair):
    for arguments in (("ftp", "tcp", 7), ("echo", "icmp", 7)):
        with pytest.raises(ValueError):
            pair.near.serve(*arguments)
    with pytest.raises(OSError) as caught:
        pair.near.serve("echo", "tcp", 0)
    assert caught.value.errno == errno.EINVAL
    with pair.near.create_server(("", 7)), pytest.raises(OSError) as caught:
        pair.near.serve("echo", "tcp", 7)
    assert caught.value.errno == errno.EADDRINUSE


def test_servers_may_share_a_port(pair):
    """SO_REUSEPORT."""
    first = pair.near.create_server(("", 80), reuse_port=True)
    with first, pair.near.create_server(("", 80), reuse_port=True) as second:
        assert first.getsockname() == second.getsockname()
        with pytest.raises(OSError, match="in use"):
            pair.near.create_server(("", 80))


def test_create_server_says_which_address_it_could_not_have(pair):
    with pytest.raises(
        OSError, match=r"while attempting to bind on address \('192\.0\.2\.1', 80\)"
    ):
        pair.near.create_server(("192.0.2.1", 80))
    with pytest.raises(ValueError, match="dualstack_ipv6"):
        pair.near.create_server(("", 80), dualstack_ipv6=True)


# What it tells.


def test_counters_have_names_and_outlive_the_stack(pair):
    pair.near.serve("echo", "udp", 7)
    with pair.far.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(b"x", ("10.1.0.5", 7))
        client.recv(1)
    assert pair.near.counters()["udp_datagrams_in"] == 1
    pair.near.close()
    assert pair.near.counters()["udp_datagrams_in"] == 1
    with pytest.raises(OSError) as caught:
        pair.near.connections()
    assert caught.value.errno == errno.EBADF


def test_connections_are_shown_as_they_are(pair):
    with pair.near.create_server(("10.1.0.5", 80)) as listener:
        listener.settimeout(5)
        clients = [pair.far.create_connection(("10.1.0.5", 80), timeout=5) for _ in range(3)]
        clients[0].sendall(b"12345")
        server, peer = listener.accept()
        with server:
            assert server.recv(1) == b"1"
            [shown] = [one for one in pair.near.connections() if one.remote == peer]
            assert isinstance(shown, Connection)
            assert shown.local == ("10.1.0.5", 80)
            assert (shown.state, shown.held, shown.receive_queue) == ("ESTABLISHED", True, 4)
            assert len(pair.near.connections()) == 3
            assert len(pair.near.connections(limit=2)) == 2
            assert pair.near.connections(limit=0) == []
        for client in clients:
            client.close()


class Writer:
    """A capture in memory; each packet judged by dpkt."""

    def __init__(self):
        self.packets = []

    def write(self, packet, time_ns, outbound):
        self.packets.append((dpkt.ip.IP(packet), time_ns, outbound))


def checksum_is_right(packet: dpkt.ip.IP) -> bool:
    was = packet.data.sum
    packet.data.sum = packet.sum = 0
    whole = dpkt.ip.IP(bytes(packet))
    return bool(whole.data.sum == was)


def test_a_capture_sees_single_finished_packets_of_both_directions(pair):
    """Trains are cut and partial checksums completed, though the wire carries neither."""
    writer = Writer()
    started = time.time_ns()
    with (
        pair.near.create_server(("10.1.0.5", 80)) as listener,
        pair.far.create_connection(("10.1.0.5", 80), timeout=5) as client,
    ):
        listener.settimeout(5)
        server, _ = listener.accept()
        pair.near.capture(writer)
        with server:
            client.sendall(bytes(30_000))
            server.recv(30_000, socket.MSG_WAITALL)
            server.sendall(bytes(30_000))
            client.recv(30_000, socket.MSG_WAITALL)
            pair.near.capture(None)
            seen = list(writer.packets)
            client.sendall(b"unseen")
            server.recv(6, socket.MSG_WAITALL)
    assert writer.packets == seen
    for direction in (False, True):
        packets = [packet for packet, _, outbound in seen if outbound is direction]
        text = [range(p.data.seq, p.data.seq + len(p.data.data)) for p in packets]
        assert len(set().union(*text)) == 30_000  # on a busy machine some of it is sent again
        assert max(len(packet) for packet in packets) == 1500
        assert all(checksum_is_right(packet) for packet in packets)
    times = [at for _, at, _ in seen]
    assert started <= times[0]
    assert times == sorted(times)
    assert times[-1] <= time.time_ns()


def test_a_capture_s_fault_ends_the_capture_only(pair, caplog):
    class Broken:
        def write(self, packet, time_ns, outbound):
            raise RuntimeError("disk full")

    pair.near.serve("echo", "tcp", 7)
    pair.near.capture(Broken())
    with pair.far.create_connection(("10.1.0.5", 7), timeout=5) as client:
        client.sendall(b"hello")
        assert client.recv(5, socket.MSG_WAITALL) == b"hello"
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "disk full" in caplog.text


def test_a_capture_goes_to_a_pcap_writer(pair):
    file = io.BytesIO()
    writer = pystack.PcapWriter(file)
    pair.near.capture(writer)
    pair.near.serve("echo", "udp", 7)
    with pair.far.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(b"hello", ("10.1.0.5", 7))
        client.recv(5)
    pair.near.capture(None)
    writer.close()
    file.seek(0)
    packets = [dpkt.ip.IP(data) for _, data in dpkt.pcapng.Reader(file)]
    assert [bytes(packet.data.data) for packet in packets] == [b"hello", b"hello"]
