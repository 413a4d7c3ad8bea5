"""What `serve` tells about its subnet, and how: lines of text, or one JSON object a line.

Called by: serve; live, for a terminal.
RFCs: none.
"""

from __future__ import annotations

import json
import select
import sys
from dataclasses import dataclass, field
from typing import Any, TextIO

from pystack.cli import signals
from pystack.cli.sample import Sample, changes, end_text, rates
from pystack.cli.subnet import Subnet

QUIET_SECONDS = 10  # between two lines about traffic


def with_unit(number: float, unit: str) -> str:
    """1234567, "bit/s" -> 1.23 Mbit/s"""
    prefixes = ["", "k", "M", "G", "T"]
    while number >= 1000 and len(prefixes) > 1:
        number /= 1000
        del prefixes[0]
    return f"{number:.3g} {prefixes[0]}{unit}"


def counted(number: int, what: str) -> str:
    """1, "ping" -> 1 ping; 2000, "ping" -> 2,000 pings"""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def ready_text(subnet: Subnet) -> str:
    return f"pystack: {subnet.answers} on {subnet.device.name}; try: ping {subnet.example}"


def traffic_text(before: Sample, after: Sample) -> str:
    """What came since, in one line."""
    rate = rates(before, after)
    parts = [
        f"in {with_unit(rate.packets_in, 'packets/s')} {with_unit(rate.bits_in, 'bit/s')}",
        f"out {with_unit(rate.packets_out, 'packets/s')} {with_unit(rate.bits_out, 'bit/s')}",
        counted(after.pings - before.pings, "ping"),
        counted(after.opened - before.opened, "new connection"),
        f"{len(after.connections):,} open",
    ]
    dropped = sum(after.drops.values()) - sum(before.drops.values())
    if dropped:
        parts.append(f"{dropped:,} dropped")
    return "pystack: " + ", ".join(parts)


def summary_text(first: Sample, last: Sample) -> str:
    """All that happened, in one line."""
    parts = [
        f"{counted(last.counters['packets_in'], 'packet')} in",
        f"{last.counters['packets_out']:,} out",
        counted(last.pings, "ping"),
        counted(last.datagrams, "datagram"),
        counted(last.opened, "connection"),
    ]
    if last.drops:
        reasons = "; ".join(f"{reason} {number:,}" for reason, number in last.drops.items())
        parts.append(f"dropped {sum(last.drops.values()):,} ({reasons})")
    return f"pystack: ended after {last.at - first.at:.1f} s: {', '.join(parts)}"


@dataclass
class Output:
    """A stream that is given whole lines."""

    stream: TextIO

    def line(self, text: str) -> None:
        """Write a line. Stop ends the wait for a reader that does not read.

        Once that has happened, nothing waits for such a reader any more.
        """
        with signals.interruptible():
            _, writable, _ = select.select([], [self.stream], [], 0 if signals.asked_by else None)
        if writable:
            self.stream.write(text + "\n")
            self.stream.flush()

    def object(self, event: str, **fields: Any) -> None:
        self.line(json.dumps({"event": event, **fields}, separators=(",", ":")))


@dataclass
class Report:
    """Nothing at all (-q); the base of the others."""

    first: Sample
    last: Sample = field(init=False)

    def __post_init__(self) -> None:
        self.last = self.first

    def ready(self, subnet: Subnet) -> None:
        """Say that it answers."""

    def sample(self, now: Sample) -> None:
        """Tell what happened since the last one; called once a second."""
        self.last = now

    def summary(self) -> None:
        """Say what happened in all, when everything is gone."""

    def close(self) -> None:
        """Give the terminal back."""


@dataclass
class Text(Report):
    """Lines, as for a file: one when traffic came, seldom; with -v each connection."""

    output: Output = field(default_factory=lambda: Output(sys.stdout))
    verbose: bool = False
    told: Sample = field(init=False)

    def ready(self, subnet: Subnet) -> None:
        self.told = self.first
        self.output.line(ready_text(subnet))
        if self.verbose:
            services = " ".join(map(str, subnet.options.services)) or "none"
            self.output.line(f"pystack: services: {services}")
            if subnet.options.workers > 1:
                self.output.line(f"pystack: workers: {subnet.options.workers}")

    def sample(self, now: Sample) -> None:
        if self.verbose:
            for state, connection in changes(self.last, now):
                here, there = end_text(connection.local), end_text(connection.remote)
                self.output.line(f"pystack: {state} {here} from {there}")
        self.last = now
        seldom = now.at - self.told.at >= (1 if self.verbose else QUIET_SECONDS)
        if seldom and now.counters["packets_in"] != self.told.counters["packets_in"]:
            self.output.line(traffic_text(self.told, now))
            self.told = now

    def summary(self) -> None:
        self.output.line(summary_text(self.first, self.last))


@dataclass
class Json(Report):
    """Objects on stdout for programs; what is for people goes to stderr."""

    output: Output = field(default_factory=lambda: Output(sys.stdout))
    people: Output = field(default_factory=lambda: Output(sys.stderr))
    quiet: bool = False

    def ready(self, subnet: Subnet) -> None:
        self.output.object(
            "ready",
            device=subnet.device.name,
            networks=[str(network) for network in subnet.options.networks],
            host_addresses=[str(address) for address in subnet.host_addresses],
            mtu=subnet.device.mtu,
            mirror=subnet.options.mirror,
            workers=subnet.options.workers,
            services=[str(service) for service in subnet.options.services],
            example=str(subnet.example),
        )
        if not self.quiet:
            self.people.line(ready_text(subnet))

    def sample(self, now: Sample) -> None:
        for state, connection in changes(self.last, now):
            ends = {"local": connection.local, "remote": connection.remote}
            self.output.object("connection", state=state, **ends)
        rate = rates(self.last, now)
        self.output.object(
            "stats",
            seconds=round(now.at - self.first.at, 3),
            packets_in_per_second=round(rate.packets_in, 1),
            packets_out_per_second=round(rate.packets_out, 1),
            bits_in_per_second=round(rate.bits_in),
            bits_out_per_second=round(rate.bits_out),
            connections=len(now.connections),
            counters=nonzero(now.counters),
        )
        self.last = now

    def summary(self) -> None:
        self.output.object(
            "summary",
            seconds=round(self.last.at - self.first.at, 3),
            pings=self.last.pings,
            datagrams=self.last.datagrams,
            connections=self.last.opened,
            counters=nonzero(self.last.counters),
        )
        if not self.quiet:
            self.people.line(summary_text(self.first, self.last))


def nonzero(counters: dict[str, int]) -> dict[str, int]:
    return {name: number for name, number in counters.items() if number}
