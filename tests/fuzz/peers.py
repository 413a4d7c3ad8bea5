"""The peers of session.py's host: what they know of its connections, and packets as records say."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from ipaddress import ip_address

from fuzz.conversation import well_formed
from fuzz.spoiling import CHECKSUM_AT, EXTENSIONS, ICMP, ICMPV6, TCP, UDP, Packet
from native.core import Host
from scenario.tcp_wire import checksum

HOST = (ip_address("10.3.0.5").packed, ip_address("fd03::5").packed)
PEER = (ip_address("192.0.2.1").packed, ip_address("2001:db8::1").packed)
GROUPS = (("224.0.0.1", "232.1.1.1", "239.1.1.1"), ("ff02::1", "ff3e::1", "ff05::2"))
MOST_FLOWS = 12
MS = 1_000_000
STORM = 2000
MODULUS = 1 << 32
LENGTHS = (0, 0, 0, 1, 10, 100, 536, 1000, 1448, 1460, 3000, 8000)
WINDOWS = (65535, 65535, 0, 1, 100, 1000, 32768)


@dataclass
class Flow:
    """What a peer knows of one connection; sequence numbers as they are on the wire."""

    v6: bool
    port: int  # the peer's
    host_port: int
    snd_nxt: int
    rcv_nxt: int = 0
    una: int = 0  # what the peer has acknowledged
    ack: int = 0  # what the host has acknowledged
    edge: int = 0
    timestamps: bool = False
    clock: int = 0
    packet: bytes = b""  # the host's last


class Peers:
    """All of the host's peers, whose addresses are one of each family."""

    def __init__(self, host: Host, iss: int) -> None:
        self.host, self.iss = host, iss
        self.flows: list[Flow] = []
        self.at_rest = 0
        self.cut = self.spoilt = self.train = 0
        self.last = b""

    # What the host sends

    def take(self) -> None:
        for packet in self.host.take():
            well_formed(packet, self.host)
            self.note(packet)
        self.host.take_ready()
        deadline = self.host.deadline
        self.at_rest = self.at_rest + 1 if deadline is not None and deadline <= self.host.now else 0
        assert self.at_rest < STORM, "the host is never at rest"

    def note(self, packet: bytes) -> None:
        """The peer reads a segment."""
        v6 = packet[0] >> 4 == 6
        at = 40 if v6 else (packet[0] & 15) * 4
        if (packet[6] if v6 else packet[9]) != TCP or (not v6 and packet[7]):
            return
        ours, theirs, seq, ack, offset, bits, window = struct.unpack_from("!HHIIBBH", packet, at)
        flow = self.flow_of(v6, theirs, ours, seq)
        if flow is None:
            return
        flow.packet = packet
        if bits & 4:
            return
        size = len(packet) - at - (offset >> 4) * 4
        end = (seq + size + (bits >> 1 & 1) + (bits & 1)) % MODULUS
        if bits & 2 or 0 < (end - flow.rcv_nxt) % MODULUS < MODULUS // 2:
            flow.rcv_nxt = end
        if bits & 2:
            flow.una = seq
        if bits & 16:
            flow.ack, flow.edge = ack, (ack + (window << 7)) % MODULUS
        stamps = packet[at + 20 : at + (offset >> 4) * 4].find(b"\x08\x0a")
        flow.timestamps = stamps >= 0
        if stamps >= 0 and at + 26 + stamps <= len(packet):
            (flow.clock,) = struct.unpack_from("!I", packet, at + 22 + stamps)

    def flow_of(self, v6: bool, port: int, host_port: int, seq: int) -> Flow | None:
        for flow in self.flows:
            if (flow.v6, flow.port, flow.host_port) == (v6, port, host_port):
                return flow
        if len(self.flows) == MOST_FLOWS:
            return None
        self.flows.append(Flow(v6, port, host_port, self.iss))
        return self.flows[-1]

    # What the peers send

    def inject(self, v6: bool, protocol: int, body: bytes, to: bytes = b"", tos: int = 0) -> None:
        source, destination = PEER[v6], to or HOST[v6]
        if v6:
            head = struct.pack("!IHBB", 6 << 28 | tos << 20, len(body) & 0xFFFF, protocol, 64)
        else:
            length = min(20 + len(body), 0xFFFF)
            head = struct.pack("!BBHHHBBH", 0x45, tos, length, 7, 0, 64, protocol, 0)
        packet = Packet(head + source + destination + body)
        if not v6:
            packet.put(10, "!H", checksum(bytes(packet[:20])))
        if protocol not in CHECKSUM_AT:
            self.deliver(packet)
            return
        at = CHECKSUM_AT[protocol]
        pseudo = source + destination + struct.pack("!II", len(body), protocol)
        if len(body) > at + 1:
            start = 40 if v6 else 20
            packet.put(start + at, "!H", 0)
            total = checksum((b"" if protocol == ICMP else pseudo) + bytes(packet[start:]))
            packet.put(start + at, "!H", total or 0xFFFF)
        self.deliver(packet)

    def deliver(self, packet: Packet) -> None:
        """Spoilt or in pieces, if an event before has said so."""
        if self.spoilt:
            spoilt, self.spoilt = self.spoilt, 0
            at = spoilt >> 8 & 0x7F
            if spoilt & 0x8000:
                del packet[at:]
            elif at < len(packet):
                packet[at] ^= (spoilt & 0xFF) or 1
                if at < 20 and not packet.v6 and len(packet) >= 20:
                    packet.put(10, "!H", 0)
                    packet.put(10, "!H", checksum(bytes(packet[:20])))
        cut, self.cut = self.cut, 0
        train, self.train = self.train, 0
        if not packet:
            return
        self.last = bytes(packet)
        if cut:
            for piece in pieces(packet, cut):
                self.host.input(piece)
                self.take()
        else:
            self.host.input(bytes(packet), train if packet.protocol_at(TCP, 21) else 0)

    def segment(self, record: bytes) -> None:
        """[1] flow, [2] flags, [3:7] SEQ, [7:10] ACK, [10] window, [11] length, [12:16] options."""
        flow = self.flows[record[1] % len(self.flows)]
        flags = record[2]
        seq = (flow.snd_nxt, flow.snd_nxt, flow.edge, flow.ack)[record[3] & 3]
        if record[3] & 4:
            seq += struct.unpack_from("!h", record, 5)[0]
        seq += (record[3] >> 7) << 31
        ack = (flow.rcv_nxt, flow.rcv_nxt, flow.una, flow.una)[record[7] & 3]
        if record[7] & 4:
            ack += struct.unpack_from("!h", record, 8)[0]
        ack += (record[7] >> 7) << 31
        length = LENGTHS[record[11] % len(LENGTHS)]
        urgent = record[12] if flags & 32 else 0
        options = self.options(flow, record)
        words = 5 + len(options) // 4
        if record[12] & 0x40 and record[13] & 0x40:
            words = record[15] & 15
        head = struct.pack(
            "!HHIIBBHHH", flow.port, flow.host_port, seq % MODULUS,
            ack % MODULUS if flags & 16 else 0, words << 4, flags,
            WINDOWS[record[10] % len(WINDOWS)], 0, urgent,
        )  # fmt: skip
        end = (seq + length + (flags >> 1 & 1) + (flags & 1)) % MODULUS
        goes_on = not flags & 4 and 0 < (end - flow.snd_nxt) % MODULUS < 1 << 20
        if goes_on or (flags & 2 and not record[3]):
            flow.snd_nxt = end
        if flags & 16 and 0 < (ack - flow.una) % MODULUS <= (flow.rcv_nxt - flow.una) % MODULUS:
            flow.una = ack % MODULUS
        self.inject(flow.v6, TCP, head + options + bytes(length), tos=record[1] >> 6)

    def options(self, flow: Flow, record: bytes) -> bytes:
        kind, out = record[13], b""
        if record[2] & 2:
            out += b"\x02\x04" + struct.pack("!H", (1000, 1460, 0, 40)[record[14] & 3])
            out += b"\x04\x02" if not record[14] & 4 else b""
            out += bytes((3, 3, record[15] & 15)) if not record[14] & 8 else b""
        if (flow.timestamps or record[2] & 2) and not kind & 1:
            value = self.host.now // MS + 5000 + (-(record[14] << 8) if kind & 2 else 0)
            echo = flow.clock + (record[15] - 128 if kind & 4 else 0)
            out += struct.pack("!BBII", 8, 10, value % MODULUS, echo % MODULUS)
        if kind & 8 and not record[2] & 2:
            start = flow.una + (record[14] - 64) * 100
            edges: list[int] = []
            for block in range(1 + record[15] % 3):
                edges += [start + 3000 * block, start + 3000 * block + 100 * (record[15] >> 2)]
            edges = [edge % MODULUS for edge in edges]
            out += struct.pack(f"!BB{len(edges)}I", 5, 2 + 4 * len(edges), *edges)
        if kind & 16:
            out += record[12:16] * (1 + (kind >> 6))
        return out[:40] + b"\x01" * (-len(out[:40]) % 4)

    def datagram(self, record: bytes) -> None:
        v6 = bool(record[1] & 1)
        port = (7, 9, 19, 5000, 5001, 53)[record[2] % 6]
        group = ip_address(GROUPS[v6][record[3] % 3]).packed if record[1] & 2 else b""
        length = LENGTHS[record[4] % len(LENGTHS)]
        claimed = 8 + length + (struct.unpack_from("!b", record, 5)[0] if record[1] & 4 else 0)
        head = struct.pack("!HHHH", (7, 53, 5000)[record[6] % 3], port, claimed & 0xFFFF, 0)
        self.inject(v6, UDP, head + bytes(length), group, record[7])

    def control(self, record: bytes) -> None:
        """ICMP and what goes with it: an error about the host's last packet, or anything."""
        v6 = bool(record[1] & 1)
        body = record[8:16]
        if record[1] & 2:
            flow = self.flows[record[4] % len(self.flows)]
            v6, body = flow.v6, flow.packet[: (28, 40, 60, 548, 1232)[record[5] % 5]]
            if record[1] & 16:
                body = body.ljust(128, b"\0") + b"\x20\0\0\0" + record[8:16]
        elif record[1] & 4:
            body = bytes(LENGTHS[record[4] % len(LENGTHS)])
        word = struct.unpack_from("!I", record, 4)[0] if record[1] & 8 else (record[6] << 8)
        message = struct.pack("!BBHI", record[2], record[3], 0, word) + body
        self.inject(v6, ICMPV6 if v6 else ICMP, message)

    def group(self, record: bytes) -> None:
        """A membership query or report (RFC 3376, 3810)."""
        v6 = bool(record[1] & 1)
        sources = record[4] % 4
        address = ip_address(GROUPS[v6][record[2] % 3]).packed if record[2] & 4 else bytes(
            16 if v6 else 4
        )  # fmt: skip
        tail = bytes([record[5], record[6], 0, sources]) + PEER[v6] * (record[7] % 4)
        kind = ((0x11, 0x12, 0x16, 0x17, 0x22), (130, 131, 132, 143, 133))[v6][record[3] % 5]
        if v6:
            message = struct.pack("!BBHHH", kind, 0, 0, record[8] << 8 | record[9], 0)
            router_alert = b"\x3a\x00\x05\x02\x00\x00\x01\x00"
            message += address + (tail if record[1] & 2 else b"")
            pseudo = PEER[1] + ip_address("ff02::1").packed
            pseudo += struct.pack("!II", len(message), ICMPV6)
            message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
            head = struct.pack("!IHBB", 6 << 28, 8 + len(message), 0, 1)
            source = ip_address("fe80::1").packed if record[1] & 8 else PEER[1]
            packet = head + source + ip_address("ff02::1").packed + router_alert + message
            self.deliver(Packet(packet))
            return
        message = bytes([kind, record[8], 0, 0]) + address + (tail if record[1] & 2 else b"")
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        self.inject(False, 2, message, ip_address("224.0.0.1").packed)

    def extended(self, record: bytes) -> None:
        """IPv6 with extension headers, or IPv4 with options, as the record has them."""
        body = struct.pack("!HHHH", 53, 7, 12, 0) + b"body"
        if record[1] & 1:
            kind = EXTENSIONS[record[2] % len(EXTENSIONS)]
            chain = bytes([(UDP, 59, 43, 60, 44, TCP)[record[3] % 6], record[4] & 3]) + record[5:11]
            chain += record[8:16] * (record[4] & 3)
            self.inject(True, kind, chain + body)
            return
        options = record[4 : 4 + 4 * (record[2] % 4)]
        packet = Packet(
            struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0, 0, 7, 0, record[3] or 64, UDP, 0)
            + PEER[0] + HOST[0] + options + body
        )  # fmt: skip
        packet.repair(random.Random(1))
        self.deliver(packet)

    def raw(self, record: bytes) -> None:
        """The last packet again, with bytes of the record in it; or as if the host had sent it."""
        packet = Packet(self.last)
        if record[1] & 1:
            at = record[2]
            packet[at : at + 1 + record[3] % 12] = record[4 : 5 + record[3] % 12]
        if packet:
            self.deliver(packet)

    def spoil(self, record: bytes) -> None:
        self.spoilt = record[2] << 8 | record[1]

    def fragment(self, record: bytes) -> None:
        self.cut = record[1] << 16 | record[2] << 8 | record[3] | 1

    def as_train(self, record: bytes) -> None:
        self.train = (1, 100, 536, 1000, 1448, 65535)[record[1] % 6]


def pieces(packet: Packet, how: int) -> list[bytes]:
    """Fragments of a packet: how large, one of them missing, moved, or twice."""
    v6, start = packet.v6, packet.header
    size, odd, which = 8 * (1 + (how >> 16)), how >> 8 & 7, how & 0xFF
    body = bytes(packet[start:])
    size = max(size, len(body) // 24 // 8 * 8)
    out = []
    for number, at in enumerate(range(0, len(body), size)):
        data, offset, more = body[at : at + size], at, at + size < len(body)
        if number == which % 8:
            if odd == 1:
                continue
            offset += {2: 8, 3: -8, 4: 65000, 5: 0}.get(odd, 0)
            more ^= odd == 6
            data += bytes(4) if odd == 7 else b""
        field = max(offset, 0) & 0xFFF8
        piece = Packet(packet[:start])
        if v6 and start >= 40:
            head = struct.pack("!BBHI", packet[6], 0, field | more, 9)
            piece[6] = 44
            piece.put(4, "!H", 8 + len(data))
            out.append(bytes(piece + head + data))
        elif not v6 and start >= 20:
            piece.put(2, "!H", start + len(data))
            piece.put(6, "!H", field >> 3 | (0x2000 if more else 0))
            piece.put(10, "!H", 0)
            piece.put(10, "!H", checksum(bytes(piece)))
            out.append(bytes(piece + data))
    if odd == 5:
        out.reverse()
    return out
