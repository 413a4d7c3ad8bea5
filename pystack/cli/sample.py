"""A look at a subnet: its counters and connections, and what has changed since the last one.

Called by: serve, report, live.
RFCs: none.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystack.connection import Connection
    from pystack.shards import Shards

MAX_CONNECTIONS = 10_000  # looked at
OVER = {"CLOSED", "TIME-WAIT"}  # states of what is a connection no more to anybody but TCP


@dataclass(frozen=True)
class Sample:
    """What there was at a time."""

    at: float  # seconds, monotonic
    counters: dict[str, int]
    connections: list[Connection]
    complete: bool  # these are all connections

    @property
    def drops(self) -> dict[str, int]:
        """By reason in words, most frequent first."""
        found = {
            name.replace("_drop_", ": ").replace("_", " "): number
            for name, number in self.counters.items()
            if number and "_drop_" in name
        }
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @property
    def pings(self) -> int:
        return self.counters["icmp_echo_requests_in"]

    @property
    def datagrams(self) -> int:
        return self.counters["udp_datagrams_in"]

    @property
    def opened(self) -> int:
        """TCP connections so far."""
        return (
            self.counters["tcp_connections_opened_passive"]
            + self.counters["tcp_connections_opened_active"]
        )


def look(shards: Shards) -> Sample:
    """OSError ENETDOWN if their device is gone."""
    found = shards.connections(limit=MAX_CONNECTIONS)
    alive = [connection for connection in found if connection.state not in OVER]
    return Sample(time.monotonic(), shards.counters(), alive, len(found) < MAX_CONNECTIONS)


@dataclass(frozen=True)
class Rates:
    """Per second, between two looks."""

    packets_in: float
    packets_out: float
    bits_in: float
    bits_out: float


def rates(before: Sample, after: Sample) -> Rates:
    seconds = max(after.at - before.at, 1e-9)

    def rate(name: str) -> float:
        return (after.counters[name] - before.counters[name]) / seconds

    return Rates(
        rate("packets_in"), rate("packets_out"), 8 * rate("bytes_in"), 8 * rate("bytes_out")
    )


def changes(before: Sample, after: Sample) -> list[tuple[str, Connection]]:
    """("opened" or "closed", connection) of all that came or went between two looks.

    Nothing if there are so many that we did not see them all.
    """
    if not (before.complete and after.complete):
        return []
    old = {(one.local, one.remote): one for one in before.connections}
    new = {(one.local, one.remote): one for one in after.connections}
    return [
        *(("closed", one) for key, one in old.items() if key not in new),
        *(("opened", one) for key, one in new.items() if key not in old),
    ]


def end_text(end: tuple[str, int]) -> str:
    """10.3.0.5 port 80"""
    return f"{end[0]} port {end[1]}"
