"""The other end of a TCP connection, in a test's hands: segments in, segments out, time set.

A Peer speaks with one Host (tests/native/core). Its words are those of RFC 9293: flags are letters
(S A F R P U E C), sequence numbers of either side are relative to that side's ISN.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field

import dpkt

MS = 1_000_000
SECOND = 1_000_000_000
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "C": 128}


@dataclass
class Segment:
    """What came out of the host."""

    flags: str
    seq: int
    ack: int
    window: int
    data: bytes
    options: dict[str, object] = field(default_factory=dict)
    urgent: int = 0
    raw: bytes = b""


def letters(bits: int) -> str:
    return "".join(name for name, bit in FLAGS.items() if bits & bit)


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_packet(source: str, destination: str, protocol: int, payload: bytes, ttl: int = 64) -> bytes:
    src, dst = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    if src.version == 4:
        header = struct.pack(
            "!BBHHHBBH4s4s",
            0x45,
            0,
            20 + len(payload),
            0,
            0x4000,
            ttl,
            protocol,
            0,
            src.packed,
            dst.packed,
        )
        return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload
    return (
        struct.pack("!IHBB", 6 << 28, len(payload), protocol, ttl)
        + src.packed
        + dst.packed
        + payload
    )


def pseudo(source: str, destination: str, protocol: int, length: int) -> bytes:
    src, dst = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    if src.version == 4:
        return src.packed + dst.packed + struct.pack("!BBH", 0, protocol, length)
    return src.packed + dst.packed + struct.pack("!IHBB", length, 0, 0, protocol)


def option_bytes(options: dict[str, object]) -> bytes:
    out = b""
    for name, value in options.items():
        if name == "mss":
            out += struct.pack("!BBH", 2, 4, value)
        elif name == "wscale":
            out += struct.pack("!BBB", 3, 3, value)
        elif name == "sack_ok":
            out += b"\x04\x02"
        elif name == "ts":
            out += struct.pack("!BBII", 8, 10, *(v & 0xFFFFFFFF for v in value))  # type: ignore[attr-defined]
        elif name == "sack":
            blocks = list(value)  # type: ignore[call-overload]
            out += struct.pack("!BB", 5, 2 + 8 * len(blocks))
            out += b"".join(struct.pack("!II", a & 0xFFFFFFFF, b & 0xFFFFFFFF) for a, b in blocks)
        elif name == "raw":
            out += value  # type: ignore[operator]
        else:
            raise ValueError(name)
    return out + b"\x01" * (-len(out) % 4)


def parse_options(raw: bytes) -> dict[str, object]:
    names = {2: "mss", 3: "wscale", 4: "sack_ok", 5: "sack", 8: "ts"}
    out: dict[str, object] = {}
    for kind, value in dpkt.tcp.parse_opts(raw):
        name = names.get(kind)
        if name == "mss":
            out[name] = struct.unpack("!H", value)[0]
        elif name == "wscale":
            out[name] = value[0]
        elif name == "sack_ok":
            out[name] = True
        elif name == "ts":
            out[name] = struct.unpack("!II", value)
        elif name == "sack":
            words = struct.unpack(f"!{len(value) // 4}I", value)
            out[name] = list(zip(words[::2], words[1::2], strict=True))
    return out


class Peer:
    """One remote endpoint. `iss` is ours, `irs` the host's ISN once it has been seen."""

    def __init__(
        self,
        host,
        *,
        local="10.0.0.1",
        remote="192.0.2.1",
        local_port=80,
        port=40000,
        iss=1_000_000,
        options=None,
    ):
        self.host = host
        self.local, self.local_port = local, local_port
        self.remote, self.port = remote, port
        self.iss = iss
        self.irs: int | None = None
        self.timestamps = False
        self.ts_val = 5000
        self.ts_recent = 0
        self.options = {"mss": 1460} if options is None else options
        self.pending: list[Segment] = []
        self.snd_nxt = 0  # relative to iss
        self.rcv_nxt = 0  # relative to irs

    # --- out of the peer, into the host

    def inject(
        self,
        flags: str,
        seq: int | None = None,
        ack: int | None = None,
        data: bytes = b"",
        window: int = 65535,
        options: dict[str, object] | None = None,
        urgent: int = 0,
        gso_size: int = 0,
        raw_ack: int | None = None,
    ) -> None:
        """Send a segment; seq defaults to snd_nxt, ack to rcv_nxt; agreed timestamps are added."""
        seq = self.snd_nxt if seq is None else seq
        bits = sum(FLAGS[f] for f in flags)
        options = dict(options or {})
        if self.timestamps and "ts" not in options and "R" not in flags:
            options["ts"] = (self.ts_val, self.ts_recent)
        opts = option_bytes({k: v for k, v in options.items() if v is not None})
        ack_number = 0
        if bits & 16:
            ack_number = (self.irs or 0) + (self.rcv_nxt if ack is None else ack)
        if raw_ack is not None:
            ack_number = raw_ack
        segment = (
            struct.pack(
                "!HHIIBBHHH",
                self.port,
                self.local_port,
                (self.iss + seq) & 0xFFFFFFFF,
                ack_number & 0xFFFFFFFF,
                (20 + len(opts)) // 4 << 4,
                bits,
                window,
                0,
                urgent,
            )
            + opts
            + data
        )
        total = checksum(pseudo(self.remote, self.local, 6, len(segment)) + segment)
        segment = segment[:16] + struct.pack("!H", total) + segment[18:]
        self.snd_nxt = max(self.snd_nxt, seq + len(data) + ("S" in flags) + ("F" in flags))
        self.host.input(ip_packet(self.remote, self.local, 6, segment), gso_size)

    # --- out of the host, into the peer

    def collect(self) -> list[Segment]:
        for packet in self.host.take():
            segment = self.parse(packet)
            if segment is not None:
                self.pending.append(segment)
        return self.pending

    def parse(self, packet: bytes) -> Segment | None:
        if packet[0] >> 4 == 4:
            ip = dpkt.ip.IP(packet)
            destination = str(ipaddress.IPv4Address(ip.dst))
        else:
            ip = dpkt.ip6.IP6(packet)
            destination = str(ipaddress.IPv6Address(ip.dst))
        tcp = ip.data
        if (
            not isinstance(tcp, dpkt.tcp.TCP)
            or tcp.dport != self.port
            or destination != self.remote
        ):
            return None
        raw = bytes(packet[20:] if packet[0] >> 4 == 4 else packet[40:])
        assert checksum(pseudo(self.local, self.remote, 6, len(raw)) + raw) == 0, "bad checksum"
        options = parse_options(tcp.opts)
        if tcp.flags & 2:
            self.irs = tcp.seq
        if "ts" in options:
            self.ts_recent = options["ts"][0]  # type: ignore[index]
        base = self.irs or 0
        segment = Segment(
            letters(tcp.flags),
            (tcp.seq - base) & 0xFFFFFFFF,
            (tcp.ack - self.iss) & 0xFFFFFFFF,
            tcp.win,
            bytes(tcp.data),
            options,
            tcp.urp,
            packet,
        )
        if not tcp.flags & 4:
            end = segment.seq + len(segment.data) + bool(tcp.flags & 2) + bool(tcp.flags & 1)
            if end < 1 << 31:
                self.rcv_nxt = max(self.rcv_nxt, end)
        return segment

    def expect(self, flags: str, **fields: object) -> Segment:
        """The next segment that the host sends; its flags (without P) and the given fields must agree."""
        self.collect()
        assert self.pending, f"nothing was sent, expected {flags} {fields}"
        segment = self.pending.pop(0)
        shown = (
            f"got {segment.flags} {segment.seq}:{segment.seq + len(segment.data)} ack {segment.ack}"
        )
        assert set(segment.flags) - {"P"} == set(flags) - {"P"}, f"{shown}, expected {flags}"
        for name, value in fields.items():
            if name == "length":
                assert len(segment.data) == value, f"{shown}, expected length {value}"
            else:
                assert getattr(segment, name) == value, f"{shown}, expected {name}={value}"
        return segment

    def expect_nothing(self) -> None:
        self.collect()
        assert not self.pending, f"unexpected {self.pending[0]}"

    def drop(self) -> list[Segment]:
        """Whatever the host has sent, unseen."""
        self.collect()
        dropped, self.pending = self.pending, []
        return dropped

    # --- common beginnings

    def handshake(self, **fields: object) -> None:
        """Peer opens to a listener on the host, up to ESTABLISHED."""
        self.inject("S", seq=0, options=self.syn_options(), **fields)  # type: ignore[arg-type]
        answer = self.expect("SA", ack=1)
        self.timestamps = "ts" in answer.options
        self.inject("A", **fields)  # type: ignore[arg-type]
        self.expect_nothing()

    def syn_options(self) -> dict[str, object]:
        return dict(self.options)

    def answer_syn(self, **fields: object) -> Segment:
        """The host opens: take its SYN, answer SYN-ACK, take the ACK."""
        syn = self.expect("S")
        self.port_of_host(syn)
        self.inject("SA", seq=0, ack=1, options=self.syn_options(), **fields)  # type: ignore[arg-type]
        self.timestamps = "ts" in self.options and "ts" in syn.options
        self.expect("A", ack=1)
        return syn

    def port_of_host(self, segment: Segment) -> None:
        header = 20 if segment.raw[0] >> 4 == 4 else 40
        self.local_port = struct.unpack("!H", segment.raw[header : header + 2])[0]
