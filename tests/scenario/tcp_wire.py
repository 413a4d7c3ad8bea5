"""TCP on the wire for the tests: segments and ICMP errors as bytes, and bytes as segments."""

from __future__ import annotations

import struct
from collections import namedtuple
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address as parsed_address

import dpkt

ip_address = lru_cache(parsed_address)

# Addresses of one family, and the length of its IP header.
Family = namedtuple("Family", "name v6 network ours theirs header")
IPV4 = Family("IPv4", False, "10.0.0.0/24", "10.0.0.1", "192.0.2.1", 20)
IPV6 = Family("IPv6", True, "fd00::/64", "fd00::1", "2001:db8::1", 40)
FAMILIES = [IPV4, IPV6]

FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "C": 128}
MODULUS = 1 << 32
OPTION_NAMES = {2: "mss", 3: "wscale", 4: "sack_ok", 5: "sack", 8: "ts"}


@dataclass
class Segment:
    """What came out of the host, and when; its numbers are relative to the ISNs."""

    flags: str
    seq: int
    ack: int
    window: int
    data: bytes
    options: dict[str, object] = field(default_factory=dict)
    urgent: int = 0
    at: int = 0
    raw: bytes = b""

    @property
    def length(self) -> int:
        return len(self.data)

    @property
    def end(self) -> int:
        return self.seq + len(self.data)

    @property
    def tos(self) -> int:
        if self.raw[0] >> 4 == 4:
            return self.raw[1]
        return int.from_bytes(self.raw[:2], "big") >> 4 & 0xFF

    @property
    def sack(self) -> list[tuple[int, int]]:
        return self.options.get("sack", [])  # type: ignore[return-value]

    @property
    def ts(self) -> tuple[int, int]:
        return self.options["ts"]  # type: ignore[return-value]

    def __str__(self) -> str:
        sack = f" sack {self.sack}" if self.sack else ""
        return f"{self.flags} {self.seq}:{self.end} ack {self.ack} win {self.window}{sack}"


def letters(bits: int) -> str:
    return "".join(name for name, bit in FLAGS.items() if bits & bit)


def checksum(data: bytes) -> int:
    """RFC 1071: 2**16 is 1 modulo 2**16 - 1, so the sum of all words is the number modulo that."""
    number = int.from_bytes(data + b"\0" * (len(data) % 2), "big")
    return ~(number and (number % 0xFFFF or 0xFFFF)) & 0xFFFF


def ip_packet(source: str, destination: str, protocol: int, payload: bytes, tos: int = 0) -> bytes:
    src, dst = ip_address(source), ip_address(destination)
    if src.version == 6:
        head = struct.pack("!IHBB", 6 << 28 | tos << 20, len(payload), protocol, 64)
        return head + src.packed + dst.packed + payload
    head = struct.pack("!BBHHHBBH", 0x45, tos, 20 + len(payload), 0, 0x4000, 64, protocol, 0)
    total = checksum(head + src.packed + dst.packed)
    return head[:10] + struct.pack("!H", total) + src.packed + dst.packed + payload


def pseudo(source: str, destination: str, protocol: int, length: int) -> bytes:
    src, dst = ip_address(source), ip_address(destination)
    if src.version == 4:
        return src.packed + dst.packed + struct.pack("!BBH", 0, protocol, length)
    return src.packed + dst.packed + struct.pack("!IHBB", length, 0, 0, protocol)


def option_bytes(options: dict[str, object]) -> bytes:
    """In the order given; `raw`: bytes as they are; None: left out."""
    out = b""
    for name, value in options.items():
        if value is None:
            continue
        if name == "mss":
            out += struct.pack("!BBH", 2, 4, value)
        elif name == "wscale":
            out += struct.pack("!BBB", 3, 3, value)
        elif name == "sack_ok":
            out += b"\x04\x02"
        elif name == "ts":
            out += struct.pack("!BBII", 8, 10, *(v % MODULUS for v in value))  # type: ignore[attr-defined]
        elif name == "sack":
            words = [edge % MODULUS for block in value for edge in block]  # type: ignore[attr-defined]
            out += struct.pack(f"!BB{len(words)}I", 5, 2 + 4 * len(words), *words)
        elif name == "raw":
            out += value  # type: ignore[operator]
        else:
            raise ValueError(name)
    return out + b"\x01" * (-len(out) % 4)


def parse_options(raw: bytes) -> dict[str, object]:
    out: dict[str, object] = {}
    for kind, value in dpkt.tcp.parse_opts(raw):
        name = OPTION_NAMES.get(kind, str(kind))
        assert name not in out, f"option {name} twice"
        if name == "mss":
            out[name] = struct.unpack("!H", value)[0]
        elif name == "wscale":
            out[name] = value[0]
        elif name == "ts":
            out[name] = struct.unpack("!II", value)
        elif name == "sack":
            words = struct.unpack(f"!{len(value) // 4}I", value)
            out[name] = list(zip(words[::2], words[1::2], strict=True))
        elif kind > 1:
            out[name] = value or True
    return out


def tcp_bytes(
    source: tuple[str, int],
    destination: tuple[str, int],
    seq: int,
    ack: int,
    bits: int,
    window: int,
    options: bytes = b"",
    data: bytes = b"",
    urgent: int = 0,
    offset: int | None = None,
) -> bytes:
    """A segment with its checksum; offset: the header length to claim, in words."""
    words = (20 + len(options)) // 4 if offset is None else offset
    header = struct.pack(
        "!HHIIBBHHH",
        source[1],
        destination[1],
        seq % MODULUS,
        ack % MODULUS,
        words << 4,
        bits,
        window,
        0,
        urgent,
    )
    segment = header + options + data
    total = checksum(pseudo(source[0], destination[0], 6, len(segment)) + segment)
    return segment[:16] + struct.pack("!H", total) + segment[18:]


def parse_packet(packet: bytes) -> tuple[tuple[str, int], tuple[str, int], dpkt.tcp.TCP, bytes]:
    """(source, destination, what dpkt makes of it, TCP header and payload); the sum is judged."""
    v4 = packet[0] >> 4 == 4
    ip = dpkt.ip.IP(packet) if v4 else dpkt.ip6.IP6(packet)
    source, destination = str(ip_address(ip.src)), str(ip_address(ip.dst))
    raw = packet[20:] if v4 else packet[40:]
    if not isinstance(ip.data, dpkt.tcp.TCP):
        return (source, 0), (destination, 0), ip.data, raw
    assert checksum(pseudo(source, destination, 6, len(raw)) + raw) == 0, "bad checksum"
    return (source, ip.data.sport), (destination, ip.data.dport), ip.data, raw


def icmp_error(
    reporter: str, to: str, kind: int, code: int, word: int, quoted: bytes, quote: int = 8
) -> bytes:
    """An error of the family's ICMP about a packet of ours; quote: bytes of TCP header."""
    v6 = ":" in to
    body = struct.pack("!BBHI", kind, code, 0, word) + quoted[: (40 if v6 else 20) + quote]
    protocol = 58 if v6 else 1
    head = pseudo(reporter, to, protocol, len(body)) if v6 else b""
    body = body[:2] + struct.pack("!H", checksum(head + body)) + body[4:]
    return ip_packet(reporter, to, protocol, body)
