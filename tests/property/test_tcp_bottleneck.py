"""What congestion control is for: a bottleneck is used, shared, and not flooded."""

from __future__ import annotations

import pytest
from native.core import CallError, Host
from property.wire import MS, Wire

from pystack.core.tcp.congestion.interface import NAMES

SECOND = 1_000_000_000
HEADERS = 52  # IPv4, TCP, timestamps
CE, ECT = 3, (1, 2)
every = pytest.mark.parametrize("name", NAMES)


class Flow:
    """One connection that sends as much as it can."""

    def __init__(self, host, listener, port):
        self.socket = host.tcp()
        self.socket.connect("10.0.0.2", port)
        self.listener, self.peer = listener, None
        self.received = 0

    def run(self):
        if self.peer is None:
            self.peer = self.listener.accept()
        try:
            while True:
                self.socket.send(bytes(65536))
        except CallError:
            pass
        while self.peer is not None:
            try:
                self.received += len(self.peer.receive(1 << 20))
            except CallError:
                break


class MarkingWire(Wire):
    """Marks what would wait behind more than `mark_above` packets, if it may be marked."""

    mark_above = 20

    def send(self, sender, packet):
        serialization = len(packet) * 8 * SECOND // self.rate_bps
        backlog = max(0, self.free_at[sender] - self.now) // max(serialization, 1)
        if backlog > self.mark_above and packet[1] & 3 in ECT:
            packet = marked(packet)
        super().send(sender, packet)


def marked(packet):
    """With CE in place of ECT, and the checksum that belongs to it (RFC 1624)."""
    total = (~int.from_bytes(packet[10:12], "big") & 0xFFFF) - packet[1] + (packet[1] | CE)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return (
        packet[:1]
        + bytes([packet[1] | CE])
        + packet[2:10]
        + checksum.to_bytes(2, "big")
        + (packet[12:])
    )


def run(names, seconds, wire_type=Wire, *, warm_up=0, config=None, **wire_options):
    """Flows of these algorithms at once; (bytes of each after the warm-up, wire)."""
    config = {"receive_buffer": 1 << 21, "send_buffer": 1 << 21, **(config or {})}
    a = Host("10.0.0.1/32", seed=(7, 1), **config)
    b = Host("10.0.0.2/32", seed=(7, 2), **config)
    wire = wire_type((a, b), seed=7, **wire_options)
    flows = []
    for number, name in enumerate(names):
        listener = b.tcp()
        listener.bind("10.0.0.2", 80 + number)
        listener.listen()
        flow = Flow(a, listener, 80 + number)
        flow.socket.set_option(6, 13, NAMES.index(name))
        flows.append(flow)
    start = wire.now
    before = [0] * len(flows)
    while wire.now < start + seconds * SECOND:
        wire.step()
        for flow in flows:
            flow.run()
        if wire.now < start + warm_up * SECOND:
            before = [flow.received for flow in flows]
    return [flow.received - b for flow, b in zip(flows, before, strict=True)], wire


def share(received, seconds, rate_bps):
    """Of what the bottleneck could have carried."""
    return received * 8 / seconds / (rate_bps * (1500 - HEADERS) / 1500)


@every
@pytest.mark.parametrize(
    ("rate_bps", "delay_ms", "queue"),
    [(10_000_000, 10, 40), (10_000_000, 50, 60), (2_000_000, 20, 20)],
)
def test_a_bottleneck_is_used(name, rate_bps, delay_ms, queue):
    """A queue of about half the bandwidth-delay product is enough for most of it."""
    received, wire = run([name], 12, warm_up=2, rate_bps=rate_bps, delay=delay_ms * MS, queue=queue)
    assert 0.85 <= share(received[0], 10, rate_bps) <= 1.03
    assert wire.lost < wire.carried * 0.05


@every
def test_two_flows_share_it(name):
    """Jain's index of the second half."""
    received, _ = run([name] * 2, 24, warm_up=12, rate_bps=4_000_000, delay=15 * MS, queue=20)
    fairness = sum(received) ** 2 / (2 * sum(x * x for x in received))
    assert fairness > 0.85
    assert share(sum(received), 12, 4_000_000) > 0.9


def test_cubic_and_reno_live_side_by_side():
    """RFC 9438 section 4.3: the Reno-friendly region; nobody is starved on a short path."""
    received, _ = run(["cubic", "reno"], 24, warm_up=8, rate_bps=4_000_000, delay=10 * MS, queue=30)
    assert min(received) > 0.2 * sum(received)


def test_hystart_spares_the_queue():
    """RFC 9406: fewer packets are lost at the end of the first slow start."""
    options = {"rate_bps": 20_000_000, "delay": 40 * MS, "queue": 150}
    with_it = run(["cubic"], 3, **options)
    without = run(["cubic"], 3, config={"hystart": 0}, **options)
    assert with_it[1].lost < without[1].lost / 2
    assert with_it[0][0] > without[0][0] * 0.8


@every
def test_marks_in_place_of_losses(name):
    """RFC 3168: the queue stays short, and nothing has to be sent again."""
    received, wire = run(
        [name],
        12,
        MarkingWire,
        warm_up=2,
        config={"ecn": 1},
        rate_bps=10_000_000,
        delay=20 * MS,
        queue=400,
    )
    assert wire.lost == 0
    assert wire.hosts[1].counters["tcp_ecn_marks_in"] > 0
    assert "tcp_retransmitted_segments" not in wire.hosts[0].counters
    assert share(received[0], 10, 10_000_000) > 0.85


def test_marks_cost_less_than_losses():
    """RFC 8511: with ABE a short queue is used better."""
    options = {"rate_bps": 10_000_000, "delay": 40 * MS, "queue": 400, "warm_up": 2}
    MarkingWire.mark_above = 5
    try:
        with_it = run(["reno"], 12, MarkingWire, config={"ecn": 1}, **options)[0][0]
        without = run(["reno"], 12, MarkingWire, config={"ecn": 1, "abe": 0}, **options)[0][0]
    finally:
        MarkingWire.mark_above = 20
    assert with_it > without
