"""One line for several packets: scripts are written for hosts that segment in the device.

Called by: the runner.
RFCs: none.
"""

from __future__ import annotations

from dataclasses import replace

from pystack.script.wire import CWR, FIN, PSH, Live, Segment

MAY_DIFFER = FIN | PSH | CWR


class Aggregate:
    """Segments that follow each other, added up."""

    def __init__(self, first: Live, wanted: int) -> None:
        """wanted: the length that the script expects."""
        assert isinstance(first.body, Segment)
        self.first = first
        self.last = first
        self.segments: list[Segment] = [first.body]
        self.wanted = wanted
        self.fault = first.fault
        self.length = len(first.body.payload)

    @property
    def wants_more(self) -> bool:
        return 0 < self.length < self.wanted

    def add(self, live: Live) -> str:
        """Take the next packet; what is wrong with it, or ""."""
        body = live.body
        first, last = self.segments[0], self.segments[-1]
        if not isinstance(body, Segment):
            return "another protocol's packet among the segments of one line"
        length = len(body.payload)
        if body.seq != (last.seq + len(last.payload)) & 0xFFFFFFFF:
            return "the next segment does not continue the one before"
        if len(last.payload) != len(first.payload):
            return "a segment that is not the last has another length than the first"
        if self.length + length > self.wanted:
            return f"{self.length + length} bytes in segments, {self.wanted} in the script's line"
        if not length:
            return "a segment without text among those of one line"
        for name, one, other in (
            ("flags", first.flags & ~MAY_DIFFER, body.flags & ~MAY_DIFFER),
            ("ack", first.ack, body.ack),
            ("win", first.window, body.window),
            ("urg", first.urgent, body.urgent),
            ("the length of options", len(first.options), len(body.options)),
        ):
            if one != other:
                return f"{name} is not the same in all segments of one line"
        self.segments.append(body)
        self.last = live
        self.length += length
        self.fault = self.fault or live.fault
        return ""

    def whole(self) -> Live:
        """What a device that segments would have been given."""
        if len(self.segments) == 1:
            return self.first
        first, last = self.segments[0], self.segments[-1]
        body = replace(
            last,
            seq=first.seq,
            flags=(last.flags & ~CWR) | (first.flags & CWR),
            payload=b"".join(one.payload for one in self.segments),
            checksum_ok=all(one.checksum_ok for one in self.segments),
        )
        return replace(self.last, body=body, fault=self.fault)
