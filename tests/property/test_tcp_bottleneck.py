"""What congestion control is for: a bottleneck is used, shared, and not flooded."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from pystack import TcpConfig
from pystack.core.tcp.congestion.interface import NAMES
from pystack.testing import VirtualNetwork

SENDER, RECEIVER = "10.0.0.1", "10.0.0.2"
BUFFER = (4096, 1 << 21, 1 << 21)
HEADERS = 52  # IPv4, TCP, timestamps
MARK_ABOVE = 20  # packets
every = pytest.mark.parametrize("name", NAMES)


def run(names, seconds, *, warm_up=0, config=None, **link: Any):
    """Flows of these algorithms at once, each as fast as it can: what was received of each after
    the warm-up; counters of the bottleneck, of the sender and of the receiver.
    """
    config = TcpConfig(receive_buffer=BUFFER, send_buffer=BUFFER, **(config or {}))
    received = [0] * len(names)
    with VirtualNetwork(7, limit="1h") as net:
        a, b = net.host(SENDER, tcp=config), net.host(RECEIVER, tcp=config)
        bottleneck = net.link(a, b, **link).there

        def receive(number: int) -> None:
            with b.create_server((RECEIVER, 80 + number)) as listener:
                connection, _ = listener.accept()
            with connection:
                while data := connection.recv(1 << 20):
                    if net.now >= warm_up:
                        received[number] += len(data)

        def send(number: int, name: str) -> None:
            with a.socket() as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
                connection.connect((RECEIVER, 80 + number))
                while True:
                    connection.sendall(bytes(1 << 20))

        for number, name in enumerate(names):
            net.spawn(receive, number)
            net.sleep(0)
            net.spawn(send, number, name)
        net.run(until=seconds)
        return received, bottleneck.counters, a.counters(), b.counters()


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
    received, bottleneck, _, _ = run(
        [name], 12, warm_up=2, rate=rate_bps, delay=delay_ms / 1000, queue=queue
    )
    assert 0.85 <= share(received[0], 10, rate_bps) <= 1.03
    assert bottleneck["overflowed"] < bottleneck["packets"] * 0.05


@every
def test_two_flows_share_it(name):
    """Jain's index of the second half."""
    received, *_ = run([name] * 2, 24, warm_up=12, rate=4_000_000, delay="15ms", queue=20)
    fairness = sum(received) ** 2 / (2 * sum(x * x for x in received))
    assert fairness > 0.85
    assert share(sum(received), 12, 4_000_000) > 0.9


def test_cubic_and_reno_live_side_by_side():
    """RFC 9438 section 4.3: the Reno-friendly region; nobody is starved on a short path."""
    received, *_ = run(["cubic", "reno"], 24, warm_up=8, rate=4_000_000, delay="10ms", queue=30)
    assert min(received) > 0.2 * sum(received)


def test_hystart_spares_the_queue():
    """RFC 9406: fewer packets are lost at the end of the first slow start."""
    options = {"rate": 20_000_000, "delay": "40ms", "queue": 150}
    with_it = run(["cubic"], 3, **options)
    without = run(["cubic"], 3, config={"hystart": False}, **options)
    assert with_it[1]["overflowed"] < without[1]["overflowed"] / 2
    assert with_it[0][0] > without[0][0] * 0.8


@every
def test_marks_in_place_of_losses(name):
    """RFC 3168: the queue stays short, and nothing has to be sent again."""
    received, bottleneck, sender, receiver = run(
        [name],
        12,
        warm_up=2,
        config={"ecn": 1},
        rate=10_000_000,
        delay="20ms",
        queue=400,
        mark=MARK_ABOVE,
    )
    assert bottleneck["overflowed"] == 0
    assert receiver["tcp_ecn_marks_in"] > 0
    assert sender["tcp_retransmitted_segments"] == 0
    assert share(received[0], 10, 10_000_000) > 0.85


def test_marks_cost_less_than_losses():
    """RFC 8511: with ABE a short queue is used better."""
    options = {"rate": 10_000_000, "delay": "40ms", "queue": 400, "mark": 5, "warm_up": 2}
    with_it = run(["reno"], 12, config={"ecn": 1}, **options)[0][0]
    without = run(["reno"], 12, config={"ecn": 1, "abe": False}, **options)[0][0]
    assert with_it > without
