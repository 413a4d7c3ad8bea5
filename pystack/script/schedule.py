"""When events are due, and whether they were in time.

Called by: the runner.
RFCs: none.
"""

from __future__ import annotations

from dataclasses import dataclass

from pystack.script.nodes import Event, Packet
from pystack.script.settings import Settings

TIMEOUT = 2 * 10**9  # ns beyond its schedule for which a packet is waited for


def seconds(time_ns: int) -> str:
    return f"{time_ns / 10**9:.6f}"


@dataclass(frozen=True, slots=True)
class Due:
    """An event's schedule, in ns since the start."""

    base: int
    at: int
    until: int  # the same as `at`, unless it is a window
    previous: int  # when the event before was scheduled
    anytime: bool = False

    @property
    def horizon(self) -> int | None:
        """How long to wait for a packet; None: without limit."""
        if self.anytime:
            return None
        return max(self.until, self.base) + TIMEOUT

    def text(self) -> str:
        if self.anytime:
            return "*"
        if self.until != self.at:
            return f"{seconds(self.at)}~{seconds(self.until)}"
        return seconds(self.at)


def is_inbound(event: Event | None) -> bool:
    return event is not None and isinstance(event.action, Packet) and event.action.inbound


class Clock:
    """What the schedule of the next event depends on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.last: Event | None = None
        self.last_at = 0  # its schedule
        self.happened = 0  # when the last packet was sent that a `*` has waited for

    def due(self, event: Event, now: int) -> Due:
        """now: when the event is reached."""
        base = now
        if is_inbound(self.last) and is_inbound(event):
            base = self.last_at
        when = event.when
        if when.anytime:
            return Due(base, base, base, self.last_at, anytime=True)
        offset = base if when.relative else 0
        until = when.at if when.until is None else when.until
        return Due(base, offset + when.at, offset + until, self.last_at)

    def done(self, event: Event, due: Due) -> None:
        """An event at any time was scheduled when it happened."""
        self.last = event
        self.last_at = self.happened if due.anytime else due.at


def late(settings: Settings, due: Due, time: int) -> str:
    """Why a packet's time is wrong; "" if it is right."""
    if due.anytime:
        return ""
    early_by = due.at - time
    late_by = time - due.until
    if early_by > settings.tolerance(due.at - due.previous):
        return f"the packet is {early_by / 10**9:.6f} s too early"
    if late_by > settings.tolerance(due.until - due.previous):
        return f"the packet is {late_by / 10**9:.6f} s too late"
    return ""
