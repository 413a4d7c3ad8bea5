"""Differences that docs/reference/differences-from-linux.md explains, each by its heading there."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from differential.dialogue import Call, Wait
from differential.play import Moment
from differential.segments import IcmpError, Plan

from pystack.tcpinfo import OPTIONS

BARE = (["A"], ["R"], ["RA"], [])


def explanation(moments: list[Moment]) -> str:
    """Why the last moment differs, as a heading of the page; empty: nobody knows."""
    last = moments[-1]
    for heading, applies in EXPLANATIONS.items():
        if applies(last, moments):
            return heading
    return ""


# What is asked about moments


def plans(moments: list[Moment]) -> list[Plan]:
    return [moment.step for moment in moments if isinstance(moment.step, Plan)]


def flags(last: Moment) -> tuple[list[str], list[str]]:
    kernel, virtual = last.kernel.packets, last.virtual.packets
    return [packet.flags for packet in kernel], [packet.flags for packet in virtual]


def are_bare(last: Moment) -> bool:
    """No more than an ACK or a reset of either."""
    return isinstance(last.step, Plan) and all(each in BARE for each in flags(last))


def same_but_for_options(last: Moment) -> bool:
    both = (last.kernel.packets, last.virtual.packets)
    bare = [[(p.flags, p.seq, p.ack, p.length) for p in each] for each in both]
    return bare[0] == bare[1] and last.kernel.state == last.virtual.state


def options_of(last: Moment, name: str) -> tuple[list[object], list[object]]:
    """One option of all packets: the kernel's, pystack's."""
    both = (last.kernel.packets, last.virtual.packets)
    kernel, virtual = ([dict(p.options).get(name) for p in each] for each in both)
    return kernel, virtual


# One function for each heading


def small_record(last: Moment, moments: list[Moment]) -> bool:
    """Linux has nothing left of the connection but its numbers; after a reset, nothing; pystack
    after an abort.
    """
    waited = [m.step for m in moments[:-1] if m.before == "TIME-WAIT"]
    orphan = last.before == "FIN-WAIT-2" and not last.virtual.state
    reset = any(isinstance(step, Plan) and "R" in step.flags for step in waited)
    if last.before == "TIME-WAIT" and reset:
        return True
    return are_bare(last) and (last.before == "TIME-WAIT" or orphan or Call("abort") in waited)


def half_open(last: Moment, moments: list[Moment]) -> bool:
    """Linux has nothing yet of the connection but its numbers."""
    if last.is_only_told:
        return last.before == "SYN-RECEIVED" or last.step == Call("accept")
    been = any(moment.before == "SYN-RECEIVED" for moment in moments)
    told = isinstance(last.step, Plan | Wait) and all(
        e in (*BARE, ["SA"], ["SAE"]) for e in flags(last)
    )
    echo = any(m.before == "SYN-RECEIVED" and flags(m)[1] == ["A"] for m in moments[:-1])
    odd = echo or any(
        "A" not in plan.flags or plan.ack_from == "una" or plan.ack or plan.ts != (0, 0)
        or "S" in plan.flags for plan in plans(moments[2:])
    )  # fmt: skip
    return been and told and odd and not any(m.before == "SYN-SENT" for m in moments)


def crossing(last: Moment, moments: list[Moment]) -> bool:
    """Options that the peer has not offered; and everything in SYN-RECEIVED."""
    return any(
        m.before == "SYN-SENT" and isinstance(m.step, Plan) and "S" in m.step.flags
        and "A" not in m.step.flags for m in moments
    )  # fmt: skip


def more_in_syn_ack(last: Moment, moments: list[Moment]) -> bool:
    step = last.step
    if last.before != "SYN-SENT" or not isinstance(step, Plan):
        return False
    return {"S", "A"} <= set(step.flags) and ("F" in step.flags or step.length > 0)


def left_edge(last: Moment, moments: list[Moment]) -> bool:
    """Now, or earlier: then its ACK field has been heard."""
    nxt = acked = 0
    for moment in moments:
        plan = moment.step
        if isinstance(plan, Plan) and plan.seq_from != "edge":
            start = plan.seq + (nxt if plan.seq_from == "nxt" else 0)
            end = start + plan.length + ("S" in plan.flags) + ("F" in plan.flags)
            heard = plan.seq_from == "nxt" or (plan is last.step and last.before != "SYN-SENT")
            if end > start and end in (nxt, acked) and heard:
                return len(flags(last)[0]) < 2
            if "R" not in plan.flags and start <= nxt < end:
                nxt = end
        acked = max([acked, *(packet.ack for packet in moment.virtual.packets)])
    return False


def right_edge(last: Moment, moments: list[Moment]) -> bool:
    """Now, or earlier: then its ACK field has been heard, or the limit of challenges is used. Where
    the edge is, each host decides.
    """
    if any(plan.seq_from == "edge" and plan.seq <= 0 for plan in plans(moments)):
        return True
    edge = isinstance(last.step, Plan) and last.step.seq_from == "edge"
    return edge and flags(last)[0] == flags(last)[1]


def old_ack_with_timestamp(last: Moment, moments: list[Moment]) -> bool:
    old = any(plan.ack_from == "una" or plan.ack < 0 for plan in plans(moments))
    sacks = options_of(last, "sack")
    return old and not last.is_only_told and same_but_for_options(last) and sacks[0] == sacks[1]


def text_before_ack(last: Moment, moments: list[Moment]) -> bool:
    """The text of a segment whose ACK field nobody can have sent."""
    step = last.step
    if not isinstance(step, Plan) or not step.length or step.ack >= 0:
        return False
    bare = flags(last) == (["A"], ["A"])
    return bare and last.kernel.packets[0].ack > last.virtual.packets[0].ack


def smaller_window(last: Moment, moments: list[Moment]) -> bool:
    """From where a bare segment or a reset is: not from beyond the window."""
    if last.is_only_told and last.told != ["snd_wnd"]:
        return False
    windows = [plan.window for plan in plans(moments) if "A" in plan.flags]
    shrunk = any(0 < later < earlier for earlier, later in pairwise(windows))
    if last.is_only_told:
        return shrunk
    lengths = [[p.length for p in each] for each in (last.kernel.packets, last.virtual.packets)]
    return shrunk and flags(last)[0] == flags(last)[1] and not any(lengths[0] + lengths[1])


def long_reset(last: Moment, moments: list[Moment]) -> bool:
    resets = [plan for plan in plans(moments) if "R" in plan.flags]
    return any(p.length > 0 or "S" in p.flags or "F" in p.flags for p in resets)


def fin_beyond_hole(last: Moment, moments: list[Moment]) -> bool:
    if not any("F" in plan.flags for plan in plans(moments)):
        return False
    kernel, virtual = options_of(last, "sack")
    return kernel != virtual or flags(last)[0] == ["R"]


def forgotten_block(last: Moment, moments: list[Moment]) -> bool:
    """Of five or more: there have been so many segments beyond a hole."""
    beyond = [plan for plan in plans(moments) if plan.length and plan.seq > 0]
    kernel, virtual = options_of(last, "sack")
    return len(beyond) > 4 and same_but_for_options(last) and kernel != virtual


def read_after_shutdown(last: Moment, moments: list[Moment]) -> bool:
    """And what is unread does not reset."""
    calls = [m.step for m in moments if isinstance(m.step, Call)]
    shut = any(call.name == "shutdown" and call.argument in (0, 2) for call in calls)
    if last.is_only_told:
        return shut and set(last.told) <= {"poll of the connection", "SIOCINQ", "SIOCATMARK"}
    return shut and isinstance(last.step, Call) and last.step.name in ("recv", "close")


def text_after_fin(last: Moment, moments: list[Moment]) -> bool:
    step = last.step
    after = last.before in ("CLOSE-WAIT", "LAST-ACK", "CLOSING")
    return after and isinstance(step, Plan) and step.length > 0 and flags(last)[0] == ["R"]


def malformed_options(last: Moment, moments: list[Moment]) -> bool:
    """Dropped by Linux, now or earlier; and the MD5 option."""
    return any(plan.raw or plan.offset is not None for plan in plans(moments))


def amount_at_once(last: Moment, moments: list[Moment]) -> bool:
    """One has sent the beginning of what the other has sent, and stops where a window of either
    kind is not full.
    """
    both = (last.kernel.packets, last.virtual.packets)
    texts = [[(p.seq, p.length) for p in each if p.length] for each in both]
    shorter, longer = sorted(texts, key=len)
    return len(longer) > len(shorter) and longer[: len(shorter)] == shorter


def ack_before_text(last: Moment, moments: list[Moment]) -> bool:
    """A duplicate ACK of its own, though text follows that would carry it."""
    kernel, virtual = last.kernel.packets, last.virtual.packets
    return (
        len(virtual) == len(kernel) + 1
        and not virtual[0].length
        and ([(p.seq, p.length) for p in virtual[1:]] == [(p.seq, p.length) for p in kernel])
    )


def syn_after_reset(last: Moment, moments: list[Moment]) -> bool:
    if last.before != "SYN-SENT" or flags(last)[0][-1:] != ["S"]:
        return False
    wrong = any("R" in plan.flags and plan.ack for plan in plans(moments))
    return wrong or any([packet.flags for packet in m.virtual.packets] == ["R"] for m in moments)


def error_about_nothing(last: Moment, moments: list[Moment]) -> bool:
    """From SND.NXT; now, or earlier, where nothing could be seen of it yet."""
    nxt = at = 0
    for moment in moments:
        if isinstance(moment.step, IcmpError) and at + moment.step.seq == nxt:
            return True
        for packet in moment.virtual.packets:
            at = packet.seq
            if "R" in packet.flags:
                continue
            nxt = max(nxt, at + packet.length + sum(flag in packet.flags for flag in "SF"))
    return False


def window_holds_ack(last: Moment, moments: list[Moment]) -> bool:
    """More than a full segment, one window that can be moved now and one that can't; or text with
    FIN.
    """
    step = last.step
    if not isinstance(step, Plan) or not step.length or last.kernel.state != last.virtual.state:
        return False
    if "F" in step.flags:
        return flags(last) == ([], ["A"])
    both = [zip(m.kernel.packets, m.virtual.packets, strict=False) for m in moments[:-1]]
    windows_differ = any(one.window != other.window for pairs in both for one, other in pairs)
    unread = sum(plan.length for plan in plans(moments[:-1])) > read(moments)
    told = sorted(flags(last)) == [[], ["A"]]
    return told and unread and (windows_differ or edge_moves(moments))


def read(moments: list[Moment]) -> int:
    """Bytes that the application has got: perhaps fewer than it asked for, as at an urgent mark."""
    got = [
        m.kernel.outcome.split(" bytes")[0]
        for m in moments
        if isinstance(m.step, Call) and m.step.name == "recv"
    ]
    return sum(int(count) for count in got if count.isdigit())


def edge_moves(moments: list[Moment]) -> bool:
    """The last moment's ACK, the kernel's or pystack's, offers more than was ever offered."""
    for host in ("kernel", "virtual"):
        edges = [
            [packet.ack + packet.window for packet in getattr(moment, host).packets]
            for moment in moments
        ]
        if edges[-1] and edges[-1][-1] > max(sum(edges[:-1], [0])):
            return True
    return False


def repeated_before_text(last: Moment, moments: list[Moment]) -> bool:
    """The same text goes out, with the ACK of before and of after the text that has come."""
    if not isinstance(last.step, Plan) or not last.step.length:
        return False
    both = (last.kernel.packets, last.virtual.packets)
    texts = [[(p.seq, p.length) for p in each if p.length] for each in both]
    return texts[0] != [] and texts[0] == texts[1] and both[0][0].ack < both[1][0].ack


def timeout_of_closed_window(last: Moment, moments: list[Moment]) -> bool:
    closed = any(plan.window == 0 for plan in plans(moments))
    return (
        closed
        and last.is_only_told
        and {"retransmits", "total_rto", "snd_ssthresh"}.issuperset(last.told)
    )


def told_of_the_end(last: Moment, moments: list[Moment]) -> bool:
    """What was not sent or acknowledged; all counts, of a connection that never was one."""
    ended = last.is_only_told and last.virtual.state == "CLOSED"
    queues = {"SIOCOUTQ", "SIOCOUTQNSD", "notsent_bytes"}
    never = last.before == "SYN-SENT" and isinstance(last.step, Call)
    return ended and (never or queues.issuperset(last.told))


def not_accepted(last: Moment, moments: list[Moment]) -> bool:
    ended = any(isinstance(m.step, Plan) and "R" in m.step.flags for m in moments)
    return ended and ("poll of the listener" in last.told or last.step == Call("accept"))


def urgent_on_its_way(last: Moment, moments: list[Moment]) -> bool:
    polled = last.is_only_told and last.told == ["poll of the connection"]
    return polled and any("U" in plan.flags for plan in plans(moments))


def duplicate_after_text(last: Moment, moments: list[Moment]) -> bool:
    """The first one after a SYN-ACK, too; or one with a smaller window that Linux does not take."""
    names = {"reordering", "reord_seen", "sacked", "delivered", "ca_state", "snd_wnd"}
    told = last.is_only_told and names.issuperset(last.told)
    return told and not int(str(last.virtual.told["options"])) & OPTIONS["TCPI_OPT_SACK"]


EXPLANATIONS: dict[str, Callable[[Moment, list[Moment]], bool]] = {
    "TIME-WAIT, and FIN-WAIT-2 that nobody holds": small_record,
    "Half-open connections": half_open,
    "Simultaneous opens": crossing,
    "Text and FIN in a SYN-ACK": more_in_syn_ack,
    "A segment that ends where the window begins": left_edge,
    "A segment across the window's right edge": right_edge,
    "Malformed options, and MD5": malformed_options,
    "The timestamp of a segment with an old ACK": old_ack_with_timestamp,
    "Text with an ACK that nobody can have sent": text_before_ack,
    "A window that has become smaller": smaller_window,
    "A RST with text, SYN or FIN": long_reset,
    "A FIN beyond a hole": fin_beyond_hole,
    "Many SACK blocks": forgotten_block,
    "Text after the FIN": text_after_fin,
    "ACKs that wait for the window": window_holds_ack,
    "Reading after shutdown": read_after_shutdown,
    "How much goes at once": amount_at_once,
    "A SYN again after a reset": syn_after_reset,
    "Duplicate ACKs next to text": ack_before_text,
    "ICMP errors about bare segments": error_about_nothing,
    "Repeated text next to text": repeated_before_text,
    "Timeouts while the window is closed": timeout_of_closed_window,
    "A connection that ends before it is accepted": not_accepted,
    "What is told of a connection that has ended": told_of_the_end,
    "Urgent text that is on its way": urgent_on_its_way,
    "Duplicate ACKs after text": duplicate_after_text,
}
