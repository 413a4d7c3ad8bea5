"""Segments of a dialogue: as they are planned, relative to what was seen; and as they came out.

A dialogue is played to two hosts at once. Each has its own ISN and clock, so a plan says "one byte
beyond what you have acknowledged", and a View of each host turns that into bytes. What a host
answers is brought into the same relative terms, so that two hosts that behave alike say the same.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, fields

from scenario.peer import ERRORS
from scenario.tcp_wire import (
    FLAGS,
    MODULUS,
    checksum,
    icmp_error,
    ip_packet,
    letters,
    tcp_bytes,
)

ISS = 1_000_000
IRS_UNSEEN = 7_000_000
MSS = 1000
ROUTER = "10.9.0.77", "fd09::77"
TCP, ICMP, ICMPV6 = 6, 1, 58
NAMES = {0: "eol", 1: "nop", 2: "mss", 3: "wscale", 4: "sackOK", 5: "sack", 8: "ts"}
FORMS = {2: ("!H", 4), 3: ("!B", 3), 4: ("", 2), 8: ("!II", 10)}


@dataclass(frozen=True)
class Plan:
    """A segment to send. `seq` counts from SND.NXT of the peer (the player), or from the right edge
    of the host's window; `ack` from what the host has sent, or from what it knows to be
    acknowledged.
    """

    flags: str = "A"
    seq: int = 0
    seq_from: str = "nxt"  # nxt, edge, iss
    ack: int = 0
    ack_from: str = "nxt"  # nxt, una
    length: int = 0
    window: int = 65535
    ts: tuple[int, int] | None = (0, 0)  # off the peer's clock, off the host's; None: left out
    sack: tuple[tuple[int, int], ...] = ()  # from what is acknowledged
    raw: bytes = b""  # options as they are
    urgent: int = 0
    offset: int | None = None  # what the header claims, in words
    ecn: int = 0  # of the IP header

    def __str__(self) -> str:
        return ", ".join(
            [f"> {self.flags or '-'}"]
            + [
                f"{each.name}={getattr(self, each.name)!r}"
                for each in fields(self)[1:]
                if getattr(self, each.name) != each.default
            ]
        )


@dataclass(frozen=True)
class IcmpError:
    """An ICMP error of a router about the host's last segment, or one `seq` beside it."""

    name: str
    seq: int = 0

    def __str__(self) -> str:
        return f"> icmp {self.name}" + (f", seq={self.seq}" if self.seq else "")


@dataclass(frozen=True)
class Seen:
    """A packet of the host, in relative terms; `text` when it is not a TCP segment.

    Of windows it is compared whether they are closed: how large one is depends on what Linux thinks
    that its buffers cost.
    """

    flags: str = ""
    seq: int = 0
    length: int = 0
    ack: int = 0
    window: int = field(default=0, compare=False)
    options: tuple[tuple[str, object], ...] = ()
    urgent: int = 0
    ecn: int = 0
    text: str = ""
    closed: bool = False

    def __str__(self) -> str:
        if self.text:
            return self.text
        out = f"< {self.flags} {self.seq}:{self.seq + self.length}"
        out += f" ack {self.ack}" if "A" in self.flags else ""
        out += f" win {self.window}"
        out += f" urg {self.urgent}" if self.urgent else ""
        out += f" ecn {self.ecn}" if self.ecn else ""
        if self.options:
            shown = [name if value is None else f"{name} {value}" for name, value in self.options]
            out += f" <{', '.join(shown)}>"
        return out


def signed(number: int) -> int:
    """Relative numbers are shown as the nearest of the numbers that they could be."""
    number %= MODULUS
    return number - MODULUS if number >= MODULUS // 2 else number


class View:
    """What the peer knows of one host."""

    def __init__(self, peer: tuple[str, int], host: tuple[str, int], options: frozenset[str]):
        self.peer, self.host = peer, host
        self.options = options  # what the peer's SYN offers: mss, wscale, sack, ts
        self.irs: int | None = None
        self.snd_nxt = 0  # relative to ISS
        self.host_nxt = 0  # relative to irs
        self.una = 0
        self.host_ack = 0  # relative to ISS
        self.edge = 65535
        self.scale = 0
        self.host_clock = 0
        self.clock = 5000
        self.timestamps = False
        self.last = b""  # segment of the host

    # Out of the peer

    def build(self, plan: Plan) -> bytes:
        base = {"nxt": self.snd_nxt, "edge": self.edge, "iss": 0}[plan.seq_from]
        seq = base + plan.seq
        ack = (self.host_nxt if plan.ack_from == "nxt" else self.una) + plan.ack
        bits = sum(FLAGS[flag] for flag in plan.flags)
        irs = IRS_UNSEEN if self.irs is None else self.irs
        segment = tcp_bytes(
            self.peer, self.host, ISS + seq, irs + ack if "A" in plan.flags else 0, bits,
            plan.window, self.option_bytes(plan, irs), stream(seq, plan.length), plan.urgent,
            plan.offset,
        )  # fmt: skip
        self.note_sent(plan, seq, ack)
        packet = bytearray(ip_packet(self.peer[0], self.host[0], TCP, segment))
        if plan.ecn:
            mark(packet, plan.ecn)
        return bytes(packet)

    def build_error(self, error: IcmpError) -> bytes:
        """Nothing at all if the host has not sent anything yet: a packet that nobody takes."""
        if not self.last:
            return ip_packet(self.peer[0], self.host[0], TCP, b"")
        quoted = bytearray(self.last)
        at, _, _ = head(self.last)
        (seq,) = struct.unpack_from("!I", quoted, at + 4)
        struct.pack_into("!I", quoted, at + 4, (seq + error.seq) % MODULUS)
        kind, code = ERRORS[error.name][":" in self.host[0]]
        return icmp_error(ROUTER[":" in self.host[0]], self.host[0], kind, code, 0, bytes(quoted))

    def note_sent(self, plan: Plan, seq: int, ack: int) -> None:
        """Whatever follows on what was sent is the new SND.NXT."""
        end = seq + plan.length + ("S" in plan.flags) + ("F" in plan.flags)
        if "R" not in plan.flags and seq <= self.snd_nxt < end:
            self.snd_nxt = end
        if "A" in plan.flags and self.una < ack <= self.host_nxt:
            self.una = ack

    def option_bytes(self, plan: Plan, irs: int) -> bytes:
        out = plan.raw
        if "S" in plan.flags:
            out += struct.pack("!BBH", 2, 4, MSS) if "mss" in self.options else b""
            out += b"\x04\x02" if "sack" in self.options else b""
            out += b"\x03\x03\x07" if "wscale" in self.options else b""
        if plan.ts is not None and (
            self.timestamps or ("S" in plan.flags and "ts" in self.options)
        ):
            val, ecr = self.clock + plan.ts[0], self.host_clock + plan.ts[1]
            out += struct.pack("!BBII", 8, 10, val % MODULUS, ecr % MODULUS)
        if plan.sack:
            edges = [(irs + self.una + edge) % MODULUS for block in plan.sack for edge in block]
            out += struct.pack(f"!BB{len(edges)}I", 5, 2 + 4 * len(edges), *edges)
        out = out[:40]
        return out + b"\x01" * (-len(out) % 4)

    # Out of the host

    def is_mine(self, packet: bytes) -> bool:
        """Is it of this dialogue? ICMP is, if it is to the peer."""
        at, protocol, destination = head(packet)
        if destination != self.peer[0]:
            return False
        if protocol == TCP:
            ports = struct.unpack_from("!HH", packet, at)
            return ports == (self.host[1], self.peer[1])
        return protocol in (ICMP, ICMPV6)

    def read(self, packet: bytes) -> Seen:
        at, protocol, _ = head(packet)
        if protocol != TCP:
            return Seen(text=f"< icmp {packet[at]} {packet[at + 1]}")
        seq, ack, offset, bits, window, _, urgent = struct.unpack_from("!IIBBHHH", packet, at + 4)
        self.last = packet
        # How text is pushed within a write tells of buffers only; scenario tests look at the flag.
        flags = letters(bits & ~FLAGS["P"])
        if "S" in flags:
            self.irs = seq
        elif "R" in flags and seq == 0 and self.irs is not None:
            seq = self.irs  # a reset that has no ACK to go by begins at zero
        irs = IRS_UNSEEN if self.irs is None else self.irs
        start = at + (offset >> 4) * 4
        options = self.read_options(packet[at + 20 : start], "S" in flags)
        data = packet[start:]
        seen = Seen(
            flags, signed(seq - irs), len(data), signed(ack - ISS) if "A" in flags else 0,
            window << (0 if "S" in flags or "R" in flags else self.scale), options,
            urgent if "U" in flags else 0, ecn_of(packet), closed=window == 0,
        )  # fmt: skip
        self.note_seen(seen, data)
        return seen

    def note_seen(self, seen: Seen, data: bytes) -> None:
        assert data == stream(seen.seq, seen.length), "the host's stream has changed"
        if "R" in seen.flags:
            return
        end = seen.seq + seen.length + ("S" in seen.flags) + ("F" in seen.flags)
        self.host_nxt = max(self.host_nxt, end)
        if "A" in seen.flags:
            self.host_ack = seen.ack
            self.edge = seen.ack + seen.window
        if "S" in seen.flags:
            offered = dict(seen.options)
            self.timestamps = "ts" in offered and "ts" in self.options
            both = "wscale" in offered and "wscale" in self.options
            self.scale = int(offered["wscale"]) if both else 0  # type: ignore[call-overload]

    def read_options(self, raw: bytes, syn: bool) -> tuple[tuple[str, object], ...]:
        out: list[tuple[str, object]] = []
        at = 0
        while at < len(raw):
            kind = raw[at]
            length = 1 if kind < 2 else raw[at + 1]
            body = raw[at + 2 : at + length]
            at += length
            value: object = None
            if kind == 5:
                edges = struct.unpack(f"!{len(body) // 4}I", body)
                relative = [signed(edge - ISS) for edge in edges]
                value = tuple(zip(relative[::2], relative[1::2], strict=True))
            elif kind == 8:
                self.host_clock, echo = struct.unpack("!II", body)
                value = f"ecr {signed(echo - 5000) if echo else 0}"
            elif kind in FORMS and body:
                value = int.from_bytes(body, "big")
            elif kind > 5:
                value = body.hex()
            out.append((NAMES.get(kind, str(kind)), value))
        return tuple(out)


def stream(start: int, length: int) -> bytes:
    """What either side sends at a place of its stream."""
    return bytes((start + i) % 251 for i in range(length))


def head(packet: bytes) -> tuple[int, int, str]:
    """Where the transport begins, its protocol, and the destination."""
    import ipaddress

    if packet[0] >> 4 == 4:
        return (packet[0] & 15) * 4, packet[9], str(ipaddress.IPv4Address(packet[16:20]))
    return 40, packet[6], str(ipaddress.IPv6Address(packet[24:40]))


def ecn_of(packet: bytes) -> int:
    return packet[1] & 3 if packet[0] >> 4 == 4 else packet[1] >> 4 & 3


def mark(packet: bytearray, ecn: int) -> None:
    if packet[0] >> 4 == 6:
        packet[1] |= ecn << 4
        return
    packet[1] |= ecn
    packet[10:12] = b"\0\0"
    packet[10:12] = struct.pack("!H", checksum(bytes(packet[:20])))
