"""The other end of a TCP connection, in a test's hands: segments in, segments out, time set.

A Peer speaks with one Host (tests/native/core). Its words are those of RFC 9293: flags are letters
(S A F R P U E C), sequence numbers of either side are relative to that side's ISN: the first byte
of data is 1.
"""

from __future__ import annotations

from scenario.tcp_wire import (
    FLAGS,
    IPV4,
    MODULUS,
    Segment,
    icmp_error,
    ip_packet,
    letters,
    option_bytes,
    parse_options,
    parse_packet,
    tcp_bytes,
)

MS = 1_000_000
SECOND = 1_000_000_000
PLAIN = {"mss": 1000}
FULL = {"mss": 1000, "sack_ok": True, "ts": True, "wscale": 7}
TIMESTAMPS = {"mss": 1000, "ts": True}
SACK = {"mss": 1000, "sack_ok": True}

# Kind and code of the ICMP errors, of IPv4 and of IPv6.
ERRORS = {
    "network unreachable": ((3, 0), (1, 0)),
    "host unreachable": ((3, 1), (1, 3)),
    "port unreachable": ((3, 3), (1, 4)),
    "prohibited": ((3, 13), (1, 1)),
    "too big": ((3, 4), (2, 0)),
    "time exceeded": ((11, 0), (3, 0)),
    "quench": ((4, 0), None),
}


class Peer:
    """One remote endpoint. `iss` is ours, `irs` the host's ISN once it has been seen."""

    def __init__(
        self, host, family=IPV4, *, port=40000, local_port=80, iss=1_000_000, options=None
    ):
        self.host = host
        self.family = family
        self.local, self.local_port = family.ours, local_port
        self.remote, self.port = family.theirs, port
        self.iss = iss
        self.irs: int | None = None
        self.options = dict(PLAIN if options is None else options)
        self.timestamps = False
        self.ts_val = 5000
        self.ts_recent = 0
        self.window = 65535
        self.snd_nxt = 0  # relative to iss
        self.rcv_nxt = 0  # relative to irs
        self.pending: list[Segment] = []
        self.others: list[bytes] = []  # packets to nobody we know
        self.peers = [self]  # all on this host
        self.listener = self.socket = None

    def sibling(self, port: int, family=None, **fields: object) -> Peer:
        """Another endpoint that speaks with the same host."""
        fields = {"local_port": self.local_port, "options": self.options} | fields
        other = Peer(self.host, family or self.family, port=port, **fields)  # type: ignore[arg-type]
        other.peers, other.others = self.peers, self.others
        other.listener = self.listener
        self.peers.append(other)
        return other

    # --- out of the peer, into the host

    def inject(
        self,
        flags: str,
        seq: int | None = None,
        ack: int | None = None,
        data: bytes = b"",
        *,
        window: int | None = None,
        options: dict[str, object] | None = None,
        sack: list[tuple[int, int]] | None = None,
        urgent: int = 0,
        offset: int | None = None,
        gso_size: int = 0,
        tos: int = 0,
        bad_checksum: bool = False,
    ) -> None:
        """Send a segment; seq is snd_nxt unless given, ack (with A) rcv_nxt; agreed timestamps."""
        seq = self.snd_nxt if seq is None else seq
        options = dict(options or {})
        if self.timestamps and "ts" not in options and "R" not in flags:
            options["ts"] = (self.ts_val, self.ts_recent)
        irs = self.irs or 0
        if sack:
            options["sack"] = [(irs + start, irs + end) for start, end in sack]
        segment = tcp_bytes(
            (self.remote, self.port),
            (self.local, self.local_port),
            self.iss + seq,
            irs + (self.rcv_nxt if ack is None else ack) if "A" in flags else 0,
            sum(FLAGS[flag] for flag in flags),
            self.window if window is None else window,
            option_bytes(options),
            data,
            urgent,
            offset,
        )
        if bad_checksum:
            segment = segment[:16] + bytes([segment[16] ^ 1]) + segment[17:]
        self.snd_nxt = max(self.snd_nxt, seq + len(data) + ("S" in flags) + ("F" in flags))
        self.host.input(ip_packet(self.remote, self.local, 6, segment, tos), gso_size)

    def error(self, name: str, about: Segment, *, mtu: int = 0, quote: int = 8) -> None:
        """An ICMP error about a packet that the host has sent, from a router in between."""
        kind, code = ERRORS[name][self.family.v6]
        reporter = "2001:db8::ffff" if self.family.v6 else "192.0.2.254"
        self.host.input(icmp_error(reporter, self.local, kind, code, mtu, about.raw, quote))

    # --- out of the host, into the peer

    def collect(self) -> list[Segment]:
        """What the host has sent until now. Nothing may be left that is due at once, for ever."""
        for packet in self.host.take():
            self.deliver(packet)
        deadline = self.host.deadline
        assert deadline is None or deadline > self.host.now, "a timer in the past"
        return self.pending

    def deliver(self, packet: bytes) -> None:
        source, destination, tcp, raw = parse_packet(packet)
        for peer in self.peers:
            if destination == (peer.remote, peer.port) and source[0] == peer.local:
                peer.pending.append(peer.read(tcp, raw, packet))
                return
        self.others.append(packet)

    def read(self, tcp, raw: bytes, packet: bytes) -> Segment:
        options = parse_options(tcp.opts)
        if tcp.flags & FLAGS["S"]:
            self.irs = tcp.seq
        if "ts" in options:
            self.ts_recent = options["ts"][0]  # type: ignore[index]
        if "sack" in options:
            options["sack"] = [
                ((start - self.iss) % MODULUS, (end - self.iss) % MODULUS)
                for start, end in options["sack"]  # type: ignore[attr-defined]
            ]
        segment = Segment(
            letters(tcp.flags),
            (tcp.seq - (self.irs or 0)) % MODULUS,
            (tcp.ack - self.iss) % MODULUS,
            tcp.win,
            bytes(tcp.data),
            options,
            tcp.urp,
            self.host.now,
            packet,
        )
        end = segment.end + ("S" in segment.flags) + ("F" in segment.flags)
        if "R" not in segment.flags and end < MODULUS // 2:
            self.rcv_nxt = max(self.rcv_nxt, end)
        return segment

    def expect(self, flags: str, **fields: object) -> Segment:
        """The next segment that the host sent; flags (but for P) and given fields must agree."""
        self.collect()
        assert self.pending, f"nothing was sent, expected {flags} {fields}"
        segment = self.pending.pop(0)
        assert set(segment.flags) - {"P"} == set(flags) - {"P"}, f"{segment}, expected {flags}"
        for name, value in fields.items():
            assert getattr(segment, name) == value, f"{segment}, expected {name}={value}"
        return segment

    def expect_delayed(self, flags: str, **fields: object) -> Segment:
        """Nothing now, but when an ACK is delayed no longer (40 ms)."""
        self.expect_nothing()
        self.advance(40 * MS)
        return self.expect(flags, **fields)

    def expect_data(self, *ranges: tuple[int, int]) -> list[Segment]:
        """Exactly these stretches of the host's stream, in this order, each in one segment."""
        segments = self.drop()
        assert [(s.seq, s.end) for s in segments] == list(ranges), [str(s) for s in segments]
        return segments

    def expect_nothing(self) -> None:
        self.collect()
        assert not self.pending, f"unexpected {self.pending[0]}"

    def drop(self) -> list[Segment]:
        """Whatever the host has sent; the peer has it or not, as the test goes on to say."""
        self.collect()
        dropped, self.pending = self.pending, []
        return dropped

    # --- time

    def advance(self, ns: int) -> None:
        """Let time pass, with a stop at every deadline of the host, as a driver would."""
        end = self.host.now + ns
        self.collect()
        while self.host.deadline is not None and self.host.deadline <= end:
            self.host.advance(self.host.deadline - self.host.now)
            self.collect()
        self.host.advance(end - self.host.now)
        self.collect()

    def step(self) -> None:
        """On to the host's next deadline; a look at who may rest is none if there is another."""
        self.collect()
        deadline = self.host.protocol_deadline or self.host.deadline
        self.host.advance(deadline - self.host.now)
        self.collect()

    # --- common beginnings

    def syn_options(self) -> dict[str, object]:
        options = dict(self.options)
        if options.get("ts") is True:
            options["ts"] = (self.ts_val, self.ts_recent)
        return options

    def open(self, **fields: object) -> Segment:
        """The peer's SYN to a listener, and the host's answer."""
        self.inject("S", seq=0, options=self.syn_options(), **fields)  # type: ignore[arg-type]
        answer = self.expect("SA", ack=1)
        self.timestamps = "ts" in answer.options
        return answer

    def handshake(self, rtt: int = 0, **fields: object) -> None:
        """The peer opens to a listener, up to ESTABLISHED."""
        self.open(**fields)
        self.advance(rtt)
        self.inject("A")
        self.expect_nothing()

    def answer_syn(self, rtt: int = 0, **fields: object) -> Segment:
        """The host opens: take its SYN, answer SYN-ACK, take the ACK."""
        syn = self.expect_syn()
        self.advance(rtt)
        self.inject("SA", seq=0, ack=1, options=self.syn_options(), **fields)  # type: ignore[arg-type]
        self.timestamps = "ts" in self.options and "ts" in syn.options
        self.expect("A", ack=1)
        return syn

    def expect_syn(self) -> Segment:
        """The host's SYN, from whatever port."""
        syn = self.expect("S")
        at = self.family.header
        self.local_port = int.from_bytes(syn.raw[at : at + 2], "big")
        return syn

    def send(self, size: int, *, ack: bool = True) -> bytes:
        """Data from the host's application, and the peer's ACK of what then came out of it."""
        data = bytes(i % 251 for i in range(size))
        self.socket.send(data)
        self.collect()
        if ack:
            self.drop()
            self.inject("A")
        return data

    def drain(self) -> int:
        """Acknowledge the host's text until no more comes; how many bytes that was."""
        size = 0
        while segments := [segment for segment in self.drop() if segment.data]:
            size += sum(segment.length for segment in segments)
            self.inject("A")
        return size

    def fill(self) -> None:
        """Text up to the edge of the host's window, until that is closed."""
        while True:
            tcb = self.tcb
            window = (tcb.rcv_edge - tcb.rcv_nxt) % MODULUS
            if window == 0:
                break
            self.inject("A", data=bytes(min(window, 1000)))
            self.advance(50 * MS)
        assert self.drop()[-1].window == 0

    @property
    def state(self) -> str:
        """Of the connection with this peer, whoever holds it."""
        tcb = self.host.find(self.local, self.local_port, self.remote, self.port)
        return "CLOSED" if tcb is None else tcb.state

    @property
    def tcb(self):
        """A look at the host's TCB, held or not; valid until the host is next entered."""
        return self.host.find(self.local, self.local_port, self.remote, self.port)
