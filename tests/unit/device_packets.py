"""Packets for the tests of devices."""

from __future__ import annotations

import dpkt
from native.device import CSUM_PARTIAL, GSO_TCP4, PacketInfo

PACKET = bytes(dpkt.ip.IP(src=b"\n\0\0\1", dst=b"\n\0\0\2", p=1, data=b"x" * 30, len=50))


def train(payload: bytes, size: int) -> PacketInfo:
    """A TCP segment whose payload, lent by somebody else, makes several packets."""
    tcp = dpkt.tcp.TCP(sport=1, dport=2, flags=dpkt.tcp.TH_ACK)
    ip = dpkt.ip.IP(src=b"\n\0\0\1", dst=b"\n\0\0\2", p=6, data=bytes(tcp) + payload)
    ip.len = len(ip)
    headers = bytearray(bytes(ip)[:40])
    pseudo = sum(int.from_bytes(headers[i : i + 2], "big") for i in range(12, 20, 2))
    pseudo += 6 + len(payload) + 20
    headers[36:38] = (pseudo % 65535).to_bytes(2, "big")
    half = len(payload) // 2
    lent = (payload[:half], payload[half:])
    return PacketInfo(bytes(headers), CSUM_PARTIAL, 20, 16, GSO_TCP4, size, lent)
