"""IGMP and MLD as routers and other members write them, and as our reports are read."""

from __future__ import annotations

import struct
from collections import namedtuple
from ipaddress import ip_address

import dpkt

# Groups and senders of a family; where reports go; who asks.
Groups = namedtuple("Groups", "v6 ours group other peer stranger router reports all_hosts routers")
IPV4 = Groups(
    False, "10.3.0.1", "239.1.2.3", "239.9.9.9", "192.0.2.7", "192.0.2.8", "10.99.0.1",
    "224.0.0.22", "224.0.0.1", "224.0.0.2",
)  # fmt: skip
IPV6 = Groups(
    True, "fd03::1", "ff0e::1:2:3", "ff0e::9:9", "2001:db8::7", "2001:db8::8", "fe80::99",
    "ff02::16", "ff02::1", "ff02::2",
)  # fmt: skip
FAMILIES = [IPV4, IPV6]

IS_IN, IS_EX, TO_IN, TO_EX, ALLOW, BLOCK = range(1, 7)
ALERT4 = b"\x94\4\0\0"
ALERT6 = b"\x3a\0\5\2\0\0\1\0"

# What one message says: kind as on the wire; records of version 3 as (kind, group, sources).
Message = namedtuple("Message", "kind source destination group records")


def packed(address):
    return ip_address(address).packed


def ipv4(source, destination, message, ttl=1, alert=ALERT4):
    packet = dpkt.ip.IP(
        src=packed(source), dst=packed(destination), p=2, ttl=ttl, opts=alert,
        hl=5 + len(alert) // 4, data=message,
    )  # fmt: skip
    packet.len = len(packet)
    return bytes(packet)


def ipv6(source, destination, message, ttl=1, alert=ALERT6):
    length = struct.pack("!H", len(alert) + len(message))
    first = b"\x60\0\0\0" + length + bytes([0 if alert else 58, ttl])
    return first + packed(source) + packed(destination) + alert + message


def checksummed(message, pseudo=b""):
    checksum = struct.pack("!H", dpkt.in_cksum(pseudo + message[:2] + b"\0\0" + message[4:]))
    return message[:2] + checksum + message[4:]


def pseudo6(source, destination, message):
    return packed(source) + packed(destination) + struct.pack("!II", len(message), 58)


def message(family, body, destination, source=None, **fields):
    """A packet with an IGMP or MLD message whose checksum is put in."""
    source = source or family.router
    if not family.v6:
        return ipv4(source, destination, checksummed(body), **fields)
    body = checksummed(body, pseudo6(source, destination, body))
    return ipv6(source, destination, body, **fields)


def code(value, bits):
    """The least code that means at least so much (RFC 3376 section 4.1.1)."""
    if value < 1 << (bits + 3):
        return value
    exponent = value.bit_length() - bits - 4
    return 1 << (bits + 3) | exponent << bits | (value >> (exponent + 3)) & ((1 << bits) - 1)


def query(family, group=None, sources=(), *, seconds=10.0, robustness=0, to=None, **fields):
    """A query of IGMPv3 or MLDv2."""
    to = to or group or family.all_hosts
    body = b"".join(map(packed, sources))
    rest = struct.pack("!BBH", robustness, 125, len(sources))
    if family.v6:
        start = struct.pack("!BBHHH", 130, 0, 0, code(int(seconds * 1000), 12), 0)
        return message(family, start + packed(group or "::") + rest + body, to, **fields)
    start = struct.pack("!BBH", 0x11, code(int(seconds * 10), 4), 0)
    return message(family, start + packed(group or "0.0.0.0") + rest + body, to, **fields)


def old_query(family, group=None, *, seconds=10.0, version=2, to=None, **fields):
    """A query of IGMPv1, IGMPv2 or MLDv1."""
    to = to or group or family.all_hosts
    if family.v6:
        start = struct.pack("!BBHHH", 130, 0, 0, int(seconds * 1000), 0)
        return message(family, start + packed(group or "::"), to, **fields)
    start = struct.pack("!BBH", 0x11, int(seconds * 10) if version == 2 else 0, 0)
    return message(family, start + packed(group or "0.0.0.0"), to, **fields)


def old_report(family, group, source):
    """Another member's report."""
    if family.v6:
        return message(family, bytes([131]) + bytes(7) + packed(group), group, source)
    return message(family, bytes([0x16]) + bytes(3) + packed(group), group, source)


def read(packet):
    """A message that we have sent; its headers, alert and checksum are judged."""
    if packet[0] >> 4 == 4:
        assert packet[0] == 0x46
        assert dpkt.in_cksum(packet[:24]) == 0
        assert packet[20:24] == ALERT4
        assert (packet[8], packet[9]) == (1, 2)
        assert struct.unpack_from("!H", packet, 2)[0] == len(packet)
        source, destination = packet[12:16], packet[16:20]
        body = packet[24:]
        assert dpkt.in_cksum(body) == 0
        size, head, start = 4, 8, 4
        v3 = body[0] == 0x22
    else:
        assert (packet[6], packet[7]) == (0, 1)
        assert packet[40:48] == ALERT6
        assert struct.unpack_from("!H", packet, 4)[0] == len(packet) - 40
        source, destination = packet[8:24], packet[24:40]
        body = packet[48:]
        assert dpkt.in_cksum(source + destination + struct.pack("!II", len(body), 58) + body) == 0
        size, head, start = 16, 8, 8
        v3 = body[0] == 143
    records, group = [], None
    if v3:
        records = list(records_in(body[head:], struct.unpack_from("!H", body, 6)[0], size))
    else:
        group = str(ip_address(body[start : start + size]))
        assert len(body) == start + size
    return Message(body[0], str(ip_address(source)), str(ip_address(destination)), group, records)


def records_in(data, number, size):
    for _ in range(number):
        kind, auxiliary, count = struct.unpack_from("!BBH", data)
        assert auxiliary == 0
        group = str(ip_address(data[4 : 4 + size]))
        end = 4 + size * (1 + count)
        assert len(data) >= end
        sources = [str(ip_address(data[at : at + size])) for at in range(4 + size, end, size)]
        yield kind, group, sources
        data = data[end:]
    assert data == b""
