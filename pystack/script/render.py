"""Live packets as a script would write them.

Called by: compare, for what was seen; report, for the last packets.
RFCs: none.
"""

from __future__ import annotations

from pystack.script.connection import Connection
from pystack.script.icmp_names import names
from pystack.script.parse_options import (
    ACC_ECN_0,
    ACC_ECN_1,
    EOL,
    EXP,
    FO,
    FO_MAGIC,
    MD5,
    MSS,
    NOP,
    SACK,
    SACK_OK,
    TS,
    WSCALE,
)
from pystack.script.wire import ACK, SYN, Datagram, Live, Message, Segment

LETTERS = ((1, "F"), (2, "S"), (4, "R"), (8, "P"), (0x20, "U"), (0x40, "E"), (0x80, "W"))
ECN_WORDS = ("noecn", "ect1", "ect0", "ce")


def split_options(data: bytes) -> list[tuple[int, bytes]]:
    """(kind, value) of each option; a malformed rest is one of kind -1."""
    found = []
    at = 0
    while at < len(data):
        kind = data[at]
        if kind in (EOL, NOP):
            found.append((kind, b""))
            at += 1
            continue
        length = data[at + 1] if at + 1 < len(data) else 0
        if length < 2 or at + length > len(data):
            found.append((-1, data[at:]))
            break
        found.append((kind, data[at + 2 : at + length]))
        at += length
    return found


def flag_text(flags: int) -> str:
    text = "".join(letter for bit, letter in LETTERS if flags & bit)
    text += "A" if flags & 0x100 else ""
    return text + ("." if flags & ACK else "") or "-"


def words(data: bytes, size: int = 4) -> list[int]:
    return [int.from_bytes(data[at : at + size], "big") for at in range(0, len(data), size)]


def option_text(kind: int, value: bytes, connection: Connection, flags: int, inbound: bool) -> str:
    syn = bool(flags & SYN)
    if kind in (NOP, EOL):
        return "nop" if kind == NOP else "eol"
    if kind == MSS and len(value) == 2:
        return f"mss {words(value, 2)[0]}"
    if kind == WSCALE and len(value) == 1:
        return f"wscale {value[0]}"
    if kind == SACK_OK and not value:
        return "sackOK"
    if kind == SACK and len(value) % 8 == 0:
        edges = words(value)
        if inbound:
            script = [connection.seq_to_script(edge, syn) for edge in edges]
        else:
            script = [connection.ack_to_script(edge, syn) for edge in edges]
        pairs = zip(script[::2], script[1::2], strict=True)
        return " ".join(["sack", *(f"{left}:{right}" for left, right in pairs)])
    if kind == TS and len(value) == 8:
        val, ecr = words(value)
        if connection.ts_first is not None:
            script_first, live_first = connection.ts_first
            shift = script_first - live_first
            if inbound and flags & ACK:
                ecr = (ecr + shift) & 0xFFFFFFFF
            elif not inbound:
                val = (val + shift) & 0xFFFFFFFF
        return f"TS val {val} ecr {ecr}"
    if kind == EXP and words(value[:2], 2) == [FO_MAGIC]:
        return f"FOEXP {value[2:].hex()}".strip()
    if kind in (ACC_ECN_0, ACC_ECN_1) and len(value) % 3 == 0:
        order = ("e0b", "ceb", "e1b") if kind == ACC_ECN_0 else ("e1b", "ceb", "e0b")
        counters = zip(order, words(value, 3), strict=False)
        return " ".join(["ECN", *(f"{name} {count}" for name, count in counters)])
    if kind in (MD5, FO):
        return f"{'md5' if kind == MD5 else 'FO'} {value.hex()}".strip()
    return f"malformed {value.hex()}" if kind < 0 else f"option {kind} {value.hex()}".strip()


def tcp_text(segment: Segment, connection: Connection, inbound: bool) -> str:
    syn = bool(segment.flags & SYN)
    if inbound:
        seq = segment.seq if syn else (segment.seq - connection.remote_isn) & 0xFFFFFFFF
        ack = connection.seq_to_script(segment.ack, syn)
    else:
        seq = connection.seq_to_script(segment.seq, syn)
        ack = connection.ack_to_script(segment.ack, syn)
    length = len(segment.payload)
    text = f"{flag_text(segment.flags)} {seq}:{(seq + length) & 0xFFFFFFFF}({length})"
    if segment.flags & ACK:
        text += f" ack {ack}"
    elif segment.ack:
        text += f" ack {segment.ack}"
    text += f" win {segment.window}"
    if segment.urgent:
        text += f" urg {segment.urgent}"
    options = [
        option_text(kind, value, connection, segment.flags, inbound)
        for kind, value in split_options(segment.options)
    ]
    return f"{text} <{','.join(options)}>" if options else text


def live_text(live: Live, connection: Connection | None, inbound: bool, ports: bool = False) -> str:
    """A whole packet; ports: of another connection than the script's."""
    connection = connection or Connection()
    body = live.body
    ecn = live.ip.tos & 3
    text = f"{'<' if inbound else '>'} "
    if live.ip.tos & ~3:
        text += f"[tos {live.ip.tos:#04x}] "
    elif ecn:
        text += f"[{ECN_WORDS[ecn]}] "
    if isinstance(body, Segment):
        if ports:
            text += f"{body.source_port} > {body.destination_port} "
        return text + tcp_text(body, connection, inbound)
    if isinstance(body, Datagram):
        return f"{text}udp {body.source_port} > {body.destination_port} ({len(body.payload)})"
    if isinstance(body, Message):
        return f"{text}icmp {names(live.ip.version, body.type, body.code)}"
    return f"{text}protocol {live.ip.protocol} ({len(body)})"
