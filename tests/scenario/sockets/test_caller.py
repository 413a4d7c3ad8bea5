"""A stack that its caller turns: packets as bytes, time as a number, nothing by itself."""

from __future__ import annotations

import errno
import select
import socket
import time
from contextlib import suppress

import dpkt
import pytest

from pystack import PipeDevice, Stack

MS = 1_000_000


class Wire:
    """Two stacks in virtual time; what one transmits the other receives a delay later."""

    def __init__(self, seed: int = 7, delay: int = 10 * MS) -> None:
        self.now = 0
        self.delay = delay
        self.one = Stack("10.1.0.0/24", "fd01::/64", seed=seed, now=0)
        self.other = Stack("10.2.0.0/24", "fd02::/64", seed=seed + 1, now=0)
        self.flying: list[tuple[int, Stack, bytes]] = []
        self.log: list[tuple[int, bytes]] = []
        self.lose = lambda packet: False

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exception: object) -> None:
        self.one.close()
        self.other.close()

    def collect(self) -> None:
        for stack, to in ((self.one, self.other), (self.other, self.one)):
            for packet in stack.transmit():
                self.log.append((self.now, packet))
                if not self.lose(packet):
                    self.flying.append((self.now + self.delay, to, packet))

    def step(self) -> bool:
        """Jump to what happens next; False if nothing ever will."""
        self.collect()
        times = [at for at, *_ in self.flying]
        times += [at for at in (self.one.deadline, self.other.deadline) if at is not None]
        if not times:
            return False
        self.now = max(self.now, min(times))
        landing = [item for item in self.flying if item[0] <= self.now]
        self.flying = [item for item in self.flying if item[0] > self.now]
        for _, to, packet in landing:
            to.receive(packet, self.now)
        for stack in (self.one, self.other):
            stack.poll(self.now)
        return True

    def run(self, until: object) -> None:
        while not until():
            assert self.step(), "nothing will ever happen again"


def connect(
    wire: Wire, host: str = "10.1.0.5"
) -> tuple[socket.socket, socket.socket, socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = wire.one.create_server((host, 80), family=family)
    client = wire.other.socket(family)
    assert client.connect_ex((host, 80)) == errno.EINPROGRESS
    wire.run(lambda: wire.other.connections()[0].state == "ESTABLISHED")
    wire.run(lambda: wire.one.connections()[0].state == "ESTABLISHED")
    server, _ = listener.accept()
    return listener, client, server


def test_sockets_of_a_turned_stack_do_not_wait():
    with Wire() as wire, wire.one.create_server(("10.1.0.5", 80)) as listener:
        assert listener.gettimeout() == 0.0
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("host", ["10.1.0.5", "fd01::5"])
def test_a_conversation_in_virtual_time(host):
    with Wire() as wire:
        listener, client, server = connect(wire, host)
        with listener, client, server:
            assert wire.now == 30 * MS
            data = bytes(range(256)) * 400
            assert client.send(data) == len(data)
            received = bytearray()

            def whole() -> bool:
                with suppress(BlockingIOError):
                    received.extend(server.recv(1 << 20))
                return len(received) == len(data)

            wire.run(whole)
            assert received == data


def test_the_same_seed_makes_the_same_packets():
    def run(seed: int) -> list[tuple[int, bytes]]:
        with Wire(seed) as wire:
            for one in connect(wire):
                one.close()
            while wire.step():
                pass
            return wire.log

    assert run(7) == run(7)
    assert run(7) != run(8)


def test_packets_are_cut_and_finished():
    with Wire() as wire:
        listener, client, server = connect(wire)
        with listener, client, server:
            wire.log.clear()
            client.send(bytes(10_000))
            wire.collect()
            packets = [dpkt.ip.IP(packet) for _, packet in wire.log]
            assert [len(packet) for packet in packets] == [1500] * 6 + [1364]
            for packet in packets:
                was = packet.data.sum
                packet.data.sum = packet.sum = 0
                assert dpkt.ip.IP(bytes(packet)).data.sum == was


def test_lost_packets_are_sent_again_when_their_time_has_come():
    with Wire() as wire:
        listener, client, server = connect(wire)
        with listener, client, server:
            lost: list[bytes] = []
            wire.lose = lambda packet: not lost and not lost.append(packet)
            client.send(b"hello")
            wire.collect()
            sent = wire.now
            wire.run(lambda: wire.one.connections()[0].receive_queue)
            assert server.recv(10) == b"hello"
            assert len(lost) == 1
            assert 200 * MS <= wire.now - sent <= 400 * MS
            assert wire.other.counters()["tcp_tail_probes"] == 1


def writable(fd: int) -> bool:
    return bool(select.select([], [fd], [], 0)[1])


def test_room_is_seen_though_the_last_send_found_all_it_wanted():
    """No send was refused; who looks at the fd waits for room all the same."""
    with Wire() as wire:
        listener, client, server = connect(wire)
        with listener, client, server:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)  # less than the window
            fd = client.fileno()
            assert writable(fd)
            size = client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            assert client.send(bytes(size)) == size
            assert not writable(fd)
            wire.run(lambda: writable(fd))


def test_an_idle_stack_has_no_deadline():
    with Stack("10.1.0.0/24", now=5) as stack:
        assert stack.deadline is None
        assert stack.transmit() == []
        stack.poll(10)
        stack.poll()


def test_time_must_not_go_back():
    with Stack("10.1.0.0/24", now=100) as stack:
        stack.poll(100)
        with pytest.raises(ValueError, match="now is before"):
            stack.poll(99)
        with pytest.raises(ValueError, match="now is before"):
            stack.receive(b"x", 99)
        stack.poll(101)


def test_time_is_the_clock_s_until_it_is_told():
    with Stack("10.1.0.0/24") as stack, stack.socket() as client:
        before = time.monotonic_ns()
        client.connect_ex(("10.9.9.9", 1))
        assert before < stack.deadline <= time.monotonic_ns() + 2_000 * MS
        stack.poll(0)  # from now on the caller's
        assert 0 < stack.deadline <= 2_000 * MS
        packets = stack.transmit()
        while len(packets) < 2:
            stack.poll(stack.deadline)
            packets += stack.transmit()


def test_the_time_of_a_thread_is_the_clock_s(pair):
    with pytest.raises(ValueError, match="the clock's"):
        pair.near.poll(5)


@pytest.mark.parametrize("packet", [b"", bytes(65536)])
def test_a_packet_has_a_length(packet):
    with Stack("10.1.0.0/24", now=0) as stack, pytest.raises(ValueError, match="1 to 65535 bytes"):
        stack.receive(packet)


def test_a_packet_may_be_any_buffer_and_any_nonsense():
    with Stack("10.1.0.0/24", now=0) as stack:
        for packet in (bytes(20), bytearray(20), memoryview(bytes(20))):
            stack.receive(packet)
        with pytest.raises(TypeError):
            stack.receive("text")
        assert stack.counters()["ip_drop_bad_version"] == 3
        assert stack._live_packets() == 0


def test_packets_that_nobody_fetches_are_bounded():
    with Stack("10.1.0.0/24", now=0) as stack, stack.socket(type=socket.SOCK_DGRAM) as one:
        for _ in range(20_000):
            one.sendto(bytes(1400), ("10.9.9.9", 9))
        fetched = stack.transmit()
        assert 16 << 20 >= sum(map(len, fetched)) > 8 << 20
        assert stack._live_packets() == 0


def test_a_device_can_be_turned_by_hand_too():
    near, far = PipeDevice.pair()
    with (
        Stack("10.1.0.0/24", device=near, driver="caller") as one,
        Stack("10.2.0.0/24", device=far, driver="caller") as other,
        one.create_server(("10.1.0.5", 80)) as listener,
        other.socket() as client,
    ):
        client.connect_ex(("10.1.0.5", 80))
        for stack in (one, other, one):
            stack.poll()
        server, _ = listener.accept()
        with server:
            client.sendall(b"hello")
            one.poll()
            assert server.recv(5) == b"hello"
            far.close()
            for call in (other.poll, other.poll, lambda: client.recv(1)):
                with pytest.raises(OSError) as caught:
                    call()
                assert caught.value.errno == errno.ENETDOWN


def test_a_thread_may_keep_the_time_of_a_stack_without_a_device():
    with (
        Stack("10.1.0.0/24", driver="thread") as stack,
        stack.create_server(("10.1.0.5", 80)) as listener,
        stack.create_connection(("10.1.0.5", 80), timeout=5) as client,
    ):
        listener.settimeout(5)
        server, _ = listener.accept()
        with server:
            client.sendall(b"between two addresses of one stack")
            assert server.recv(100) == b"between two addresses of one stack"
            assert stack.transmit() == []


def test_a_blocking_call_waits_while_another_thread_turns(in_thread):
    with Stack("10.1.0.0/24", driver="caller") as stack:
        listener = stack.create_server(("10.1.0.5", 80))
        listener.settimeout(20)
        waiting = in_thread(listener.accept)
        client = stack.socket()
        client.connect_ex(("10.1.0.5", 80))
        accepted, _ = waiting.result()
        for one in (accepted, client, listener):
            one.close()
