"""What a script says, as the parser has understood it.

Called by: parser, which makes them; the runner and its parts, which read them.
RFCs: none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Expressions: arguments and results of system calls.


@dataclass(frozen=True, slots=True)
class Anything:
    """`...`: the runner supplies it, or does not look at it."""


@dataclass(frozen=True, slots=True)
class Integer:
    value: int


@dataclass(frozen=True, slots=True)
class Word:
    """A constant by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class String:
    text: str
    open_ended: bool = False  # `"..."...`: the first part of what is meant


@dataclass(frozen=True, slots=True)
class Either:
    """`a|b`: bits set in one or the other."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class List:
    """`[a, b]`."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Struct:
    """`{a, b}`, mostly of Assign."""

    items: tuple[Expression, ...]

    def get(self, name: str) -> Expression | None:
        """The value of a field."""
        for item in self.items:
            if isinstance(item, Assign) and item.name == name:
                return item.value
        return None


@dataclass(frozen=True, slots=True)
class Assign:
    """`name=value` or `name(arguments)=value`."""

    name: str
    arguments: tuple[Expression, ...] | None
    value: Expression


@dataclass(frozen=True, slots=True)
class Function:
    """`name(arguments)` within an expression, such as inet_addr("192.0.2.1")."""

    name: str
    arguments: tuple[Expression, ...]


Expression = Anything | Integer | Word | String | Either | List | Struct | Assign | Function

# Packets.


@dataclass(frozen=True, slots=True)
class IpInfo:
    """What a script says of the IP header; None: nothing."""

    ecn: int | None = None
    either_ect: bool = False  # ect01
    tos: int | None = None
    dscp: int | None = None
    flow_label: int | None = None
    ttl: int | None = None


@dataclass(frozen=True, slots=True)
class TcpOption:
    """One option as it lies on the wire, its kind and length included."""

    kind: int
    wire: bytes
    numbers: tuple[int, ...] = ()  # of SACK: edges; of timestamps: val, ecr
    raw: bool = False  # nplab: not to be translated


@dataclass(frozen=True, slots=True)
class Tcp:
    flags: int  # by their place in the header; AE is 0x100
    seq: int | None  # None: not checked
    payload: int
    ack: int | None = None
    window: int | None = None
    urgent: int | None = None
    options: tuple[TcpOption, ...] | None = ()  # None: not checked
    ports: tuple[int, int] | None = None
    raw_seq: bool = False  # nplab's `!`: no translation
    raw_ack: bool = False
    encapsulation: tuple[int, int] | None = None  # ports of UDP around it


@dataclass(frozen=True, slots=True)
class Udp:
    payload: int
    ports: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """What an ICMP error quotes: tcp with a sequence number, udp, or raw: nothing."""

    protocol: str = "tcp"
    seq: int = 0
    payload: int = 0
    raw_seq: bool = False


@dataclass(frozen=True, slots=True)
class Icmp:
    """type and code by name."""

    type: str
    code: str | None = None
    mtu: int | None = None
    id: int | None = None
    quote: Quote | None = None


@dataclass(frozen=True, slots=True)
class Packet:
    inbound: bool
    ip: IpInfo
    body: Tcp | Udp | Icmp


# Events.


@dataclass(frozen=True, slots=True)
class When:
    """Times in ns; of `base` if relative. until is None unless it is a window."""

    at: int = 0
    until: int | None = None
    relative: bool = True
    anytime: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: tuple[Expression, ...]
    result: Expression
    errno: str | None = None
    returns_at: int | None = None  # ns after the base of the call: it blocks until then
    returns_relative: bool = True


@dataclass(frozen=True, slots=True)
class Command:
    """What a shell would be given."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """Python."""

    text: str


@dataclass(frozen=True, slots=True)
class Event:
    when: When
    action: Packet | Call | Command | Code
    line: int
    column: int
    text: str  # as it is written


@dataclass(frozen=True, slots=True)
class Option:
    name: str
    value: str | None
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Script:
    path: str
    options: tuple[Option, ...] = ()
    init: Command | None = None
    events: tuple[Event, ...] = ()
    cleanup: Command | None = None
    dialect: str = "google"
    symbols: dict[str, str] = field(default_factory=dict)
