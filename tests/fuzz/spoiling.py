"""Packets spoiled as a network, a broken stack or an attacker might spoil them.

Most keep their lengths and checksums right, so that they get past the first doors.
"""

from __future__ import annotations

import random
import struct
from collections import deque
from ipaddress import ip_address

from scenario.tcp_wire import checksum

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION = 0, 43, 44, 51, 60
EXTENSIONS = (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION)
CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}
LENGTH_MAX = 65535
EDGES = (0, 1, 2, 3, 4, 5, 7, 8, 16, 40, 63, 64, 127, 128, 129, 254, 255)
WORDS = (0, 1, 2, 1 << 15, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, (1 << 32) - 1)
RESERVED_ADDRESSES = tuple(
    ip_address(text).packed
    for text in (
        "0.0.0.0", "255.255.255.255", "127.0.0.1", "224.0.0.1", "10.3.0.255", "10.3.0.0",
        "::", "::1", "ff02::1", "fd03::", "::ffff:10.3.0.5",
    )
)  # fmt: skip


class Packet(bytearray):
    """An IP packet that may be anything by now; every look at it is careful."""

    @property
    def v6(self) -> bool:
        return bool(self) and self[0] >> 4 == 6

    @property
    def header(self) -> int:
        """Length of the IP header, as it claims."""
        return 40 if self.v6 else min((self[0] & 15) * 4, len(self)) if self else 0

    def transport(self) -> tuple[int, int] | None:
        """(protocol, where its header begins); None in a later fragment, or where nothing is."""
        if len(self) < 20 or (self.v6 and len(self) < 40):
            return None
        if not self.v6:
            return None if self[6] & 0x1F or self[7] else (self[9], self.header)
        kind, at = self[6], 40
        while kind in EXTENSIONS and at + 8 <= len(self):
            if kind == FRAGMENT and (self[at + 2] or self[at + 3] & 0xF8):
                return None
            words = self[at + 1]
            length = 8 if kind == FRAGMENT else 4 * (words + 2) if kind == 51 else 8 * (words + 1)
            kind, at = self[at], at + length
        return (kind, at) if at <= len(self) else None

    def protocol_at(self, protocol: int, room: int) -> int:
        """Where the header of a protocol begins that is there with `room` bytes; 0: it is not."""
        found = self.transport()
        return found[1] if found and found[0] == protocol and found[1] + room <= len(self) else 0

    def addresses(self) -> bytes:
        return bytes(self[8:40] if self.v6 else self[12:20])

    def put(self, at: int, form: str, value: int) -> None:
        """One number, as much of it as there is room for."""
        size = struct.calcsize(form)
        if at + size <= len(self):
            struct.pack_into(form, self, at, value & ((1 << 8 * size) - 1))

    def get(self, at: int, form: str) -> int:
        room = at + struct.calcsize(form) <= len(self)
        return struct.unpack_from(form, self, at)[0] if room else 0

    def repair(self, rng: random.Random) -> None:
        """Lengths and checksums, most of the time each."""
        if rng.random() < 0.9:
            if self.v6:
                self.put(4, "!H", min(len(self) - 40, LENGTH_MAX))
            else:
                self.put(2, "!H", min(len(self), LENGTH_MAX))
        if not self.v6 and len(self) >= 20 and rng.random() < 0.95:
            self.put(10, "!H", 0)
            self.put(10, "!H", checksum(bytes(self[: self.header])))
        found = self.transport()
        if found and found[0] in CHECKSUM_AT and rng.random() < 0.95:
            self.repair_transport(*found, rng)

    def repair_transport(self, protocol: int, at: int, rng: random.Random) -> None:
        size = len(self) - at
        if protocol == UDP and rng.random() < 0.9:
            self.put(at + 4, "!H", min(size, LENGTH_MAX))
        self.put(at + CHECKSUM_AT[protocol], "!H", 0)
        pseudo = b"" if protocol == ICMP else self.addresses() + struct.pack("!II", size, protocol)
        self.put(at + CHECKSUM_AT[protocol], "!H", checksum(pseudo + bytes(self[at:])))


# Of any packet


def some_byte(packet: Packet, rng: random.Random) -> None:
    """Most often one of a header."""
    at = rng.randrange(min(len(packet), rng.choice((48, 100, LENGTH_MAX))))
    packet[at] = rng.choice((packet[at] ^ 1 << rng.randrange(8), rng.choice(EDGES)))


def shorten(packet: Packet, rng: random.Random) -> None:
    del packet[rng.choice((rng.randrange(len(packet)), min(len(packet) - 1, rng.randrange(90)))) :]


def lengthen(packet: Packet, rng: random.Random) -> None:
    room = max(LENGTH_MAX - len(packet), 0)
    packet += rng.randbytes(min(room, rng.choice((1, 3, 8, 60, 1500, rng.randrange(66000)))))


def cut_out(packet: Packet, rng: random.Random) -> None:
    at = rng.randrange(len(packet))
    del packet[at : at + rng.choice((1, 2, 4, 8, 20))]


def put_in(packet: Packet, rng: random.Random) -> None:
    at = rng.randrange(len(packet))
    packet[at:at] = rng.randbytes(rng.choice((1, 2, 4, 8, 20)))


# Of the IP header


def ip_field(packet: Packet, rng: random.Random) -> None:
    at = rng.choice((0, 1, 2, 4, 5, 6, 7) if packet.v6 else (0, 1, 2, 3, 4, 6, 7, 8, 9))
    if at < len(packet):
        packet[at] = rng.choice((rng.randrange(256), rng.choice(EDGES), packet[at] ^ 1))


def ip_marks(packet: Packet, rng: random.Random) -> None:
    """Congestion is experienced, or another of the ECN codes (RFC 3168 section 5)."""
    at, shift = (1, 4) if packet.v6 else (1, 0)
    if len(packet) > at:
        packet[at] = packet[at] & ~(3 << shift) | rng.choice((3, 3, 3, 0, 1, 2)) << shift


def ip_addresses(packet: Packet, rng: random.Random) -> None:
    """Swapped, the same twice, a neighbour, or one that nobody may send from or to."""
    size, at = (16, 8) if packet.v6 else (4, 12)
    if len(packet) < at + 2 * size:
        return
    source, destination = packet[at : at + size], packet[at + size : at + 2 * size]
    special = rng.choice([each for each in RESERVED_ADDRESSES if len(each) == size])
    near = bytes(destination[:-1]) + bytes([rng.randrange(256)])
    pair = rng.choice(
        [(destination, source), (destination, destination), (source, near), (special, destination),
         (source, special), (near, destination)]
    )  # fmt: skip
    packet[at : at + 2 * size] = pair[0] + pair[1]


def ip_options(packet: Packet, rng: random.Random) -> None:
    """IPv4 options, or an IPv6 extension header, well formed or not."""
    if packet.v6 and len(packet) >= 40:
        kind = rng.choice((*EXTENSIONS, *EXTENSIONS, 50, 59, 135, rng.randrange(256)))
        units = rng.choice((0, 0, 0, 1, 4, 40))
        body = (tlvs if rng.random() < 0.7 else random.Random.randbytes)(rng, 6 + 8 * units)
        words = units if rng.random() < 0.9 else rng.randrange(256)
        packet[40:40] = bytes([packet[6], words]) + body
        packet[6] = kind
    elif not packet.v6 and len(packet) >= 20:
        options = tlvs(rng, 4 * rng.randint(1, 10))
        packet[20 : packet.header] = options
        packet[0] = 0x40 | min(15, 5 + len(options) // 4)


def tlvs(rng: random.Random, size: int) -> bytes:
    """Kinds, lengths and values that fill `size` bytes, with a wrong length here and there."""
    out = b""
    while len(out) < size:
        kind = rng.choice((0, 1, 2, 3, 4, 5, 7, 8, 68, 130, 131, 137, 148, 194, rng.randrange(256)))
        length = rng.choice((0, 1, 2, 4, 6, 10, 18, rng.randrange(40)))
        claimed = length if rng.random() < 0.9 else rng.choice(EDGES)
        out += bytes([kind, claimed]) + rng.randbytes(max(0, length - 2))
    return out[:size]


# Of the transport header


def tcp_number(packet: Packet, rng: random.Random) -> None:
    """SEQ, ACK or the timestamps, a little or a lot off."""
    at = packet.protocol_at(TCP, 20)
    if at:
        at += rng.choice((4, 8, 8, 24, 28))
        little = rng.randint(-3000, 3000)
        change = rng.choice((1, -1, little, little, rng.choice(WORDS), rng.getrandbits(32)))
        packet.put(at, "!I", packet.get(at, "!I") + change)


def tcp_flags(packet: Packet, rng: random.Random) -> None:
    at = packet.protocol_at(TCP, 20)
    if at:
        flags = packet[at + 13]
        usual = rng.choice((1, 2, 4, 16, 17, 18, 20, 24, 25, 48, 49))
        packet[at + 13] = rng.choice((flags ^ 1 << rng.randrange(8), usual, rng.randrange(256)))


def tcp_window(packet: Packet, rng: random.Random) -> None:
    at = packet.protocol_at(TCP, 20)
    if at:
        packet.put(at + 14, "!H", rng.choice((0, 0, 1, 100, 0x7FFF, 0xFFFF, rng.getrandbits(16))))


def tcp_urgent(packet: Packet, rng: random.Random) -> None:
    at = packet.protocol_at(TCP, 20)
    if at:
        packet[at + 13] |= 32
        packet.put(at + 18, "!H", rng.choice((0, 1, 100, 0xFFFF, rng.getrandbits(16))))


def tcp_options(packet: Packet, rng: random.Random) -> None:
    """Other options: some of all kinds, SACK of things near SEG.ACK, or an offset that lies."""
    at = packet.protocol_at(TCP, 20)
    if not at:
        return
    offset = packet[at + 12] >> 4
    options = tlvs(rng, 4 * rng.randint(0, 10))
    if rng.random() < 0.5:
        near = packet.get(at + 8, "!I")
        edges = [(near + rng.randint(-200, 5000)) % (1 << 32) for _ in range(2 * rng.randint(1, 4))]
        if rng.random() < 0.7:
            edges.sort()
        options = struct.pack(f"!BBBB{len(edges)}I", 1, 1, 5, 2 + 4 * len(edges), *edges)
    packet[at + 20 : at + max(5, offset) * 4] = options
    words = 5 + len(options) // 4 if rng.random() < 0.9 else rng.randrange(16)
    packet[at + 12] = words << 4 | packet[at + 12] & 15


def ports(packet: Packet, rng: random.Random) -> None:
    found = packet.transport()
    if found and found[0] in (TCP, UDP):
        packet.put(found[1] + rng.choice((0, 2)), "!H", rng.choice((0, 7, 9, 19, 80, 40000)))


def payload(packet: Packet, rng: random.Random) -> None:
    """Less or more than there was."""
    found = packet.transport()
    if found:
        at = min(len(packet), found[1] + (20 if found[0] == TCP else 8))
        size = rng.choice((0, 1, 2, 500, 1460, 8000, rng.randrange(60000)))
        packet[at:] = rng.randbytes(min(size, LENGTH_MAX - at))


def other_protocol(packet: Packet, rng: random.Random) -> None:
    """The same addresses, but ICMP, UDP to a service, or something unheard of."""
    if len(packet) < 20 or (packet.v6 and len(packet) < 40):
        return
    protocol = rng.choice((ICMP, ICMPV6, UDP, rng.randrange(256)))
    body = rng.randbytes(rng.choice((0, 4, 8, 100, 1400, 3000)))
    if protocol == UDP:
        source, service = rng.choice((7, 5353, 40000)), rng.choice((7, 9, 19))
        body = struct.pack("!HHHH", source, service, 0, 0) + body
    elif protocol in (ICMP, ICMPV6):
        kind = rng.choice((0, 3, 4, 5, 8, 11, 12, 13, 1, 2, 3, 4, 128, 129, 133, 135, 143))
        body = struct.pack("!BBHI", kind, rng.choice(EDGES), 0, rng.getrandbits(32)) + body
    packet[6 if packet.v6 else 9] = protocol
    packet[packet.header :] = body


MUTATIONS = (
    some_byte, some_byte, some_byte, shorten, lengthen, cut_out, put_in,
    ip_field, ip_addresses, ip_options, ip_marks, ip_marks,
    tcp_number, tcp_number, tcp_number, tcp_flags, tcp_flags, tcp_window, tcp_urgent, tcp_options,
    tcp_options, ports, payload, other_protocol,
)  # fmt: skip


# One packet becomes several


def pieces_of(packet: Packet, rng: random.Random) -> list[Packet]:
    """Fragments: in order or not, one missing, twice or moved."""
    header = packet.header
    if len(packet) <= header + 8:
        return [packet]
    body = packet[header:]
    size = 8 * rng.choice((1, 2, 8, 60, rng.randint(1, 200)))
    size = max(size, len(body) // 64 // 8 * 8)
    starts = list(range(0, len(body), size))
    identification = rng.choice((1, 2, rng.getrandbits(32)))
    out = []
    for start in starts:
        end = start + size
        if rng.random() < 0.03:
            end += rng.choice((-8, 8, 4))
        offset = max(0, start + (rng.choice((-8, 8, 65000)) if rng.random() < 0.02 else 0))
        more = (start != starts[-1]) ^ (rng.random() < 0.01)
        piece = fragment_of(packet, body[start:end], offset, more, identification)
        piece.repair(rng)
        out.append(piece)
    if rng.random() < 0.3:
        rng.shuffle(out)
    if rng.random() < 0.2:
        out.append(rng.choice(out))
    if rng.random() < 0.15:
        out.pop(rng.randrange(len(out)))
    return out


def fragment_of(packet: Packet, data: bytes, offset: int, more: bool, number: int) -> Packet:
    """One piece of the packet's payload, behind a copy of its header."""
    piece = Packet(packet[: packet.header])
    field = offset & 0xFFF8
    if packet.v6:
        piece += struct.pack("!BBHI", packet[6], 0, field | more, number)
        piece[6] = FRAGMENT
    else:
        piece.put(4, "!H", number)
        piece.put(6, "!H", field >> 3 | (0x2000 if more else 0))
    return Packet(piece + data)


def error_about(packet: Packet, rng: random.Random) -> Packet:
    """An ICMP error to the packet's sender, from its receiver or from a router in between."""
    quoted = bytes(packet[: packet.header + rng.choice((8, 8, 20, 548, 1232, rng.randrange(64)))])
    words = (0, 68, 296, 576, 1280, 1400, 65535, rng.getrandbits(32))
    word = rng.choice(words)
    if packet.v6:
        message = struct.pack("!BBHI", rng.choice((1, 2, 2, 3, 4, 100)), rng.randrange(8), 0, word)
        head = struct.pack("!IHBB", 6 << 28, 0, ICMPV6, 64)
        addresses = bytes(packet[24:40] + packet[8:24])
    else:
        kind = rng.choice(
            ((3, 4), (3, 3), (3, rng.randrange(16)), (11, 0), (4, 0), (5, 1), (12, 0))
        )
        message = struct.pack("!BBHI", *kind, 0, word)
        head = struct.pack("!BBHHHBBH", 0x45, 0, 0, 1, 0, 64, ICMP, 0)
        addresses = bytes(packet[16:20] + packet[12:16])
    return Packet(head + addresses + message + quoted)


class Spoiler:
    """What becomes of a packet on its way: any number of (packet, piece size of a train or 0)."""

    def __init__(self, rng: random.Random, rate: float) -> None:
        self.rng, self.rate = rng, rate
        self.seen: deque[bytes] = deque(maxlen=40)

    def __call__(self, whole: bytes) -> list[tuple[bytes, int]]:
        rng = self.rng
        self.seen.append(whole)
        if rng.random() >= self.rate:
            return [(whole, 0)]
        what = rng.random()
        if what < 0.08:
            return []
        if what < 0.15:
            return [(whole, 0), (whole, 0)]
        if what < 0.20:
            return [(whole, 0), (rng.choice(self.seen), 0)]
        packet = Packet(whole)
        if what < 0.30:
            packet = error_about(packet, rng)
            if rng.random() < 0.5:
                rng.choice(MUTATIONS)(packet, rng)
            packet.repair(rng)
            return [(whole, 0), (bytes(packet), 0)]
        for _ in range(rng.choice((0, 1, 1, 1, 2, 4)) if what < 0.45 else rng.choice((1, 1, 2, 3))):
            if packet:
                rng.choice(MUTATIONS)(packet, rng)
        packet.repair(rng)
        out = pieces_of(packet, rng) if what < 0.45 and packet else [packet]
        if rng.random() < 0.3:
            out.append(Packet(whole))
        return [(bytes(each[:LENGTH_MAX]), self.train(each)) for each in out]

    def train(self, packet: Packet) -> int:
        """Now and then a device says that a packet is a train."""
        if self.rng.random() < 0.9 or not packet.protocol_at(TCP, 21):
            return 0
        return self.rng.choice((1, 100, 536, 1448, 65535))
