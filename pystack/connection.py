"""Connection: what Stack.connections tells of each.

Called by: stack, when first asked.
RFCs: none of its own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Connection:
    """A TCP connection as it was when it was looked at."""

    local: tuple[str, int]
    remote: tuple[str, int]
    state: str  # by the name that RFC 9293 gives it
    held: bool  # by a socket or a service; otherwise it is on its own way to its end
    receive_queue: int  # bytes that nobody has read yet
    send_queue: int  # bytes that the peer has not acknowledged yet
    cwnd: int  # bytes
    srtt_ns: int  # 0: not measured yet
