"""A policer in place of a bottleneck: what is above its rate is dropped, and nothing waits."""

from __future__ import annotations

from native.core import CallError, Host
from property.wire import MS, Wire

from pystack.core.tcp.congestion.interface import NAMES

SECOND = 1_000_000_000
PAYLOAD = 1448 / 1500


class PolicedWire(Wire):
    """A token bucket each way."""

    rate_bps_policed, bucket = 4_000_000, 30_000

    def __post_init__(self):
        super().__post_init__()
        self.tokens, self.filled_at = [self.bucket] * 2, [self.now] * 2

    def send(self, sender, packet):
        earned = (self.now - self.filled_at[sender]) * self.rate_bps_policed / 8 / SECOND
        self.filled_at[sender] = self.now
        self.tokens[sender] = min(self.tokens[sender] + earned, self.bucket)
        if self.tokens[sender] < len(packet):
            self.carried += 1
            self.lost += 1
            return
        self.tokens[sender] -= len(packet)
        super().send(sender, packet)


def take(peer):
    try:
        return len(peer.receive(1 << 20))
    except CallError:
        return 0


def fill(sender):
    try:
        while True:
            sender.send(bytes(65536))
    except CallError:
        pass


def test_bbr_sends_at_the_rate_of_a_policer():
    """As Linux ("long-term bandwidth"): what probes for more is dropped, so for 48 round trips it
    does not probe.
    """
    hosts = [Host(f"10.0.0.{i}/32", seed=(7, i), send_buffer=1 << 21) for i in (1, 2)]
    wire = PolicedWire((hosts[0], hosts[1]), seed=7, delay=20 * MS)
    listener, sender = hosts[1].tcp(), hosts[0].tcp()
    listener.bind("10.0.0.2", 80)
    listener.listen()
    sender.set_option(6, 13, NAMES.index("bbr"))
    sender.connect("10.0.0.2", 80)
    start, peer, received, policed = wire.now, None, 0, set()
    first = None
    while wire.now < start + 7 * SECOND:
        wire.step()
        if peer is None:
            try:
                peer = listener.accept()
            except CallError:
                continue
        fill(sender)
        received += take(peer)
        if first is None and wire.now >= start + SECOND:
            first = (received, wire.lost, wire.carried)
        policed.add(sender.bbr.policed)
    share = (received - first[0]) * 8 / 6 / (PolicedWire.rate_bps_policed * PAYLOAD)
    assert share > 0.9
    assert wire.lost - first[1] < 0.06 * (wire.carried - first[2])
    assert first[1] > 0.15 * first[2]
    rates = [rate * 8 / PAYLOAD for rate in policed if rate]
    assert rates
    assert all(0.8 <= rate / PolicedWire.rate_bps_policed <= 1.2 for rate in rates)
