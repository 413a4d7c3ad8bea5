"""What the peers of test_udp_*.py put on the wire, and how dpkt reads what we send them."""

from __future__ import annotations

from collections import namedtuple
from contextlib import contextmanager
from ipaddress import ip_address

import dpkt
import pytest
from native import udp

Udp = namedtuple("Udp", "source port destination destination_port data ttl tos")
Icmp = namedtuple("Icmp", "source destination type code data")

# Addresses of one family: three of ours, one of the other network, two of peers.
Family = namedtuple("Family", "v6 any ours second third far peer stranger")
IPV4 = Family(
    False, "0.0.0.0", "10.3.0.1", "10.3.0.2", "10.3.0.3", "10.4.0.1", "192.0.2.7", "192.0.2.8"
)
IPV6 = Family(True, "::", "fd03::1", "fd03::2", "fd03::3", "fd04::1", "2001:db8::7", "2001:db8::8")
FAMILIES = [IPV4, IPV6]


@contextmanager
def running_host(**options):
    """A host of four networks that at its end must have given every packet back."""
    host = udp.Host("10.3.0.0/24", "10.4.0.0/30", "fd03::/64", "fd04::/126", **options)
    yield host
    assert host.close() == 0


@contextmanager
def refused(number):
    """The call fails with just this errno."""
    with pytest.raises(OSError) as caught:
        yield
    assert caught.value.errno == number, caught.value


def family_name(family):
    return "IPv6" if family.v6 else "IPv4"


def ip_packet(source, destination, protocol, payload, *, ttl=64, tos=0):
    """An IP packet as dpkt builds it, checksums included where the payload says 0."""
    source, destination = ip_address(source), ip_address(destination)
    if source.version == 4:
        packet = dpkt.ip.IP(
            src=source.packed, dst=destination.packed, p=protocol, ttl=ttl, tos=tos, data=payload
        )
        packet.len = len(packet)
        return bytes(packet)
    packet = dpkt.ip6.IP6(
        src=source.packed, dst=destination.packed, nxt=protocol, hlim=ttl, data=payload
    )
    packet.fc = tos
    packet.plen = len(payload)
    return bytes(packet)


def udp_packet(source, port, destination, destination_port, data=b"", **fields):
    """A UDP datagram; length and checksum as they should be."""
    header = dpkt.udp.UDP(sport=port, dport=destination_port, data=data)
    header.ulen = len(header)
    return ip_packet(source, destination, 17, header, **fields)


def raw_udp_packet(source, port, destination, destination_port, length, checksum, rest):
    """A UDP datagram whose header lies as it is told to."""
    header = b"".join(n.to_bytes(2, "big") for n in (port, destination_port, length, checksum))
    return ip_packet(source, destination, 17, header + rest)


def echo_message(kind, identifier, sequence, data=b"", code=0):
    """An ICMP echo message without a checksum."""
    ids = identifier.to_bytes(2, "big") + sequence.to_bytes(2, "big")
    return bytes([kind, code, 0, 0]) + ids + data


def icmp_packet(source, destination, message):
    """An ICMP or ICMPv6 message; the checksum is put in."""
    v6 = ip_address(source).version == 6
    covered = message
    if v6:
        pseudo = ip_address(source).packed + ip_address(destination).packed
        covered = pseudo + len(message).to_bytes(4, "big") + b"\0\0\0\x3a" + message
    checksum = dpkt.in_cksum(covered).to_bytes(2, "big")
    message = message[:2] + checksum + message[4:]
    return ip_packet(source, destination, 58 if v6 else 1, message)


def icmp_error(reporter, kind, code, offending, word=0):
    """An ICMP error about a packet that we sent; `word` is its second word (an MTU, say)."""
    message = bytes([kind, code, 0, 0]) + word.to_bytes(4, "big") + offending[:528]
    version = offending[0] >> 4
    source = offending[12:16] if version == 4 else offending[8:24]
    return icmp_packet(reporter, str(ip_address(source)), message)


def parse(packet):
    """The fields of a packet that we sent, every checksum judged by dpkt."""
    if packet[0] >> 4 == 4:
        ip = dpkt.ip.IP(packet)
        assert ip.len == len(packet)
        assert dpkt.in_cksum(packet[: ip.hl * 4]) == 0
        payload, protocol, ttl, tos = packet[ip.hl * 4 :], ip.p, ip.ttl, ip.tos
        assert int.from_bytes(packet[6:8], "big") & 0x3FFF == 0, "a fragment"
        pseudo = ip.src + ip.dst + b"\0" + bytes([protocol])
    else:
        ip = dpkt.ip6.IP6(packet)
        assert ip.plen == len(packet) - 40
        payload, protocol, ttl, tos = packet[40:], ip.nxt, ip.hlim, ip.fc
        pseudo = ip.src + ip.dst + b"\0\0\0" + bytes([protocol])
    source, destination = str(ip_address(ip.src)), str(ip_address(ip.dst))
    if protocol == 17:
        assert dpkt.in_cksum(pseudo + len(payload).to_bytes(2, "big") + payload) == 0
        header = dpkt.udp.UDP(payload)
        assert header.ulen == len(payload)
        assert header.sum != 0
        return Udp(source, header.sport, destination, header.dport, payload[8:], ttl, tos)
    covered = payload if protocol == 1 else pseudo + len(payload).to_bytes(2, "big") + payload
    assert dpkt.in_cksum(covered) == 0
    return Icmp(source, destination, payload[0], payload[1], payload[4:])
