"""A policer in place of a bottleneck: what is above its rate is dropped, and nothing waits."""

from __future__ import annotations

from collections import deque

import pytest
from native.core import CallError, Host

from pystack.core.tcp.congestion.interface import NAMES

MS, SECOND = 1_000_000, 1_000_000_000
PAYLOAD = 1448 / 1500
RATE, BUCKET, DELAY = 4_000_000, 30_000, 20 * MS


class Policed:
    """Two hosts; what the first sends passes a token bucket."""

    def __init__(self, seed):
        self.hosts = [Host(f"10.0.0.{i}/32", seed=(seed, i), send_buffer=1 << 21) for i in (1, 2)]
        self.now = self.filled_at = self.hosts[0].now
        self.tokens, self.carried, self.lost = float(BUCKET), 0, 0
        self.flying = (deque(), deque())

    def passes(self, packet):
        earned = (self.now - self.filled_at) * RATE / 8 / SECOND
        self.filled_at = self.now
        self.tokens = min(self.tokens + earned, BUCKET)
        self.carried += 1
        if self.tokens < len(packet):
            self.lost += 1
            return False
        self.tokens -= len(packet)
        return True

    def flush(self):
        for sender, host in enumerate(self.hosts):
            for packet in host.take():
                if sender or self.passes(packet):
                    self.flying[sender].append((self.now + DELAY, packet))

    def step(self):
        """On to the next arrival or deadline."""
        self.flush()
        times = [host.deadline for host in self.hosts if host.deadline is not None]
        times += [queue[0][0] for queue in self.flying if queue]
        self.now = max(self.now, min(times))
        for host in self.hosts:
            host.advance(self.now - host.now)
        for receiver, queue in ((1, self.flying[0]), (0, self.flying[1])):
            while queue and queue[0][0] <= self.now:
                self.hosts[receiver].input(queue.popleft()[1])
        self.flush()


def attempt(call, *arguments):
    """None if it would block."""
    try:
        return call(*arguments)
    except CallError:
        return None


@pytest.mark.parametrize("seed", [7, 28, 33])
def test_bbr_sends_at_the_rate_of_a_policer(seed):
    """As Linux ("long-term bandwidth"): what probes for more is dropped, so for 48 round trips it
    does not probe. The seed says where in its cycle it begins each time, and so how much is lost:
    of those up to 40, most with 28 and 33.
    """
    wire = Policed(seed)
    listener, sender = wire.hosts[1].tcp(), wire.hosts[0].tcp()
    listener.bind("10.0.0.2", 80)
    listener.listen()
    sender.set_option(6, 13, NAMES.index("bbr"))
    sender.connect("10.0.0.2", 80)
    start, peer, received, policed, first = wire.now, None, 0, set(), None
    while wire.now < start + 7 * SECOND:
        wire.step()
        peer = peer or attempt(listener.accept)
        if peer is None:
            continue
        while attempt(sender.send, bytes(65536)):
            pass
        received += len(attempt(peer.receive, 1 << 20) or b"")
        if first is None and wire.now >= start + SECOND:
            first = (received, wire.lost, wire.carried)
        policed.add(sender.bbr.policed)
    share = (received - first[0]) * 8 / 6 / (RATE * PAYLOAD)
    assert share > 0.9
    assert wire.lost - first[1] < 0.08 * (wire.carried - first[2])
    assert first[1] > 0.15 * first[2]
    rates = [rate * 8 / PAYLOAD for rate in policed if rate]
    assert rates
    assert all(0.8 <= rate / RATE <= 1.2 for rate in rates)
