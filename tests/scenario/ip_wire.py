"""What peers put on the wire for the tests of the IP layer, and how dpkt reads our answers."""

from __future__ import annotations

import struct
from collections import namedtuple
from contextlib import contextmanager
from ipaddress import ip_address

import dpkt
from native import ip

# Addresses of one family: two of ours, a peer, the end of the device that is not ours.
Family = namedtuple("Family", "v6 ours second peer excluded icmp header_length")
IPV4 = Family(False, "10.3.0.5", "10.3.0.6", "192.0.2.7", "10.3.0.1", 1, 20)
IPV6 = Family(True, "fd03::5", "fd03::6", "2001:db8::7", "fd03::1", 58, 40)
FAMILIES = [IPV4, IPV6]

TCP, UDP, GRE = 6, 17, 47
HOP_BY_HOP, ROUTING, FRAGMENT, NO_NEXT, DESTINATION = 0, 43, 44, 59, 60

# An IP packet and an ICMP message as dpkt reads them, checksums judged.
Ip = namedtuple("Ip", "source destination protocol data ttl tos id df more offset flow")
Icmp = namedtuple("Icmp", "source destination type code word data")


def family_name(family):
    return "IPv6" if family.v6 else "IPv4"


@contextmanager
def running_host(**options):
    """A host of both families that at its end must have given everything back."""
    host = ip.IpHost("10.3.0.0/24", "fd03::/64", exclude=["10.3.0.1", "fd03::1"], **options)
    yield host
    assert host.close() == 0


# Packets in


def v4(
    source, destination, protocol, data=b"", *, ttl=64, tos=0, id=0, df=False, more=False,
    offset=0, options=b"",
):  # fmt: skip
    """An IPv4 packet; data that dpkt knows gets its checksum."""
    packet = dpkt.ip.IP(
        src=ip_address(source).packed, dst=ip_address(destination).packed, p=protocol, ttl=ttl,
        tos=tos, id=id, data=data, opts=options, hl=5 + len(options) // 4,
    )  # fmt: skip
    packet.df, packet.mf, packet.offset = df, more, offset // 8
    packet.len = len(packet)
    return bytes(packet)


def v6(source, destination, protocol, data=b"", *, hop_limit=64, tos=0, flow=0, extensions=()):
    """An IPv6 packet; extensions: (number, header), the next header of each filled in here."""
    packet = dpkt.ip6.IP6(
        src=ip_address(source).packed, dst=ip_address(destination).packed, nxt=protocol,
        hlim=hop_limit, data=data,
    )  # fmt: skip
    packet.plen = len(data)
    packet.fc, packet.flow = tos, flow
    raw = bytes(packet)
    if not extensions:
        return raw
    numbers = [number for number, _ in extensions] + [protocol]
    chain = b"".join(
        bytes([after]) + header[1:]
        for (_, header), after in zip(extensions, numbers[1:], strict=True)
    )
    length = struct.pack("!H", len(chain) + len(raw) - 40)
    return raw[:4] + length + bytes([numbers[0]]) + raw[7:40] + chain + raw[40:]


def packet(family, protocol, data=b"", source=None, destination=None, **fields):
    """A packet from the peer to us, unless told otherwise."""
    source, destination = source or family.peer, destination or family.ours
    build = v6 if family.v6 else v4
    return build(source, destination, protocol, data, **fields)


def options_header(options):
    """A hop-by-hop or destination header with these options, padded."""
    size = (2 + len(options) + 7) // 8 * 8
    padding = size - 2 - len(options)
    pad = bytes([1, padding - 2]) + bytes(padding - 2) if padding > 1 else bytes(padding)
    return bytes([0, size // 8 - 1]) + options + pad


def routing_header(kind, segments_left, addresses=1):
    return bytes([0, 2 * addresses, kind, segments_left, 0, 0, 0, 0]) + bytes(16 * addresses)


def fragment_header(id, offset, more):
    return struct.pack("!BBHI", 0, 0, offset | more, id)


def udp(data=b"", source_port=4000, port=7):
    """A datagram, its checksum left to dpkt (or 0, in a fragment)."""
    datagram = dpkt.udp.UDP(sport=source_port, dport=port, data=data)
    datagram.ulen = len(datagram)
    return datagram


def fragments(family, protocol, data, size, *, id=1, tos=0):
    """What a sender makes of `data`, transport header and payload, in pieces of `size` bytes."""
    cut = []
    for offset in range(0, len(data), size):
        piece = data[offset : offset + size]
        cut.append(fragment(family, protocol, piece, offset, offset + size < len(data), id, tos))
    return cut


def fragment(family, protocol, data, offset, more, id=1, tos=0, **fields):
    if not family.v6:
        return packet(family, protocol, data, id=id, offset=offset, more=more, tos=tos, **fields)
    header = (FRAGMENT, fragment_header(id, offset, more))
    return packet(family, protocol, data, extensions=[header], tos=tos, **fields)


def echo(family, data=b"", *, id=1, seq=1, reply=False, code=0):
    """An echo message, with the checksum of one from the peer to us."""
    kind = (129 if reply else 128) if family.v6 else (0 if reply else 8)
    return icmp(family, kind, code, id << 16 | seq, data)


def icmp(family, kind, code, word, data=b"", source=None, destination=None):
    """Any ICMP message of a family, with its checksum."""
    message = struct.pack("!BBHI", kind, code, 0, word) + data
    checksum = icmp_sum(family, message, source or family.peer, destination or family.ours)
    return message[:2] + struct.pack("!H", checksum) + message[4:]


def icmp_sum(family, message, source, destination):
    """dpkt's checksum of a message; 0 if one is in place and right."""
    pseudo = b""
    if family.v6:
        pseudo = ip_address(source).packed + ip_address(destination).packed
        pseudo += struct.pack("!II", len(message), 58)
    return dpkt.in_cksum(pseudo + message)


# Packets out


def read(data):
    """An IP packet that we have sent, lengths and header checksum judged."""
    if data[0] >> 4 == 6:
        return read6(data)
    packet = dpkt.ip.IP(data)
    assert packet.len == len(data)
    assert dpkt.in_cksum(data[: packet.hl * 4]) == 0
    return Ip(
        str(ip_address(packet.src)), str(ip_address(packet.dst)), packet.p, data[packet.hl * 4 :],
        packet.ttl, packet.tos, packet.id, bool(packet.df), bool(packet.mf), packet.offset * 8, 0,
    )  # fmt: skip


def read6(data):
    # By hand: dpkt unpacks what an error quotes too, and stumbles over what we quote of garbage.
    first, length, protocol, hop_limit = struct.unpack_from("!IHBB", data)
    assert length == len(data) - 40
    payload, id, more, offset = data[40:], 0, False, 0
    if protocol == FRAGMENT:
        protocol, _, field, id = struct.unpack_from("!BBHI", payload)
        payload, more, offset = payload[8:], bool(field & 1), field & ~7
    return Ip(
        str(ip_address(data[8:24])), str(ip_address(data[24:40])), protocol, payload, hop_limit,
        first >> 20 & 0xFF, id, data[6] != FRAGMENT, more, offset, first & 0xFFFFF,
    )  # fmt: skip


def read_icmp(data):
    """An ICMP message that we have sent, checksum judged."""
    packet = read(data)
    family = IPV6 if data[0] >> 4 == 6 else IPV4
    assert packet.protocol == family.icmp
    assert icmp_sum(family, packet.data, packet.source, packet.destination) == 0
    kind, code, _, word = struct.unpack_from("!BBHI", packet.data)
    return Icmp(packet.source, packet.destination, kind, code, word, packet.data[8:])


def joined(sent):
    """The packet that a peer makes of fragments we have sent: the first's fields, all data."""
    packets = sorted((read(each.data) for each in sent), key=lambda each: each.offset)
    data = b""
    for each in packets:
        assert each.offset == len(data)
        assert each.id == packets[0].id
        assert each.more == (each is not packets[-1])
        data += each.data
    return packets[0]._replace(data=data)
