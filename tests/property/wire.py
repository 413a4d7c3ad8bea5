"""Two stacks on a bad wire, in virtual time, repeatable from a seed."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from native.core import Host

MS = 1_000_000


@dataclass
class Wire:
    """Packets of each direction are delayed, lost, duplicated or reordered as the seed says."""

    hosts: tuple[Host, Host]
    seed: int = 0
    delay: int = 10 * MS
    jitter: int = 0
    loss: float = 0.0
    duplicate: float = 0.0
    rate_bps: int = 0  # 0: no limit
    queue: int = 1000  # packets that wait for the wire
    now: int = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.now = self.hosts[0].now
        self.events: list[tuple[int, int, int, bytes]] = []
        self.count = 0
        self.carried = 0
        self.lost = 0
        self.free_at = [0, 0]
        self.waiting = [0, 0]

    def send(self, sender: int, packet: bytes) -> None:
        self.carried += 1
        if self.random.random() < self.loss:
            self.lost += 1
            return
        copies = 2 if self.random.random() < self.duplicate else 1
        start = self.now
        if self.rate_bps:
            serialization = len(packet) * 8 * 1_000_000_000 // self.rate_bps
            backlog = max(0, self.free_at[sender] - self.now) // max(serialization, 1)
            if backlog > self.queue:
                self.lost += 1
                return
            start = max(self.free_at[sender], self.now) + serialization
            self.free_at[sender] = start
        for _ in range(copies):
            when = start + self.delay + (self.random.randrange(self.jitter) if self.jitter else 0)
            self.count += 1
            heapq.heappush(self.events, (when, self.count, 1 - sender, packet))

    def flush(self) -> None:
        for sender, host in enumerate(self.hosts):
            for packet in host.take():
                self.send(sender, packet)

    def step(self) -> bool:
        """On to the next arrival or deadline; False when nothing will ever happen."""
        self.flush()
        times = [host.deadline for host in self.hosts if host.deadline is not None]
        if self.events:
            times.append(self.events[0][0])
        if not times:
            return False
        self.now = max(self.now, min(times))
        for host in self.hosts:
            host.advance(self.now - host.now)
        while self.events and self.events[0][0] <= self.now:
            _, _, receiver, packet = heapq.heappop(self.events)
            self.hosts[receiver].input(packet)
        self.flush()
        return True
