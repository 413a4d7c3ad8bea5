"""Segments that come together by a device without trains are one train to the stack."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pystack import Device, Stack

TEXT = bytes(range(256)) * 40  # within the first window


class Wire(Device):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def send(self, packets: list[bytes]) -> None:
        self.sent += packets


class Recorder:
    def __init__(self) -> None:
        self.came: list[bytes] = []

    def write(self, packet: bytes, time_ns: int, outbound: bool) -> None:
        if not outbound:
            self.came.append(packet)


class Ends:
    """A connection from a stack whose packets we carry to one with a device."""

    def __init__(self, address: str, ending: ExitStack) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.wire = Wire()
        self.ours = ending.enter_context(
            Stack("10.3.0.0/24", "fd03::/64", device=self.wire, driver="caller", now=0, seed=1)
        )
        self.theirs = ending.enter_context(Stack("192.0.2.0/24", "2001:db8::/64", now=0, seed=2))
        listener = ending.enter_context(self.ours.create_server(("", 80), family=family))
        self.client = ending.enter_context(self.theirs.socket(family))
        self.client.setblocking(False)
        self.client.connect_ex((address, 80))
        while self.arrive(self.theirs.transmit()):
            pass
        self.server = ending.enter_context(listener.accept()[0])

    def arrive(self, packets: list[bytes]) -> list[bytes]:
        """Packets in one batch, and the answers to them."""
        self.wire.deliver(packets)
        self.ours.poll(0)
        answers, self.wire.sent = self.wire.sent, []
        for packet in answers:
            self.theirs.receive(packet, 0)
        return answers

    def segments(self) -> list[bytes]:
        assert self.client.send(TEXT) == len(TEXT)
        packets = self.theirs.transmit()
        assert len(packets) > 5
        return packets


@pytest.fixture(params=["10.3.0.5", "fd03::5"], ids=["IPv4", "IPv6"])
def ends(request) -> Iterator[Ends]:
    with ExitStack() as ending:
        yield Ends(request.param, ending)


def test_they_are_trains_with_one_acknowledgment(ends):
    segments, before = ends.segments(), ends.ours.counters()
    answers = ends.arrive(segments)
    assert len(answers) == 1
    # Five segments of which the last is pushed, and three.
    after = ends.ours.counters()
    assert after["packets_in"] == before["packets_in"] + 2
    assert after["packets_joined"] == len(segments) - 2
    assert ends.server.recv(2 * len(TEXT)) == TEXT


def test_a_capture_shows_what_came(ends):
    recorder, segments = Recorder(), ends.segments()
    ends.ours.capture(recorder)
    ends.arrive(segments)
    assert recorder.came == segments
    assert ends.server.recv(2 * len(TEXT)) == TEXT


def test_a_spoiled_segment_is_lost_alone(ends):
    segments, before = ends.segments(), ends.ours.counters()
    spoiled = segments[2][:-1] + bytes([segments[2][-1] ^ 1])
    ends.arrive([*segments[:2], spoiled, *segments[3:]])
    after = ends.ours.counters()
    assert after["tcp_drop_bad_checksum"] == before["tcp_drop_bad_checksum"] + 1
    assert after["packets_in"] == before["packets_in"] + 4
    head = ends.server.recv(2 * len(TEXT))
    assert TEXT.startswith(head)
    ends.arrive(segments[2:3])
    assert head + ends.server.recv(2 * len(TEXT)) == TEXT
