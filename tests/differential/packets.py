"""A volley: packets below TCP, as a seed says: pings, datagrams, ICMP messages and errors; whole,
in fragments, with options or extension headers; most of them sound.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import pairwise

from differential.hosts import HOST, PEER
from scenario.ip_wire import (
    DESTINATION,
    FRAGMENT,
    HOP_BY_HOP,
    NO_NEXT,
    ROUTING,
    UDP,
    Family,
    fragment,
    fragment_header,
    icmp,
    options_header,
    packet,
    routing_header,
    udp,
    v4,
    v6,
)
from scenario.tcp_wire import checksum

FAMILIES = (
    Family(False, HOST[4], "", PEER[4], "", 1, 20),
    Family(True, HOST[6], "", PEER[6], "", 58, 40),
)
SERVER, CLIENT, CLOSED = 7007, 7008, 7999  # ports of the host
PEER_PORT, OTHER_PORT = 5000, 5001  # the client is connected to the first
NEIGHBOUR = {False: "10.9.0.77", True: "fd09::77"}
MARTIANS = {
    False: ("127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"),
    True: ("::1", "::", "ff02::1", "::ffff:10.9.0.1"),
}
TOO_BIG = 3, 4  # would be remembered beyond the volley
ERRORS = {
    False: [*((3, code) for code in range(17) if (3, code) != TOO_BIG), (4, 0), (11, 0), (11, 1),
            (12, 0), (12, 1)],
    True: [*((1, code) for code in range(10)), (3, 0), (3, 1), (4, 0), (4, 1), (4, 2)],
}  # fmt: skip
MESSAGES = {
    False: (0, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 30, 40, 42, 255),
    True: (0, 1, 2, 3, 4, 100, 127, 129, 130, 131, 132, 133, 134, 135, 136, 137, 139, 140, 143, 160,
           200, 255),
}  # fmt: skip
OPTIONS_4 = (
    b"\1\1\1\1", bytes(4), b"\7\7\4" + bytes(5), b"\x44\x0c\5\0" + bytes(8), b"\x94\4\0\0",
    b"\x83\7\4" + ip_address(NEIGHBOUR[False]).packed + b"\0", b"\7\0\0\0", b"\x99\4\1\2",
    b"\x99\x40\1\2", b"\x82\x0b" + bytes(10),
)  # fmt: skip
OPTIONS_6 = (
    b"", b"\x1e\4\1\2\3\4", b"\x5e\4\1\2\3\4", b"\x9e\4\1\2\3\4", b"\xde\4\1\2\3\4",
    b"\5\2\0\0\1\0", b"\1\x09\0\0\0\0", b"\x1e\0\x1e\0\x1e\0", b"\1\3\0\0\0\1",
)  # fmt: skip
FIELDS_4 = {
    "options": OPTIONS_4, "tos": (1, 2, 3, 0x10, 0xB8), "ttl": (0, 1, 255), "df": (True,)
}  # fmt: skip
FIELDS_6 = {"tos": (1, 2, 3, 0xB8), "hop_limit": (0, 1, 255)}
WHOLE = 1 << 16
MOST_NUMBERS = 4  # of a volley


@dataclass(frozen=True)
class Shot:
    """A packet, and what it is in words."""

    words: str
    packet: bytes


@dataclass(frozen=True)
class Volley:
    seed: int
    family: int
    shots: tuple[Shot, ...]


def volley(seed: int) -> Volley:
    rng = random.Random(seed)
    family = rng.choice(FAMILIES)
    draw = Draw(rng, family, seed * MOST_NUMBERS)
    shots = [shot for _ in range(rng.choice((1, 2, 3))) for shot in draw.shots()]
    return Volley(seed, 6 if family.v6 else 4, tuple(shots))


class Draw:
    """What a random generator makes of one family."""

    def __init__(self, rng: random.Random, family: Family, number: int) -> None:
        self.rng, self.family = rng, family
        self.number = number & 0xFFFF  # of the next packet: a host remembers pieces for a while

    def rarely(self, chance: float) -> bool:
        return self.rng.random() < chance

    def data(self, *sizes: int) -> bytes:
        first = self.rng.randrange(256)
        return bytes(first + i & 255 for i in range(self.rng.choice(sizes)))

    # What is in a packet: words, protocol, payload.

    def message(self) -> tuple[str, int, bytes]:
        kind = self.rng.choice(
            (*[self.echo] * 4, *[self.datagram] * 8, self.other, *[self.error] * 2, self.unknown)
        )
        return kind()

    def echo(self) -> tuple[str, int, bytes]:
        code, data = self.rng.choice((0, 0, 0, 1)), self.data(0, 1, 7, 56, 100, 600, 1100)
        kind = 128 if self.family.v6 else 8
        body = icmp(self.family, kind, code, self.rng.choice((1, 77)) << 16 | 1, data)
        return f"echo request, code {code}, {len(data)} bytes", self.family.icmp, self.spoilt(body)

    def datagram(self) -> tuple[str, int, bytes]:
        to = self.rng.choice((*[SERVER] * 4, CLIENT, *[CLOSED] * 2, 0))
        source = self.rng.choice((PEER_PORT, PEER_PORT, OTHER_PORT, 0))
        data = self.data(0, 1, 7, 8, 100, 600, 1100)
        whole = packet(self.family, UDP, udp(data, source, to))
        body = bytearray(whole[self.family.header_length :])
        words = f"datagram {source} > {to}, {len(data)} bytes"
        if self.rarely(0.1):
            size = self.rng.choice((0, 7, 8, 8 + len(data) // 2, len(body) + 1, 65535))
            body[4:8] = struct.pack("!HH", size, 0)
            words += f", length {size}"
        elif self.rarely(0.2):
            body[6:8] = self.rng.choice((bytes(2), b"\x55\xaa"))
            words += f", checksum {body[6:8].hex()}"
        return words, UDP, bytes(body)

    def other(self) -> tuple[str, int, bytes]:
        kind, code = self.rng.choice(MESSAGES[self.family.v6]), self.rng.choice((0, 0, 1, 3))
        data = self.data(0, 8, 12, 16, 20, 60)
        body = icmp(self.family, kind, code, self.rng.choice((0, 0x10002)), data)
        return f"ICMP {kind}/{code}, {len(data)} bytes", self.family.icmp, self.spoilt(body)

    def error(self) -> tuple[str, int, bytes]:
        kind, code = self.rng.choice(ERRORS[self.family.v6])
        about = self.quoted()
        body = icmp(self.family, kind, code, 0, about)
        words = f"ICMP error {kind}/{code} about {len(about)} bytes"
        return words, self.family.icmp, self.spoilt(body)

    def unknown(self) -> tuple[str, int, bytes]:
        protocol = self.rng.choice((2, 50, 89, 253, 255))
        return f"protocol {protocol}", protocol, self.data(8, 20, 60)

    def spoilt(self, body: bytes) -> bytes:
        """Seldom: with a wrong checksum."""
        return body[:2] + b"\x55\xaa" + body[4:] if self.rarely(0.04) else body

    def quoted(self) -> bytes:
        """Something that the host could have sent, or that it could not."""
        ours, peer = self.family.ours, self.family.peer
        if self.rarely(0.2):
            ours, peer = peer, ours
        ports = self.rng.choice((SERVER, CLIENT)), self.rng.choice((PEER_PORT, OTHER_PORT))
        sent = packet(self.family, UDP, udp(self.data(8, 20), *ports), ours, peer)
        start = self.family.header_length
        return sent[: self.rng.choice((WHOLE, WHOLE, WHOLE, start + 8, start + 4, 10))]

    # What it is put into.

    def shots(self) -> list[Shot]:
        words, protocol, body = self.message()
        self.number += 1
        if self.rarely(0.3) and len(body) > 16:
            return self.in_fragments(words, protocol, body)
        make = self.packet_6 if self.family.v6 else self.packet_4
        more, made = make(protocol, body)
        if self.rarely(0.04):
            more, made = f"{more}, bytes behind it", made + self.data(1, 4, 20)
        if self.rarely(0.03):
            made = made[: self.rng.randrange(1, len(made) + 1)]
            more = f"{more}, cut to {len(made)} bytes"
        return [Shot(words + more, made)]

    def source(self) -> tuple[str, str]:
        """Words, address."""
        if self.rarely(0.94):
            return "", self.family.peer
        source = self.rng.choice((NEIGHBOUR[self.family.v6], *MARTIANS[self.family.v6]))
        return f", from {source}", source

    def some(self, choices: dict[str, tuple[object, ...]]) -> tuple[str, dict[str, object]]:
        """Fields of a header that are not as usual."""
        names = [name for name in choices if self.rarely(0.06)]
        fields = {name: self.rng.choice(choices[name]) for name in names}
        return "".join(f", {name} {value!r}" for name, value in fields.items()), fields

    def packet_4(self, protocol: int, body: bytes) -> tuple[str, bytes]:
        words, fields = self.some(FIELDS_4)
        origin, source = self.source()
        made = bytearray(v4(source, self.family.ours, protocol, body, id=self.number, **fields))
        words += origin
        if self.rarely(0.05):
            size = self.rng.choice((0, 19, 20, len(made) - 1, len(made) + 1, 65535))
            made[2:4] = struct.pack("!H", size)
            words += f", length {size}"
        if self.rarely(0.05):
            made[0] = self.rng.choice((0x05, 0x40, 0x44, 0x46, 0x4F, 0x55, 0x65))
            words += f", first byte {made[0]:#x}"
        seal(made)
        if self.rarely(0.03):
            made[10] ^= 1
            words += ", wrong checksum"
        return words, bytes(made)

    def packet_6(self, protocol: int, body: bytes) -> tuple[str, bytes]:
        words, fields = self.some(FIELDS_6)
        if self.rarely(0.2):
            protocol, chain, more = self.chain(protocol)
            fields["extensions"] = chain
            words += more
        origin, source = self.source()
        made = bytearray(v6(source, self.family.ours, protocol, body, **fields))
        words += origin
        if self.rarely(0.06):
            size = self.rng.choice((0, 8, len(made) - 41, len(made) - 39, 65535))
            made[4:6] = struct.pack("!H", max(size, 0))
            words += f", length {size}"
        return words, bytes(made)

    def chain(self, protocol: int) -> tuple[int, list[tuple[int, bytes]], str]:
        """(what follows it, extension headers, words)."""
        chain, words = [], ""
        for _ in range(self.rng.choice((1, 1, 2))):
            number = self.rng.choice((HOP_BY_HOP, DESTINATION, DESTINATION, ROUTING, FRAGMENT))
            if number == ROUTING:
                kind = self.rng.choice((0, 1, 2, 253))
                header = routing_header(kind, self.rng.choice((0, 1)), 1)
                words += f", routing header {kind}/{header[3]}"
            elif number == FRAGMENT:
                header = fragment_header(self.number, 0, False)
                words += ", atomic fragment"
            else:
                options = self.rng.choice(OPTIONS_6)
                header = options_header(options)
                words += f", options {number} {options.hex()}"
            chain.append((number, header))
        if self.rarely(0.1):
            protocol = self.rng.choice((NO_NEXT, 61, 99, 253))
            words += f", then {protocol}"
        return protocol, chain, words

    # Fragments

    def in_fragments(self, words: str, protocol: int, body: bytes) -> list[Shot]:
        pieces, what = self.pieces(body)
        tos = [self.rng.choice((*[0] * 12, 1, 2, 3)) for _ in pieces]
        return [
            Shot(
                f"{words}, fragment {offset}:{offset + len(data)}{'+' if more else ''}{what}"
                + (f", tos {each}" if each else ""),
                fragment(self.family, protocol, data, offset, more, self.number, each),
            )
            for (offset, data, more), each in zip(pieces, tos, strict=True)
        ]

    def pieces(self, body: bytes) -> tuple[list[tuple[int, bytes, bool]], str]:
        """(offset, data, more fragments), in some order; and what is wrong with them."""
        number = self.rng.choice((1, 1, 2, 3))
        cuts = sorted({8 * self.rng.randrange(1, (len(body) + 7) // 8) for _ in range(number)})
        edges = [0, *cuts, len(body)]
        pieces = [(start, body[start:end], end < len(body)) for start, end in pairwise(edges)]
        what = self.rng.choice((*[""] * 12, *["twice", "overlap"] * 3, "beyond", "odd", "empty"))
        start, data, more = self.rng.choice(pieces)
        if what == "twice":
            pieces.append((start, data, more))
        elif what == "overlap":
            start = max(0, start - self.rng.choice((0, 8, 16)))
            piece = body[start : start + len(data) + self.rng.choice((0, 8))]
            end = start + len(piece)
            pieces.append((start, piece if end == len(body) else cut(piece), end < len(body)))
        elif what == "beyond":
            pieces.append((cut_number(len(body)) + 16, bytes(16), False))
        elif what == "odd":
            pieces[0] = (0, pieces[0][1][:-3], True)
        elif what == "empty":
            pieces.append((cut_number(len(body)), b"", True))
        if self.rarely(0.5):
            self.rng.shuffle(pieces)
        return pieces, f", {what}" if what else ""


def cut(piece: bytes) -> bytes:
    return piece[: cut_number(len(piece))]


def cut_number(size: int) -> int:
    return size // 8 * 8


def seal(made: bytearray) -> None:
    """The header checksum of an IPv4 packet."""
    made[10:12] = bytes(2)
    header = made[: max(20, (made[0] & 15) * 4)]
    made[10:12] = struct.pack("!H", checksum(bytes(header)))
