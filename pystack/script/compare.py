"""Expected packets against live ones.

Called by: the runner.
RFCs: 9293 section 3.1; 791, 8200.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from pystack.script.connection import MASK, Connection, observe_outbound
from pystack.script.icmp_names import type_and_code
from pystack.script.nodes import Icmp, IpInfo, Packet, Tcp, TcpOption, Udp
from pystack.script.parse_options import EOL, NOP, SACK, TS
from pystack.script.render import ECN_WORDS, flag_text, split_options
from pystack.script.settings import Settings
from pystack.script.wire import ACK, PSH, SYN, Datagram, Live, Message, Segment

PADDING = (NOP, EOL)


@dataclass
class Differences:
    """What is wrong with a packet, and which relaxations it needed."""

    found: list[str] = field(default_factory=list)
    relaxed: set[str] = field(default_factory=set)

    def check(self, name: str, expected: object, seen: object) -> None:
        if expected != seen:
            self.found.append(f"{name} is {seen}, not {expected}")


def compare(
    settings: Settings, packet: Packet, live: Live, connection: Connection, now: int
) -> Differences:
    """Everything but the time; learns ISNs and timestamps on the way. now: ns since the start."""
    body, seen, differences = packet.body, live.body, Differences()
    if isinstance(body, Tcp) and isinstance(seen, Segment):
        observe_outbound(connection, body, seen.seq)
        compare_tcp(settings, body, seen, connection, differences)
        compare_timestamp(settings, body, seen, connection, now, differences)
    elif isinstance(body, Udp) and isinstance(seen, Datagram):
        compare_udp(body, seen, differences)
    elif isinstance(body, Icmp) and isinstance(seen, Message):
        compare_icmp(live.ip.version, body, seen, differences)
    else:
        differences.found.append("it is of another protocol")
    compare_ip(packet.ip, live, connection, differences)
    return differences


def compare_ip(info: IpInfo, live: Live, connection: Connection, differences: Differences) -> None:
    """What a script says of the IP header, and what every header must be."""
    ip = live.ip
    if live.fault:
        differences.found.append(live.fault)
    if info.ecn is not None:
        differences.check("ECN", ECN_WORDS[info.ecn], ECN_WORDS[ip.tos & 3])
    if info.either_ect and ip.tos & 3 not in (1, 2):
        differences.found.append(f"ECN is {ECN_WORDS[ip.tos & 3]}, neither ect0 nor ect1")
    if info.tos is not None:
        differences.check("TOS", f"{info.tos:#04x}", f"{ip.tos:#04x}")
    if info.dscp is not None:
        differences.check("DSCP", info.dscp, ip.tos >> 2)
    if info.ttl:
        differences.check("TTL", info.ttl, ip.ttl)
    if info.flow_label is not None and ip.version == 6:
        compare_label(info.flow_label, ip.flow_label, connection, differences)


def compare_label(script: int, live: int, connection: Connection, differences: Differences) -> None:
    """One name, one label; another name, another label; never 0."""
    if not live:
        differences.found.append("the flow label is 0")
    known = connection.labels.setdefault(script, live)
    if known != live:
        differences.found.append(f"flow label {script:#x} was {known:#x}, and is now {live:#x}")
    for other, label in connection.labels.items():
        if other != script and label == live:
            differences.found.append(f"flow labels {script:#x} and {other:#x} are both {live:#x}")


def compare_tcp(
    settings: Settings,
    packet: Tcp,
    segment: Segment,
    connection: Connection,
    differences: Differences,
) -> None:
    """Every field of a segment, or of the sum of several."""
    syn = bool(segment.flags & SYN)
    if packet.seq is not None:
        expected = packet.seq
        seen = segment.seq if packet.raw_seq else connection.seq_to_script(segment.seq, syn)
        differences.check("the sequence number", expected, seen)
    differences.check("the length", packet.payload, len(segment.payload))
    compare_flags(settings, packet, segment, differences)
    if not segment.flags & ACK:
        differences.check("the acknowledgment number without ACK", packet.ack or 0, segment.ack)
    elif packet.flags & ACK:
        raw = packet.raw_ack
        seen = segment.ack if raw else connection.ack_to_script(segment.ack, syn)
        differences.check("ack", packet.ack or 0, seen)
    if packet.window is not None and packet.window != segment.window:
        if "win" in settings.relax and packet.window and segment.window:
            differences.relaxed.add("win")
        else:
            differences.check("win", packet.window, segment.window)
    differences.check("urg", packet.urgent or 0, segment.urgent)
    differences.check("the reserved bits", 0, segment.reserved)
    if any(segment.payload):
        differences.found.append("the payload is not all zero")
    if not segment.checksum_ok:
        differences.found.append("the TCP checksum is wrong")
    if packet.options is not None:
        compare_options(settings, packet, segment, connection, differences)


def compare_flags(
    settings: Settings, packet: Tcp, segment: Segment, differences: Differences
) -> None:
    if packet.flags == segment.flags:
        return
    only_psh = packet.flags ^ segment.flags == PSH
    if "psh" in settings.relax and only_psh and packet.payload:
        differences.relaxed.add("psh")
        return
    differences.check("flags", flag_text(packet.flags), flag_text(segment.flags))


def wire_of(kind: int, value: bytes) -> bytes:
    if kind in PADDING:
        return bytes([kind])
    return bytes([kind & 0xFF, len(value) + 2]) + value


def compare_options(
    settings: Settings,
    packet: Tcp,
    segment: Segment,
    connection: Connection,
    differences: Differences,
) -> None:
    """One by one in order; relaxed: whatever the order and the padding."""
    expected = list(packet.options or ())
    seen = split_options(segment.options)
    if "options" in settings.relax:
        in_order = [kind for kind, _ in seen] == [one.kind for one in expected]
        expected = sorted((one for one in expected if one.kind not in PADDING), key=by_kind)
        seen = sorted(one for one in seen if one[0] not in PADDING)
        if not in_order:
            differences.relaxed.add("options")
    if len(expected) != len(seen):
        differences.found.append("the TCP options differ")
        return
    for option, (kind, value) in zip(expected, seen, strict=True):
        if not same_option(option, kind, value, packet, connection):
            differences.found.append("the TCP options differ")
            return


def by_kind(option: TcpOption) -> int:
    return option.kind


def same_option(
    option: TcpOption, kind: int, value: bytes, packet: Tcp, connection: Connection
) -> bool:
    if option.kind != kind or len(option.wire) != len(wire_of(kind, value)):
        return False
    if kind == TS:
        return True  # compare_timestamp
    if kind == SACK and not option.raw:
        syn = bool(packet.flags & SYN)
        edges = struct.unpack(f"!{len(value) // 4}I", value)
        return option.numbers == tuple(connection.ack_to_script(edge, syn) for edge in edges)
    return option.wire == wire_of(kind, value)


def compare_timestamp(
    settings: Settings,
    packet: Tcp,
    segment: Segment,
    connection: Connection,
    since_start_ns: int,
    differences: Differences,
) -> None:
    """Remember what an outbound TS val stands for; check it if a tick is given."""
    expected = next((one for one in packet.options or () if one.kind == TS), None)
    live = next((v for k, v in split_options(segment.options) if k == TS and len(v) == 8), None)
    if expected is None or live is None or not expected.numbers:
        return
    script = expected.numbers[0]
    val = int.from_bytes(live[:4], "big")
    connection.ts_live[script] = val
    if connection.ts_first is None:
        connection.ts_first = (script, val)
    if not settings.ts_tick_us:
        return
    first_script, first_live = connection.ts_first
    seen = (val - first_live + first_script) & MASK
    distance = (seen - script) & MASK
    distance = min(distance, MASK + 1 - distance)
    allowed = max(settings.tolerance_ns // 1000, since_start_ns // 8000)
    if distance * settings.ts_tick_us > allowed:
        differences.check("TS val", script, seen)


def compare_udp(packet: Udp, datagram: Datagram, differences: Differences) -> None:
    differences.check("the length", packet.payload, len(datagram.payload))
    if packet.ports is not None:
        seen = (datagram.source_port, datagram.destination_port)
        differences.check("ports", packet.ports, seen)
    if any(datagram.payload):
        differences.found.append("the payload is not all zero")
    if not datagram.checksum_ok:
        differences.found.append("the UDP checksum is wrong")


def compare_icmp(version: int, packet: Icmp, message: Message, differences: Differences) -> None:
    """Type and code only."""
    try:
        expected = type_and_code(version, packet.type, packet.code)
    except KeyError as problem:
        differences.found.append(problem.args[0])
        return
    differences.check("type and code", expected, (message.type, message.code))
    if not message.checksum_ok:
        differences.found.append("the ICMP checksum is wrong")
