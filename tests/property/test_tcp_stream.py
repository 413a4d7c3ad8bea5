"""Whatever the wire does, a stream arrives whole; nothing is left."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass, field
from typing import Any

import pytest
from effort import some

from pystack import TcpConfig
from pystack.testing import VirtualNetwork

CLIENT, SERVER, PORT = "10.0.0.1", "10.0.0.2", 80
BUFFER = (4096, 1 << 20, 1 << 20)
SMALL_BUFFER = (4096, 8192, 8192)


@dataclass
class Side:
    """One application: sends its bytes, closes its direction, and reads to the end."""

    data: bytes
    rng: random.Random
    received: bytearray = field(default_factory=bytearray)
    counters: dict[str, int] = field(default_factory=dict)

    def write(self, connection: socket.socket, chunk: int) -> None:
        sent = 0
        while sent < len(self.data):
            sent += connection.send(self.data[sent : sent + self.rng.randint(1, chunk)])
        connection.shutdown(socket.SHUT_WR)

    def read(self, connection: socket.socket, chunk: int) -> None:
        while piece := connection.recv(self.rng.randint(1, chunk)):
            self.received += piece


def transfer(seed, *, up, down, chunk=20_000, config=None, **link: Any):
    """Connect, send both ways, close; (client, server, packets of each way and when all ended)."""
    rng = random.Random(seed)
    patient = {"receive_buffer": BUFFER, "send_buffer": BUFFER, "orphan_retries": 15}
    settings = TcpConfig(**{**patient, **(config or {})})
    client, server = (Side(rng.randbytes(size), random.Random(rng.random())) for size in (up, down))
    with VirtualNetwork(seed, limit="2h") as net:
        a, b = net.host(CLIENT, tcp=settings), net.host(SERVER, tcp=settings)
        wire = net.link(a, b, **{"delay": "10ms", **link})

        def talk(connection: socket.socket, side: Side) -> None:
            with connection:
                writing = net.spawn(side.write, connection, chunk)
                side.read(connection, chunk)
                writing.result()

        def serve() -> None:
            with b.create_server((SERVER, PORT)) as listener:
                connection, _ = listener.accept()
            talk(connection, server)

        serving = net.spawn(serve)
        net.sleep(0)
        talk(a.create_connection((SERVER, PORT)), client)
        serving.result()
        assert net.settle("1h")
        for host, side in ((a, client), (b, server)):
            side.counters = host.counters()
            assert host.connections() == []
            assert host._live_packets() == 0
            assert host.deadline is None
        return client, server, (wire.there.counters, wire.back.counters, net.now)


def check(client: Side, server: Side, _: object) -> None:
    for side, other in ((client, server), (server, client)):
        assert bytes(side.received) == other.data
        assert side.counters["tcp_bytes_in"] == len(other.data)  # however they came


@pytest.mark.parametrize("seed", range(some(24)))
@pytest.mark.parametrize(
    ("loss", "jitter", "duplicate"),
    [(0.0, 0, 0.0), (0.02, 0, 0.0), (0.2, 0.03, 0.05), (0.0, 0.05, 0.1)],
)
def test_a_stream_arrives_whole_over_any_wire(seed, loss, jitter, duplicate):
    config: dict[str, Any] = {}
    if seed % 4 == 1:
        config["sack"] = False
    if seed % 4 == 2:
        config["timestamps"] = 0
    if seed % 4 == 3:
        config.update(receive_buffer=SMALL_BUFFER, send_buffer=SMALL_BUFFER)
    if seed % 5 == 4:
        config["window_scaling"] = False
    check(
        *transfer(
            seed,
            up=200_000,
            down=50_000 * (seed % 3),
            config=config,
            loss=loss,
            jitter=jitter,
            duplicate=duplicate,
        )
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_slow_wire_with_a_short_queue_still_delivers(seed):
    check(*transfer(seed, up=600_000, down=0, rate="10Mbit/s", queue=20))


def test_no_loss_means_no_retransmission():
    client, server, wire = transfer(1, up=3_000_000, down=3_000_000)
    check(client, server, wire)
    for side in (client, server):
        assert side.counters["tcp_retransmitted_segments"] == 0
        assert side.counters["tcp_timeouts"] == 0


def test_the_same_seed_gives_the_same_packets():
    one, two = (transfer(5, up=100_000, down=100_000, loss=0.05, jitter="5ms") for _ in range(2))
    assert [side.counters for side in one[:2]] == [side.counters for side in two[:2]]
    assert one[2] == two[2]
