"""Differences that docs/reference/differences-from-linux.md explains, each by its heading there."""

from __future__ import annotations

from collections.abc import Callable

from differential.dialogue import Call
from differential.play import Moment
from differential.segments import Plan

BARE = (["A"], ["R"], ["RA"], [])


def explanation(moments: list[Moment]) -> str:
    """Why the last moment differs, as a heading of the page; empty: nobody knows."""
    last = moments[-1]
    for heading, applies in EXPLANATIONS.items():
        if applies(last, moments):
            return heading
    return ""


def flags(last: Moment) -> tuple[list[str], list[str]]:
    kernel, virtual = last.kernel.packets, last.virtual.packets
    return [packet.flags for packet in kernel], [packet.flags for packet in virtual]


def same_but_for_options(last: Moment) -> bool:
    both = (last.kernel.packets, last.virtual.packets)
    bare = [[(p.flags, p.seq, p.ack, p.length) for p in each] for each in both]
    return bare[0] == bare[1] and last.kernel.state == last.virtual.state


def in_small_record(last: Moment, _: list[Moment]) -> bool:
    """Linux has nothing left of the connection but its numbers."""
    orphan = last.before == "FIN-WAIT-2" and not last.virtual.state
    small = last.before == "TIME-WAIT" or orphan
    return small and isinstance(last.step, Plan) and all(each in BARE for each in flags(last))


def crossing_syn(last: Moment, _: list[Moment]) -> bool:
    step = last.step
    return (
        last.before == "SYN-SENT"
        and isinstance(step, Plan)
        and "S" in step.flags
        and "A" not in step.flags
        and same_but_for_options(last)
    )


def more_in_syn_ack(last: Moment, _: list[Moment]) -> bool:
    step = last.step
    if last.before != "SYN-SENT" or not isinstance(step, Plan):
        return False
    return {"S", "A"} <= set(step.flags) and ("F" in step.flags or step.length > 0)


def ends_at_window(last: Moment, _: list[Moment]) -> bool:
    step = last.step
    if not isinstance(step, Plan) or step.seq_from != "nxt":
        return False
    length = step.length + ("S" in step.flags) + ("F" in step.flags)
    return length > 0 and step.seq + length == 0 and all(f in BARE for f in flags(last))


def over_the_edge(last: Moment, _: list[Moment]) -> bool:
    """At the right edge of the window, or across it."""
    step = last.step
    if not isinstance(step, Plan) or step.seq_from != "edge":
        return False
    return step.seq <= 0 <= step.seq + step.length + ("F" in step.flags)


def bad_ack_first(last: Moment, _: list[Moment]) -> bool:
    return last.before == "SYN-RECEIVED" and flags(last) == (["R"], ["A"])


def old_ack_with_timestamp(last: Moment, moments: list[Moment]) -> bool:
    old = any(
        isinstance(m.step, Plan) and (m.step.ack_from == "una" or m.step.ack < 0) for m in moments
    )
    return (
        old
        and same_but_for_options(last)
        and all(
            dict(ours.options).get("sack") == dict(theirs.options).get("sack")
            for ours, theirs in zip(last.virtual.packets, last.kernel.packets, strict=True)
        )
    )


def crossing_handshake(last: Moment, moments: list[Moment]) -> bool:
    crossed = any(m.before == "SYN-SENT" and m.virtual.state == "SYN-RECEIVED" for m in moments)
    return crossed and isinstance(last.step, Call) and last.step.name in (
        "close", "error", "shutdown", "recv", "send"
    )  # fmt: skip


def long_reset(last: Moment, _: list[Moment]) -> bool:
    step = last.step
    if not isinstance(step, Plan) or "R" not in step.flags:
        return False
    return step.length > 0 or "S" in step.flags or "F" in step.flags


def fin_beyond_hole(last: Moment, _: list[Moment]) -> bool:
    step = last.step
    if not isinstance(step, Plan) or "F" not in step.flags:
        return False
    return flags(last) == (["A"], ["A"]) and same_but_for_options(last)


def read_after_shutdown(last: Moment, moments: list[Moment]) -> bool:
    shut = [m.step for m in moments if isinstance(m.step, Call) and m.step.name == "shutdown"]
    return (
        isinstance(last.step, Call)
        and last.step.name == "recv"
        and any(call.argument in (0, 2) for call in shut)
    )


EXPLANATIONS: dict[str, Callable[[Moment, list[Moment]], bool]] = {
    "TIME-WAIT, and FIN-WAIT-2 that nobody holds": in_small_record,
    "Options of crossing SYNs": crossing_syn,
    "Text and FIN in a SYN-ACK": more_in_syn_ack,
    "A segment that ends where the window begins": ends_at_window,
    "A segment across the window's edge": over_the_edge,
    "The order of checks in SYN-RECEIVED": bad_ack_first,
    "The timestamp of a segment with an old ACK": old_ack_with_timestamp,
    "Simultaneous opens and the application": crossing_handshake,
    "A RST with text, SYN or FIN": long_reset,
    "A FIN beyond a hole": fin_beyond_hole,
    "Reading after shutdown": read_after_shutdown,
}
