"""Shards: stacks on the queues of one device; what comes by another queue than its flow's."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter, namedtuple
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import dpkt
import pytest
from scenario.ip_wire import IPV4, IPV6, UDP, fragments
from scenario.tcp_wire import checksum, icmp_error, ip_packet, parse_packet, pseudo, tcp_bytes

from pystack import Device, Shards, Stack
from pystack.device.base import join_shards

NUMBER = 3

Family = namedtuple("Family", "v6 ours theirs header family wire")
FAMILIES = [
    Family(False, "10.3.0.5", "192.0.2.7", 20, socket.AF_INET, IPV4),
    Family(True, "fd03::5", "2001:db8::7", 40, socket.AF_INET6, IPV6),
]


class Queue(Device):
    """Keeps what its stack sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.has_sent = threading.Event()

    def send(self, packets: list[bytes]) -> None:
        self.sent += packets
        self.has_sent.set()

    def take(self) -> list[bytes]:
        taken, self.sent = self.sent, []
        return taken


class Sharded:
    """Three shards that we turn, in our time, and a client; we choose the queues of its packets."""

    def __init__(self, family: Family, ending: ExitStack) -> None:
        self.family = family
        self.now = 0
        self.queues = [Queue() for _ in range(NUMBER)]
        join_shards(self.queues)
        self.stacks = [
            ending.enter_context(
                Stack("10.3.0.0/24", "fd03::/64", device=queue, driver="caller", now=0, seed=i)
            )
            for i, queue in enumerate(self.queues)
        ]
        self.client = ending.enter_context(
            Stack("192.0.2.0/24", "2001:db8::/64", now=0, seed=99, address=family.theirs)
        )
        self.delivered: list[bytes] = []
        self.came: list[tuple[int, bytes]] = []  # (queue, packet) that was sent to the client
        self.ending = ending

    def turn(self) -> None:
        """Until nobody has anything to hand on."""
        for _ in range(NUMBER + 1):
            for stack in self.stacks:
                stack.poll(self.now)
        for i, queue in enumerate(self.queues):
            self.came += [(i, packet) for packet in queue.take()]

    def arrive(self, packet: bytes, queue: int) -> list[tuple[int, bytes]]:
        """One packet by a queue; what it makes the shards send."""
        self.came.clear()
        self.queues[queue].deliver([packet])
        self.turn()
        return list(self.came)

    def exchange(self, queue: Callable[[bytes], int]) -> None:
        """Carry packets, those of the client by the queue that is said, until nobody sends more."""
        for _ in range(100):
            packets = self.client.transmit()
            for packet in packets:  # in a turn of its own: what comes together may be joined
                self.queues[queue(packet)].deliver([packet])
                self.turn()
            self.delivered += packets
            self.turn()
            for _, packet in self.came:
                self.client.receive(packet, self.now)
            if not packets and not self.came:
                return
            self.came.clear()
        raise AssertionError("they go on and on")

    def listen(self, port: int = 80) -> list[socket.socket]:
        return [
            self.ending.enter_context(stack.create_server(("", port), family=self.family.family))
            for stack in self.stacks
        ]

    def socket(self, kind: int, stack: Stack | None = None) -> socket.socket:
        return self.ending.enter_context((stack or self.client).socket(self.family.family, kind))

    def connect(self, queue: int) -> tuple[socket.socket, socket.socket]:
        """A connection whose flow is that queue's."""
        listeners = self.listen()
        client = self.socket(socket.SOCK_STREAM)
        client.connect_ex((self.family.ours, 80))
        self.exchange(lambda packet: queue)
        server, _ = listeners[queue].accept()
        return client, self.ending.enter_context(server)

    def fragments(self, protocol: int, data: bytes, size: int) -> list[bytes]:
        ends = self.family.wire._replace(ours=self.family.ours, peer=self.family.theirs)
        return fragments(ends, protocol, data, size)

    def counters(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for stack in self.stacks:
            total.update(stack.counters())
        return total

    def each(self, name: str) -> list[int]:
        return [stack.counters()[name] for stack in self.stacks]


@pytest.fixture(params=FAMILIES, ids=["IPv4", "IPv6"])
def shards(request) -> Iterator[Sharded]:
    with ExitStack() as ending:
        made = Sharded(request.param, ending)
        yield made
        made.turn()
        assert [stack._live_packets() for stack in made.stacks] == [0] * len(made.stacks)


# Connections


def test_a_flow_of_one_queue_is_nobody_elses(shards):
    client, server = shards.connect(1)
    client.sendall(b"hello")
    shards.exchange(lambda packet: 1)
    assert server.recv(100) == b"hello"
    assert shards.each("tcp_connections_opened_passive") == [0, 1, 0]
    assert shards.each("packets_in")[::2] == [0, 0]
    assert shards.counters()["packets_handed_on"] == 0


@pytest.mark.parametrize("by", [0, 2])
def test_segments_that_come_by_another_queue_find_their_connection(shards, by):
    client, server = shards.connect(1)
    before = shards.counters()
    client.sendall(bytes(5000))
    shards.exchange(lambda packet: by)
    assert len(server.recv(10000)) == 5000
    server.sendall(b"back")
    server.close()
    shards.exchange(lambda packet: by)
    assert client.recv(100) == b"back"
    assert client.recv(100) == b""
    after = shards.counters()
    assert after["tcp_resets_out"] == 0
    assert after["packets_handed_on"] > before["packets_handed_on"]
    assert after["packets_in"] == len(shards.delivered)
    assert after["bytes_in"] == sum(map(len, shards.delivered))


def test_a_segment_in_fragments_which_all_come_by_one_queue(shards):
    client, server = shards.connect(0)
    client.sendall(b"x" * 1000)
    (packet,) = shards.client.transmit()
    cut = shards.fragments(socket.IPPROTO_TCP, packet[shards.family.header :], 400)
    assert len(cut) > 2
    for fragment in cut:
        shards.queues[2].deliver([fragment])
    shards.turn()
    assert server.recv(2000) == b"x" * 1000
    assert shards.each("ip_reassembled") == [0, 0, 1]
    assert shards.each("tcp_resets_out") == [0, 0, 0]


def test_who_connects_out_of_a_shard_may_hear_the_answer_by_any_queue(shards):
    listener = shards.ending.enter_context(
        shards.client.create_server((shards.family.theirs, 80), family=shards.family.family)
    )
    ours = shards.socket(socket.SOCK_STREAM, shards.stacks[2])
    ours.bind((shards.family.ours, 0))
    ours.connect_ex((shards.family.theirs, 80))
    shards.exchange(lambda packet: 0)
    accepted, _ = listener.accept()
    accepted.sendall(b"welcome")
    shards.exchange(lambda packet: 1)
    assert ours.recv(100) == b"welcome"
    accepted.close()


@pytest.mark.parametrize("listening", [False, True], ids=["closed", "listening"])
def test_a_segment_of_no_connection_is_refused_once(shards, listening):
    if listening:
        shards.listen()
    ends = (shards.family.theirs, 4000), (shards.family.ours, 80)
    segment = tcp_bytes(*ends, 1, 1, 0x10, 1000)
    answers = shards.arrive(ip_packet(ends[0][0], ends[1][0], 6, segment), 1)
    assert [flags_of(packet) for _, packet in answers] == [dpkt.tcp.TH_RST]
    assert shards.counters()["packets_handed_on"] == NUMBER - 1
    assert shards.counters()["tcp_drop_no_connection"] == (not listening)


def test_a_syn_is_refused_where_it_comes(shards):
    ends = (shards.family.theirs, 4000), (shards.family.ours, 81)
    segment = tcp_bytes(*ends, 1, 0, 0x02, 1000)
    answers = shards.arrive(ip_packet(ends[0][0], ends[1][0], 6, segment), 2)
    assert [queue for queue, _ in answers] == [2]
    assert shards.counters()["packets_handed_on"] == 0


def test_the_ack_of_a_syn_cookie_is_taken_where_it_was_sent(shards):
    listeners = shards.listen()
    listeners[1].listen(1)
    theirs = shards.family.theirs
    for port in range(4000, 4040):
        ends = (theirs, port), (shards.family.ours, 80)
        syn = tcp_bytes(*ends, 100, 0, 0x02, 1000)
        ((queue, answer),) = shards.arrive(ip_packet(theirs, ends[1][0], 6, syn), 1)
        assert queue == 1
    assert shards.stacks[1].counters()["tcp_syn_cookies_sent"] > 0
    cookie = parse_packet(answer)[2].seq
    ack = tcp_bytes(*ends, 101, cookie + 1, 0x10, 1000)
    assert shards.arrive(ip_packet(theirs, ends[1][0], 6, ack), 1) == []
    accepted, name = listeners[1].accept()
    accepted.close()
    assert name[1] == 4039
    assert shards.counters()["packets_handed_on"] == 0


def flags_of(packet: bytes) -> int:
    return parse_packet(packet)[2].flags & ~dpkt.tcp.TH_ACK


# ICMP errors


def too_big(shards: Sharded, quoted: bytes, mtu: int) -> bytes:
    kind, code = (2, 0) if shards.family.v6 else (3, 4)
    return icmp_error(shards.family.theirs, shards.family.ours, kind, code, mtu, quoted)


def test_packet_too_big_reaches_the_connection_whatever_queue_it_comes_by(shards):
    _, server = shards.connect(1)
    server.sendall(bytes(1400))
    shards.stacks[1].poll(shards.now)
    (packet,) = shards.queues[1].take()
    again = shards.arrive(too_big(shards, packet, 1300), 2)
    assert [queue for queue, _ in again] == [1, 1]
    assert all(len(packet) <= 1300 for _, packet in again)
    assert shards.each("tcp_errors_delivered") == [0, 1, 0]
    assert shards.each("ip_path_mtu_lowered") == [0, 1, 0]
    assert shards.counters()["icmp_drop_error_not_ours"] == 0


def test_packet_too_big_about_datagrams_of_a_service_is_told_to_all(shards):
    for stack in shards.stacks:
        stack.serve("echo", "udp", 7)
    asking = shards.socket(socket.SOCK_DGRAM)
    asking.sendto(bytes(1400), (shards.family.ours, 7))
    (request,) = shards.client.transmit()
    ((_, reply),) = shards.arrive(request, 0)
    assert shards.arrive(too_big(shards, reply, 1300), 2) == []
    for queue in range(NUMBER):
        answers = shards.arrive(request, queue)
        assert len(answers) == 2, queue
        assert all(len(packet) <= 1300 for _, packet in answers)
    assert shards.counters()["icmp_drop_error_not_ours"] == 0


@pytest.mark.parametrize("protocol", [6, UDP], ids=["TCP", "UDP"])
def test_an_error_about_what_nobody_has_sent_is_counted_once(shards, protocol):
    ends = (shards.family.ours, 80), (shards.family.theirs, 4000)
    quoted = ip_packet(ends[0][0], ends[1][0], protocol, tcp_bytes(*ends, 1, 1, 0x10, 1000))
    assert shards.arrive(too_big(shards, quoted, 1300), 0) == []
    assert shards.counters()["icmp_drop_error_not_ours"] == 1
    assert shards.counters()["packets_handed_on"] == NUMBER - 1


# Datagrams


def test_a_datagram_finds_the_one_socket_that_is_bound(shards):
    bound = shards.socket(socket.SOCK_DGRAM, shards.stacks[0])
    bound.bind((shards.family.ours, 5353))
    asking = shards.socket(socket.SOCK_DGRAM)
    for queue in range(NUMBER):
        asking.sendto(b"%d" % queue, (shards.family.ours, 5353))
        shards.exchange(lambda packet, queue=queue: queue)
        data, peer = bound.recvfrom(100)
        assert data == b"%d" % queue
        bound.sendto(b"yes", peer)
        shards.exchange(lambda packet: 0)
    assert shards.counters()["packets_in"] == NUMBER


def test_a_datagram_for_nobody_is_refused_once(shards):
    datagram = udp_bytes(shards.family.theirs, shards.family.ours, 81)
    answers = shards.arrive(datagram, 1)
    assert len(answers) == 1
    assert shards.counters()["udp_port_unreachable"] == 1
    assert shards.counters()["packets_handed_on"] == NUMBER - 1


def test_the_longest_datagram_is_handed_on(shards):
    """Put together it is longer than what a device carries: by the header, in IPv6."""
    length = 65535 - (0 if shards.family.v6 else 20)
    bound = shards.socket(socket.SOCK_DGRAM, shards.stacks[1])
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    bound.bind((shards.family.ours, 5353))
    header = struct.pack("!HHHH", 4000, 5353, length, 0)
    data = header + bytes(length - len(header))
    total = checksum(pseudo(shards.family.theirs, shards.family.ours, UDP, length) + data)
    data = header[:6] + total.to_bytes(2, "big") + bytes(length - len(header))
    for fragment in shards.fragments(UDP, data, 1400):
        shards.queues[0].deliver([fragment])
        shards.turn()
    assert bound.recv(1 << 16) == bytes(length - len(header))
    assert shards.counters()["packets_handed_on"] == 1


def udp_bytes(source: str, destination: str, port: int) -> bytes:
    header = bytes([15, 160, 0, port, 0, 12, 0, 0]) + b"ping"
    total = checksum(pseudo(source, destination, UDP, len(header)) + header)
    return ip_packet(source, destination, UDP, header[:6] + total.to_bytes(2, "big") + header[8:])


# The device's end


def test_a_shard_that_is_closed_is_handed_nothing_more(shards):
    shards.stacks[1].close()
    del shards.stacks[1]
    ends = (shards.family.theirs, 4000), (shards.family.ours, 80)
    segment = ip_packet(ends[0][0], ends[1][0], 6, tcp_bytes(*ends, 1, 1, 0x10, 1000))
    assert shards.arrive(segment, 0) == []
    assert shards.counters()["packets_handed_on"] == 1


def test_a_capture_shows_what_is_handed_on_once(shards):
    class Writer:
        def __init__(self) -> None:
            self.seen: list[tuple[bytes, bool]] = []

        def write(self, packet: bytes, time_ns: int, outbound: bool) -> None:
            self.seen.append((packet, outbound))

    writer = Writer()
    for stack in shards.stacks:
        stack.capture(writer)
    ends = (shards.family.theirs, 4000), (shards.family.ours, 80)
    segment = ip_packet(ends[0][0], ends[1][0], 6, tcp_bytes(*ends, 1, 1, 0x10, 1000))
    ((_, answer),) = shards.arrive(segment, 0)
    assert writer.seen == [(segment, False), (answer, True)]


# Shards


def test_shards_are_one_subnet_in_threads(tmp_path):
    from pystack import PcapWriter

    queues = [Queue() for _ in range(NUMBER)]
    with Shards("10.3.0.0/24", devices=queues, start=False) as shards:
        assert len(shards) == NUMBER
        assert repr(shards) == "<Shards 3 of <Stack 10.3.0.0/24>>"
        shards.set_policy("10.3.0.9", "drop")
        shards.serve("echo", "udp", 7)
        listeners = [stack.create_server(("", 80)) for stack in shards]
        with PcapWriter(tmp_path / "all.pcapng") as writer:
            shards.capture(writer)
            shards.start()
            for i, queue in enumerate(queues):
                ends = ("192.0.2.7", 4000 + i), ("10.3.0.5", 80)
                syn = ip_packet(ends[0][0], ends[1][0], 6, tcp_bytes(*ends, 1, 0, 0x02, 1000))
                queue.deliver(
                    [udp_bytes("192.0.2.7", "10.3.0.9", 7), udp_bytes("192.0.2.7", "10.3.0.5", 7)]
                )
                assert queue.has_sent.wait(20)
                queue.has_sent.clear()
                queue.deliver([syn])
                assert queue.has_sent.wait(20)
            shards.capture(None)
            counters = shards.counters()
            assert counters["udp_datagrams_in"] == NUMBER
            assert counters["ip_drop_by_policy"] == NUMBER
            assert counters["packets_in"] == 3 * NUMBER
            found = shards.connections()
            assert {one.remote[1] for one in found if one.state == "SYN-RECEIVED"} == {
                4000 + i for i in range(NUMBER)
            }
            assert len(shards.connections(limit=2)) == 2
        for listener in listeners:
            listener.close()
    assert all(queue.closed for queue in queues)
    shards.close()
    assert shards.counters()["packets_in"] == 3 * NUMBER


def test_shards_that_cannot_be_made_leave_no_device_open():
    queues = [Queue(), Queue()]
    queues[1].close()
    with pytest.raises(OSError, match="closed"):
        Shards("10.3.0.0/24", devices=queues)
    assert queues[0].closed
    for number in (0, 257):
        with pytest.raises(ValueError, match=f"{number} devices: shards have 1 to 256"):
            Shards("10.3.0.0/24", devices=[Queue()] * number)
