"""Packets as bytes, and back: plain Python, independent of the stack that is being tested.

Called by: build, compare, render, the targets.
RFCs: 791, 8200, 9293 section 3.1, 768, 792, 4443, 1071.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
ACK, SYN, RST, FIN, PSH, URG, ECE, CWR, AE = 0x10, 2, 4, 1, 8, 0x20, 0x40, 0x80, 0x100
TTL = 64

Address = IPv4Address | IPv6Address


def ones_sum(data: bytes) -> int:
    """The ones' complement sum of 16-bit words; 0 and 0xFFFF are one number."""
    if len(data) % 2:
        data += b"\0"
    return int.from_bytes(data, "big") % 0xFFFF


def checksum(data: bytes) -> int:
    return (0xFFFF - ones_sum(data)) % 0xFFFF


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    """Of IPv4 and IPv6 alike: their sums are of the same words."""
    return source + destination + struct.pack("!II", length, protocol)


@dataclass(frozen=True, slots=True)
class Ip:
    """An IP header, as far as scripts say something of it."""

    source: Address
    destination: Address
    protocol: int
    ttl: int = TTL
    tos: int = 0
    flow_label: int = 0

    @property
    def version(self) -> int:
        return self.source.version

    def sum_with(self, body: bytes) -> bytes:
        """What a transport's checksum covers."""
        return (
            pseudo_header(self.source.packed, self.destination.packed, self.protocol, len(body))
            + body
        )


def ip_header(ip: Ip, length: int) -> bytes:
    """length: of what follows."""
    if ip.version == 6:
        word = 6 << 28 | ip.tos << 20 | ip.flow_label
        head = struct.pack("!IHBB", word, length, ip.protocol, ip.ttl)
        return head + ip.source.packed + ip.destination.packed
    addresses = ip.source.packed + ip.destination.packed
    head = struct.pack(
        "!BBHHHBBH", 0x45, ip.tos, (20 + length) & 0xFFFF, 0, 0, ip.ttl, ip.protocol, 0
    )
    total = checksum(head + addresses)
    return head[:10] + total.to_bytes(2, "big") + addresses


def ip_packet(ip: Ip, body: bytes) -> bytes:
    return ip_header(ip, len(body)) + body


@dataclass(frozen=True, slots=True)
class Segment:
    """A TCP segment; flags with AE as 0x100, options as bytes."""

    source_port: int
    destination_port: int
    seq: int
    ack: int
    flags: int
    window: int
    urgent: int = 0
    options: bytes = b""
    payload: bytes = b""
    reserved: int = 0  # the three bits before AE
    checksum_ok: bool = True


def tcp_bytes(ip: Ip, segment: Segment) -> bytes:
    """With its checksum."""
    offset = 5 + len(segment.options) // 4
    body = (
        struct.pack(
            "!HHIIHHHH",
            segment.source_port,
            segment.destination_port,
            segment.seq & 0xFFFFFFFF,
            segment.ack & 0xFFFFFFFF,
            offset << 12 | segment.flags,
            segment.window,
            0,
            segment.urgent,
        )
        + segment.options
        + segment.payload
    )
    return body[:16] + checksum(ip.sum_with(body)).to_bytes(2, "big") + body[18:]


@dataclass(frozen=True, slots=True)
class Datagram:
    source_port: int
    destination_port: int
    payload: bytes
    checksum_ok: bool = True


def udp_bytes(ip: Ip, datagram: Datagram) -> bytes:
    """With its checksum."""
    ports = struct.pack("!HH", datagram.source_port, datagram.destination_port)
    length = (8 + len(datagram.payload)).to_bytes(2, "big")
    body = ports + length + b"\0\0" + datagram.payload
    total = checksum(ip.sum_with(body)) or 0xFFFF
    return ports + length + total.to_bytes(2, "big") + datagram.payload


@dataclass(frozen=True, slots=True)
class Message:
    """An ICMP message, of IPv4 or IPv6."""

    type: int
    code: int
    rest: bytes  # the second word of the header
    body: bytes
    checksum_ok: bool = True


def icmp_bytes(ip: Ip, message: Message) -> bytes:
    """With its checksum, which for ICMPv6 covers a pseudo header (RFC 4443 section 2.3)."""
    data = bytes([message.type, message.code, 0, 0]) + message.rest + message.body
    total = checksum(ip.sum_with(data) if ip.version == 6 else data)
    return data[:2] + total.to_bytes(2, "big") + data[4:]


# Back.


@dataclass(frozen=True, slots=True)
class Live:
    """A packet that was seen, in parts; fault: what is wrong with its IP header, if anything."""

    data: bytes
    ip: Ip
    body: Segment | Datagram | Message | bytes
    fault: str = ""


def decode(data: bytes) -> Live | None:
    """A packet in parts; None if it has no IP header."""
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= 20:
        return decode_v4(data)
    if version == 6 and len(data) >= 40:
        return decode_v6(data)
    return None


def decode_v4(data: bytes) -> Live:
    header_length = (data[0] & 15) * 4
    total = int.from_bytes(data[2:4], "big")
    ip = Ip(IPv4Address(data[12:16]), IPv4Address(data[16:20]), data[9], data[8], data[1])
    fault = ""
    if header_length != 20:
        fault = "the IPv4 header has options"
    elif total != len(data):
        fault = f"the IPv4 header says {total} bytes, the packet has {len(data)}"
    elif ones_sum(data[:20]):
        fault = "the checksum of the IPv4 header is wrong"
    if int.from_bytes(data[6:8], "big") & 0x3FFF:
        return Live(data, ip, data[header_length:], fault or "the packet is a fragment")
    return Live(data, ip, decode_body(ip, data[header_length:]), fault)


def decode_v6(data: bytes) -> Live:
    word, length, protocol, ttl = struct.unpack_from("!IHBB", data)
    ip = Ip(
        IPv6Address(data[8:24]),
        IPv6Address(data[24:40]),
        protocol,
        ttl,
        word >> 20 & 0xFF,
        word & 0xFFFFF,
    )
    fault = ""
    if length != len(data) - 40:
        fault = f"the IPv6 header says {length} bytes, the packet has {len(data) - 40}"
    return Live(data, ip, decode_body(ip, data[40:]), fault)


def decode_body(ip: Ip, data: bytes) -> Segment | Datagram | Message | bytes:
    if ip.protocol == TCP and len(data) >= 20:
        head = struct.unpack_from("!HHIIHHHH", data)
        length = max(head[4] >> 12, 5) * 4
        return Segment(
            source_port=head[0],
            destination_port=head[1],
            seq=head[2],
            ack=head[3],
            flags=head[4] & 0x1FF,
            window=head[5],
            urgent=head[7],
            options=data[20:length],
            payload=data[length:],
            reserved=head[4] >> 9 & 7,
            checksum_ok=ones_sum(ip.sum_with(data)) == 0,
        )
    if ip.protocol == UDP and len(data) >= 8:
        source, destination, _, total = struct.unpack_from("!HHHH", data)
        right = not total or ones_sum(ip.sum_with(data)) == 0
        return Datagram(source, destination, data[8:], right)
    if ip.protocol in (ICMP, ICMPV6) and len(data) >= 8:
        right = ones_sum(ip.sum_with(data) if ip.version == 6 else data) == 0
        return Message(data[0], data[1], data[4:8], data[8:], right)
    return data


def parse_address(text: str) -> Address:
    return ip_address(text)
