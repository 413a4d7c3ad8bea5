"""Whatever the wire does, a stream arrives whole or the connection says why; nothing is left."""

from __future__ import annotations

import random

import pytest
from effort import some
from native.core import CallError, Host
from property.wire import MS, Wire

SECOND = 1_000_000_000
HOUR = 3600 * SECOND


class Side:
    """One application: sends its bytes, closes its direction, and reads to the end."""

    def __init__(self, socket, data: bytes, rng: random.Random, chunk: int) -> None:
        self.socket, self.data, self.rng, self.chunk = socket, data, rng, chunk
        self.sent = 0
        self.received = bytearray()
        self.finished = self.shut = False
        self.error: int | None = None

    def run(self) -> None:
        if self.error is not None:
            return
        try:
            self.write()
            self.read()
        except CallError as error:
            self.error = error.errno

    def write(self) -> None:
        while self.sent < len(self.data):
            piece = self.data[self.sent : self.sent + self.rng.randint(1, self.chunk)]
            try:
                self.sent += self.socket.send(piece)
            except CallError as error:
                if error.errno == 11:
                    return
                raise
        if not self.shut:
            self.socket.shutdown(1)
            self.shut = True

    def read(self) -> None:
        while not self.finished:
            try:
                piece = self.socket.receive(self.rng.randint(1, self.chunk))
            except CallError as error:
                if error.errno == 11:
                    return
                raise
            self.received += piece
            self.finished = not piece


def transfer(seed: int, *, up: int, down: int, chunk: int = 20000, config=None, **wire_options):
    """Connect, send both ways, close; returns (client side, server side, wire)."""
    rng = random.Random(seed)
    config = config or {}
    a = Host("10.0.0.1/32", seed=(seed, 1), **config)
    b = Host("10.0.0.2/32", seed=(seed, 2), **config)
    wire = Wire((a, b), seed=seed, **wire_options)
    listener = b.tcp()
    listener.bind("10.0.0.2", 80)
    listener.listen()
    client = Side(a.tcp(), rng.randbytes(up), rng, chunk)
    client.socket.connect("10.0.0.2", 80)
    server = None
    end = wire.now + 2 * HOUR
    while wire.now < end:
        if not wire.step():
            break
        if client.socket.state != "SYN-SENT":
            client.run()
        if server is None:
            child = listener.accept()
            if child is not None:
                server = Side(child, rng.randbytes(down), rng, chunk)
        if server is not None:
            server.run()
        if server is not None and all(s.error or (s.finished and s.shut) for s in (client, server)):
            break
    assert server is not None, "never connected"
    client.socket.close()
    server.socket.close()
    listener.close()
    while wire.now < end and (a.connections or b.connections):
        if not wire.step():
            break
    return client, server, wire


def check(client: Side, server: Side, wire: Wire) -> None:
    assert (client.error, server.error) == (None, None)
    assert bytes(server.received) == client.data
    assert bytes(client.received) == server.data
    for host, data in zip(wire.hosts, (server.data, client.data), strict=True):
        assert host.counters.get("tcp_bytes_in", 0) == len(data)  # however they came
        assert host.connections == 0
        assert host.live_packets == 0
        assert host.deadline is None


@pytest.mark.parametrize("seed", range(some(24)))
@pytest.mark.parametrize(
    ("loss", "jitter", "duplicate"),
    [(0.0, 0, 0.0), (0.02, 0, 0.0), (0.2, 30 * MS, 0.05), (0.0, 50 * MS, 0.1)],
)
def test_a_stream_arrives_whole_over_any_wire(seed, loss, jitter, duplicate):
    config = {}
    if seed % 4 == 1:
        config["sack"] = False
    if seed % 4 == 2:
        config["timestamps"] = False
    if seed % 4 == 3:
        config.update(receive_buffer=8192, send_buffer=8192)
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
    check(*transfer(seed, up=600_000, down=0, rate_bps=10_000_000, queue=20))


def test_no_loss_means_no_retransmission():
    client, server, wire = transfer(1, up=3_000_000, down=3_000_000)
    check(client, server, wire)
    for host in wire.hosts:
        assert "tcp_retransmitted_segments" not in host.counters
        assert "tcp_timeouts" not in host.counters


def test_the_same_seed_gives_the_same_packets():
    one = transfer(5, up=100_000, down=100_000, loss=0.05, jitter=5 * MS)[2]
    two = transfer(5, up=100_000, down=100_000, loss=0.05, jitter=5 * MS)[2]
    assert [h.counters for h in one.hosts] == [h.counters for h in two.hosts]
    assert (one.carried, one.now) == (two.carried, two.now)
