"""A dialogue: steps that bring a host into some state, and then do to it what a seed says."""

from __future__ import annotations

import random
from dataclasses import dataclass

from differential.segments import MSS, IcmpError, Plan


@dataclass(frozen=True)
class Call:
    """A call of the application."""

    name: str
    argument: int = 0

    def __str__(self) -> str:
        return f"{self.name}({self.argument or ''})"


@dataclass(frozen=True)
class Wait:
    """Time that passes."""

    ms: int

    def __str__(self) -> str:
        return f"{self.ms} ms pass"


Step = Plan | IcmpError | Call | Wait


@dataclass(frozen=True)
class Dialogue:
    seed: int
    family: int
    options: frozenset[str]
    state: str
    steps: tuple[Step, ...]


SYN = Plan("S", seq_from="iss", ack_from="una")
LISTEN = (Call("listen"),)
HALF_OPEN = (*LISTEN, SYN)
PASSIVE = (*HALF_OPEN, Plan(), Call("accept"))
CONNECT = (Call("connect"),)
ACTIVE = (*CONNECT, Plan("SA", seq_from="iss"))
FIN = Plan("FA")
OLD_ACK = "una"

# After the handshake, to each state.
AFTER_OPEN: dict[str, tuple[Step, ...]] = {
    "ESTABLISHED": (),
    "ESTABLISHED, text on its way": (Call("send", 3000),),
    "ESTABLISHED, a hole": (Plan("A", seq=1000, length=1000),),
    "ESTABLISHED, text unread": (Plan("PA", length=1000),),
    "ESTABLISHED, window closed": (Plan(window=0), Call("send", 3000)),
    "FIN-WAIT-1": (Call("shutdown", 1),),
    "FIN-WAIT-1, orphan": (Call("close"),),
    "FIN-WAIT-2": (Call("shutdown", 1), Plan()),
    "FIN-WAIT-2, orphan": (Call("close"), Plan()),
    "CLOSING": (Call("close"), Plan("FA", ack_from="una")),
    "TIME-WAIT": (Call("close"), FIN),
    "CLOSE-WAIT": (FIN,),
    "LAST-ACK": (FIN, Call("close")),
    "CLOSED": (Plan("R"),),
}
BEFORE_OPEN: dict[str, tuple[Step, ...]] = {
    "nobody": (),
    "LISTEN": LISTEN,
    "SYN-RECEIVED": HALF_OPEN,
    "SYN-SENT": CONNECT,
    "SYN-RECEIVED, crossing": (*CONNECT, SYN),
}
TRANSFER = "a transfer"
STATES = [*BEFORE_OPEN, *AFTER_OPEN, TRANSFER]
OFFERS = (
    frozenset({"mss", "sack", "ts", "wscale"}),
    frozenset({"mss", "sack", "ts", "wscale"}),
    frozenset({"mss", "sack", "ts"}),
    frozenset({"mss", "ts"}),
    frozenset({"mss", "sack", "wscale"}),
    frozenset({"mss"}),
    frozenset(),
)

FLAGS = (
    *("A",) * 10, *("PA",) * 6, *("FA",) * 3, "FPA", "S", "S", "SA", "R", "R", "RA", "", "F", "SF",
    "SR", "SFA", "UA", "UPA", "SEC", "SAE", "EA", "CA", "ECA", "P", "FR", "FSRPAU",
)  # fmt: skip
ICMP_ERRORS = (
    "network unreachable", "host unreachable", "port unreachable", "prohibited", "time exceeded",
)  # fmt: skip
FAR = (1 << 31) - 1
RAW = (
    b"\x00", b"\x01\x01\x00\xff", b"\x08\x0a\x00", b"\x05\x03\x01", b"\x05\x0a\x00\x00\x00\x01",
    b"\x02\x04\x02\x00", b"\x02\x04\x00\x00", b"\x03\x03\x0f", b"\x03\x03\x00", b"\x04\x02",
    b"\xfe\x04\x12\x34", b"\x1e\x08\x00\x00\x00\x00\x00\x00", b"\x63\x00\x01\x01",
    b"\x63\x01\x01\x01", b"\x63\x28\x01\x01", b"\x02\x03\x05", b"\x08\x0b" + bytes(9),
    b"\x22\x02", b"\x22\x0a" + bytes(8), b"\x13\x12" + bytes(16), b"\x1c\x04\x80\x0a",
)  # fmt: skip


def dialogue(seed: int) -> Dialogue:
    rng = random.Random(seed)
    state = rng.choice(STATES)
    family = rng.choice((4, 6))
    options = rng.choice(OFFERS)
    if state == TRANSFER or rng.random() < 0.1:
        return Dialogue(seed, family, options, TRANSFER, transfer(rng, mss(family, options)))
    if state in BEFORE_OPEN:
        steps = BEFORE_OPEN[state]
    else:
        steps = (*rng.choice((PASSIVE, PASSIVE, ACTIVE)), *AFTER_OPEN[state])
    more = [step(rng) for _ in range(rng.choice((1, 2, 3, 4, 6)))]
    if rng.random() < 0.03:
        more.insert(rng.randrange(len(more) + 1), Wait(rng.choice((70, 110))))
    return Dialogue(seed, family, options, state, (*steps, *more))


def mss(family: int, options: frozenset[str]) -> int:
    """Text of a full segment to such a peer."""
    most = MSS if "mss" in options else {4: 536, 6: 1220}[family]
    return most - (12 if "ts" in options else 0)


def transfer(rng: random.Random, size: int) -> tuple[Step, ...]:
    """Some windows of text, in segments of `size`, and what ACKs say of it: that it has come, in
    order or not, twice, or nothing for a while.
    """
    # Reno's window does not depend on the moment's clock.
    steps = [*rng.choice((PASSIVE, ACTIVE)), Call("reno")]
    steps.append(Call("send", rng.choice((4 * size, 10 * size, 12 * size + 100))))
    for _ in range(rng.randrange(2, 12)):
        kind = rng.random()
        if kind < 0.75:
            steps.append(news(rng, size))
        elif kind < 0.85:
            steps.append(Call("send", rng.choice((1, 100, size, 3 * size, 5 * size))))
        elif kind < 0.92:
            steps.append(Wait(rng.choice((1, 5, 15, 50, 250, 250, 450, 700))))
        else:
            name, argument = rng.choice((("shutdown", 1), ("nodelay", 1), ("cork", 1), ("cork", 0)))
            steps.append(Call(name, argument))
    return tuple(steps)


def news(rng: random.Random, size: int) -> Plan:
    """An ACK of some segments, with SACK blocks beyond them; the first may be a D-SACK."""
    acked = rng.choice((0, 0, 0, 0, 0, 1, 1, 2, 3, 5))
    blocks = []
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        start = acked + rng.randrange(1, 10)
        blocks.append((start * size, (start + rng.choice((1, 1, 1, 2, 3, 6))) * size))
    if rng.random() < 0.1:
        blocks.insert(0, (-size, 0))
    late = rng.random() < 0.06
    return Plan(
        ack_from="una", ack=acked * size, sack=tuple(blocks[:3]),
        ts=(0, rng.choice((-10, -20, -40))) if late else (0, 0),
    )  # fmt: skip


def step(rng: random.Random) -> Step:
    if rng.random() < 0.03:
        return IcmpError(rng.choice(ICMP_ERRORS), rng.choice((0, 0, 0, -1, 1, 5000, -5000)))
    if rng.random() < 0.8:
        return segment(rng)
    name, argument = rng.choice((
        ("send", 10), ("send", 1000), ("send", 5000), ("recv", 100), ("recv", 100_000),
        ("shutdown", 0), ("shutdown", 1), ("shutdown", 2), ("close", 0), ("abort", 0),
        ("accept", 0), ("error", 0), ("nodelay", 1), ("cork", 1), ("cork", 0), ("oob", 1),
        ("oob", 2000), ("peek", 100), ("recv", 1),
    ))  # fmt: skip
    return Call(name, argument)


def segment(rng: random.Random) -> Plan:
    flags = rng.choice(FLAGS)
    text = rng.random() < (0.8 if "P" in flags else 0.25)
    length = rng.choice((1, 10, 500, 988, 1000, 1460, 3000)) if text else 0
    seq_from, seq = sequence(rng, length)
    if "S" in flags and rng.random() < 0.5:
        seq_from, seq = "iss", rng.choice((0, 0, 0, 1, -1, 5000))
    ack_from, ack = acknowledgment(rng)
    return Plan(
        flags, seq, seq_from, ack, ack_from, length,
        window=rng.choice((65535, 65535, 65535, 0, 1, 100, 1000)),
        ts=timestamps(rng),
        sack=sack(rng) if "S" not in flags and rng.random() < 0.12 else (),
        raw=rng.choice(RAW) if rng.random() < 0.08 else b"",
        urgent=rng.choice((0, 1, 10, 65535)) if "U" in flags or rng.random() < 0.02 else 0,
        offset=rng.choice((0, 4, 5, 6, 15)) if rng.random() < 0.02 else None,
        ecn=rng.choice((1, 2, 3)) if rng.random() < 0.05 else 0,
    )  # fmt: skip


def sequence(rng: random.Random, length: int) -> tuple[str, int]:
    """In order, mostly; beyond a hole, old, around the edges of the window, or anywhere."""
    if rng.random() < 0.5:
        return "nxt", 0
    return rng.choice((
        ("nxt", -1), ("nxt", 1), ("nxt", -length), ("nxt", -length + 1), ("nxt", -length - 1),
        ("nxt", 1000), ("nxt", 2000), ("nxt", -5000), ("nxt", 30000), ("nxt", FAR),
        ("nxt", -FAR), ("edge", 0), ("edge", -1), ("edge", 1), ("edge", -length),
        ("edge", -length + 1), ("edge", 10000),
    ))  # fmt: skip


def acknowledgment(rng: random.Random) -> tuple[str, int]:
    if rng.random() < 0.6:
        return "nxt", 0
    return rng.choice((
        ("nxt", 1), ("nxt", -1), ("nxt", 1000), ("una", 0), ("una", 0), ("una", -1), ("una", 1),
        ("una", 500), ("una", 1000), ("una", -5000), ("una", -70000), ("nxt", FAR), ("una", -FAR),
    ))  # fmt: skip


def timestamps(rng: random.Random) -> tuple[int, int] | None:
    if rng.random() < 0.75:
        return 0, 0
    return rng.choice((
        None, (-1, 0), (-100, 0), (-FAR, 0), (100, 0), (FAR, 0), (1 << 31, 0), (0, -1), (0, 1000),
        (0, -FAR),
    ))  # fmt: skip


def sack(rng: random.Random) -> tuple[tuple[int, int], ...]:
    """Of what the host has sent, of what it has not, of what is acknowledged, and nonsense."""
    blocks = ((1000, 2000), (1000, 1500), (2000, 3000), (-100, 0), (0, 1000), (5000, 900_000),
              (2000, 1000), (1000, 1000), (-70000, -69000), (FAR, FAR + 10))  # fmt: skip
    return tuple(rng.choice(blocks) for _ in range(rng.choice((1, 1, 2, 3))))
