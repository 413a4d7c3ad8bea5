"""The rows of the table: traffic, who takes part, and what pystack is to reach.

Called by: command, measure, report.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

ECHO, DISCARD, CHARGEN = 7, 9, 19
TRIAL = "trial"  # of trial.py, without the load generator
# The services of the Python programs stand beside the native ones: program.py, aio_program.py.
PROGRAM, STREAMS, PROTOCOLS = 1000, 2000, 3000
HTTP, HTTP_BODY = 80, 100  # of uvicorn: port, and bytes of a response's body

GBIT = "Gbit/s"
PER_SECOND = "/s"
MBIT, MILLISECONDS, MICROSECONDS, NANOSECONDS, BYTES = "Mbit/s", "ms", "µs", "ns", "bytes"


@dataclass(frozen=True)
class Row:
    """One kind of traffic, and the systems that take it."""

    name: str
    title: str
    mode: str  # of the load generator, or TRIAL; or a program of somebody else's: outside.py
    port: int
    subject: str  # the system that the targets are about
    systems: tuple[str, ...]  # in the order of measurement
    number: int = 1  # connections, or packets in flight
    size: int = 1
    unit: str = PER_SECOND
    one_core: bool = False
    quick: bool = False  # part of --quick
    targets: dict[str, float] = field(default_factory=dict)  # reference -> least ratio
    less: bool = False  # less is better: ratios are the reference's figure to the subject's
    value: str = ""  # what of the report is the figure, if it is a latency
    paced_by: str = ""  # requests come at half of the rate that this system can do
    asked: float = 0.0  # the figure of the system "asked", which is nobody's: what is to be reached
    once: bool = False  # in the first round only: it always comes out the same
    ipv6: bool = False


BULK = ("limit", "kernel", "loopback", "lwip", "pystack")
PLAIN = ("limit-plain", "kernel-plain", "lwip", "pytcp", "pystack-plain")
RATE = ("limit", "kernel", "lwip", "pytcp", "pystack")
PROGRAMS = ("kernel-program", "pystack-program")
MIRRORS = ("limit-mirror", "pystack-mirror")
IPV6 = ("limit", "kernel", "pystack")
ECHO_PROGRAMS = ("kernel-program", "kernel-uvloop", "pystack-program")
ASYNCIO = ("kernel-aio", "kernel-uvloop", "pystack-aio", "pystack-uvloop")


def bulk(name: str, title: str, out: bool, **more: object) -> Row:
    port = CHARGEN if out else DISCARD
    return Row(name, title, "stream-out" if out else "stream-in", port, unit=GBIT, **more)  # type: ignore[arg-type]


def request(number: int, **more: object) -> Row:
    given = {
        "name": f"request-{number}",
        "title": f"request-response 1 B, {number} connection{'s' * (number > 1)}",
        "subject": "pystack",
        "systems": RATE,
        "targets": {"limit": 0.9, "kernel": 1.0, "lwip": 1.0, "pytcp": 20},
        **more,
    }
    return Row(mode="request", port=ECHO, number=number, **given)  # type: ignore[arg-type]


def visits(number: int, with_request: bool) -> Row:
    targets = {"limit": 0.8, "lwip": 1.0, "pytcp": 20}
    if number > 1:
        targets["kernel"] = 1.5
    return Row(
        f"connect-{'request-' * with_request}close-{number}",
        f"connect-{'request-' * with_request}close, {number} at once",
        "connect-request" if with_request else "connect",
        ECHO if with_request else DISCARD,
        "pystack",
        RATE,
        number,
        quick=number > 1,
        targets=targets,
    )


def echo(name: str, title: str, mode: str, size: int, quick: bool) -> Row:
    targets = {"limit": 0.95, "lwip": 1.0, "pytcp": 20}
    return Row(name, title, mode, ECHO, "pystack", RATE, 256, size, quick=quick, targets=targets)


def asyncio_rows(kind: str, base: int) -> tuple[Row, ...]:
    """Streams or protocols; pystack on asyncio's own loop against both loops on kernel sockets."""

    def row(name: str, title: str, mode: str, service: int, **more: object) -> Row:
        given = {"subject": "pystack-aio", "targets": {"kernel-aio": 1.0}, **more}
        names = f"{kind}-{name}", f"{title}, asyncio {kind}"
        return Row(*names, mode, base + service, systems=ASYNCIO, **given)  # type: ignore[arg-type]

    both = {"kernel-aio": 1.0, "kernel-uvloop": 1.0}
    return (
        row("in", "TCP in", "stream-in", DISCARD, unit=GBIT),
        row("out", "TCP out", "stream-out", CHARGEN, unit=GBIT),
        row("request-1", "request-response 1 B", "request", ECHO, targets=both),
        row("request-64", "the same, 64 connections", "request", ECHO, number=64, targets=both),
    )


def uvicorn(loop: str, title: str) -> Row:
    """One uvicorn process on a virtual host, and on the kernel's sockets; the same event loop."""
    ours, theirs = f"pystack-uvicorn{loop}", f"kernel-uvicorn{loop}"
    return Row(
        f"uvicorn{loop}",
        f"HTTP requests to one uvicorn, 64 connections, {title}",
        "http",
        HTTP,
        ours,
        (theirs, ours),
        64,
        HTTP_BODY,
        targets={theirs: 1.0},
    )


def latency(quantile: str, title: str) -> Row:
    return Row(
        f"latency-{quantile}",
        f"request-response, 16 connections, half load: {title}",
        "paced",
        ECHO,
        "pystack",
        ("kernel", "pystack"),
        16,
        unit=MICROSECONDS,
        targets={"kernel": 1.0},
        less=True,
        value=quantile,
        paced_by="kernel",
    )


def trial(name: str, title: str, system: str, reference: str = "asked", **more: object) -> Row:
    given = {"targets": {reference: 1.0}, "systems": (reference, system), **more}
    return Row(name, title, TRIAL, 0, system, **given)  # type: ignore[arg-type]


def idle(number: int) -> Row:
    title = f"memory of an idle connection, {number:,} of them"
    return trial(
        f"idle-{number}", title, "idle-memory", number=number, unit=BYTES, less=True, asked=512,
        once=True,
    )  # fmt: skip


def crowd(number: int) -> Row:
    title = f"request in the core, {number:,} connections, 64 busy; one alone"
    return trial(
        f"crowd-{number}", title, "crowd", "alone", number=number, unit=NANOSECONDS, less=True,
        targets={"alone": 1 / 1.3},
    )  # fmt: skip


def over_ipv6(row: Row) -> Row:
    """The same traffic over IPv6."""
    return replace(
        row,
        name=f"ipv6-{row.name}",
        title=f"{row.title}, IPv6",
        systems=IPV6,
        quick=False,
        targets={system: target for system, target in row.targets.items() if system in IPV6},
        ipv6=True,
    )


IPV4_ROWS = (
    bulk(
        "tcp-in",
        "TCP in, offloads",
        False,
        subject="pystack",
        systems=BULK,
        quick=True,
        targets={"limit": 0.85, "kernel": 1.0, "lwip": 4.0},
    ),
    bulk(
        "tcp-out",
        "TCP out, offloads",
        True,
        subject="pystack",
        systems=BULK,
        quick=True,
        targets={"limit": 0.8, "kernel": 0.9, "lwip": 4.0},
    ),
    bulk(
        "tcp-in-plain",
        "TCP in, no offloads",
        False,
        subject="pystack-plain",
        systems=PLAIN,
        quick=True,
        targets={"lwip": 2.5, "kernel-plain": 1.2, "pytcp": 300},
    ),
    bulk(
        "tcp-out-plain",
        "TCP out, no offloads",
        True,
        subject="pystack-plain",
        systems=PLAIN,
        quick=True,
        targets={"limit-plain": 0.95, "pytcp": 300},
    ),
    Row(
        "program-in",
        "TCP in, Python program, recv_into",
        "stream-in",
        PROGRAM + DISCARD,
        "pystack-program",
        PROGRAMS,
        unit=GBIT,
        quick=True,
        targets={"kernel-program": 0.7},
    ),
    Row(
        "program-out",
        "TCP out, Python program, sendall",
        "stream-out",
        PROGRAM + CHARGEN,
        "pystack-program",
        PROGRAMS,
        unit=GBIT,
        quick=True,
        targets={"kernel-program": 0.7},
    ),
    request(1, name="request-1-one-core", title="request-response 1 B, one core", one_core=True),
    request(1, quick=True),
    request(16, quick=True),
    request(256),
    visits(1, False),
    visits(32, False),
    visits(1, True),
    visits(32, True),
    echo("icmp", "ICMP echo, 256 in flight", "icmp", 56, True),
    echo("udp-64", "UDP echo 64 B, 256 in flight", "udp", 64, True),
    echo("udp-1400", "UDP echo 1400 B, 256 in flight", "udp", 1400, False),
    Row(
        "mirror-icmp",
        "ICMP echo, mirrored",
        "icmp",
        ECHO,
        "pystack-mirror",
        MIRRORS,
        256,
        56,
        targets={"limit-mirror": 0.95},
    ),
    Row(
        "mirror-tcp",
        "TCP in, mirrored",
        "stream-in",
        DISCARD,
        "pystack-mirror",
        MIRRORS,
        unit=GBIT,
        targets={"limit-mirror": 0.95},
    ),
    Row(
        "udp-in",
        "UDP in, USO, 44 x 1472 B",
        "udp-in",
        DISCARD,
        "pystack",
        ("limit", "kernel", "pystack"),
        unit=GBIT,
        quick=True,
        targets={"limit": 0.8},
    ),
    Row(
        "udp-in-out",
        "UDP echo, USO, 44 x 1472 B",
        "udp-train",
        ECHO,
        "pystack",
        ("limit", "kernel", "pystack"),
        8,
        unit=GBIT,
        targets={"limit": 0.8},
    ),
    Row(
        "program-request-1",
        "request-response 1 B, Python program",
        "request",
        PROGRAM + ECHO,
        "pystack-program",
        ECHO_PROGRAMS,
        quick=True,
        targets={"kernel-program": 1.0, "kernel-uvloop": 1.0},
    ),
    Row(
        "program-request-64",
        "the same, 64 connections, a thread for each",
        "request",
        PROGRAM + ECHO,
        "pystack-program",
        ECHO_PROGRAMS,
        64,
        targets={"kernel-program": 1.0, "kernel-uvloop": 1.0},
    ),
    *asyncio_rows("streams", STREAMS),
    *asyncio_rows("protocols", PROTOCOLS),
    uvicorn("", "asyncio's loop"),
    uvicorn("-uvloop", "uvloop"),
    replace(uvicorn("-uvloop", "uvloop, by wrk"), name="wrk", mode="wrk"),
    Row(
        "iperf3",
        "TCP in, mirrored, by iperf3",
        "iperf3",
        0,
        "pystack-mirror",
        ("loopback-iperf3", "kernel-iperf3", *MIRRORS),
        unit=GBIT,
        targets={"limit-mirror": 0.95},
    ),
    latency("p50", "median"),
    latency("p99", "99 %"),
    latency("p999", "99.9 %"),
    idle(10_000),
    idle(100_000),
    idle(1_000_000),
    crowd(1_000),
    crowd(100_000),
    trial(
        "goodput", "goodput at 1 % loss and 20 ms, cubic", "pystack-link", "linux-link", unit=MBIT
    ),
    trial(
        "simulation", "simulated segments of 1 GB, both ways", "simulation", number=1000, asked=1e6
    ),
    trial(
        "import",
        "import pystack; with Stack",
        "import",
        unit=MILLISECONDS,
        less=True,
        asked=50,
        systems=("asked", "import", "import-stack"),
    ),
    trial(
        "serve",
        "serve, until a ping is answered",
        "serve",
        unit=MILLISECONDS,
        less=True,
        asked=400,
        systems=("asked", "serve-least", "serve"),
    ),
)

# What can be reached on this machine is shown by the first of these that takes part in a row: no
# stack, or the same program on the kernel's own.
BOUNDS = ("limit", "limit-plain", "limit-mirror", "kernel-program", "kernel-aio", "serve-least")

# Of the rows above, those that are measured over IPv6, too.
BOTH = ("tcp-in", "tcp-out", "request-1", "request-16", "icmp", "udp-64", "udp-1400")
ROWS = (*IPV4_ROWS, *(over_ipv6(row) for row in IPV4_ROWS if row.name in BOTH))


def bound(row: Row) -> str:
    """The system that shows what this machine allows; "" if none does."""
    return next((name for name in BOUNDS if name in row.systems), "")


def chosen(only: list[str], quick: bool) -> list[Row]:
    """The rows whose names begin with one of `only`; ValueError if one of these fits none."""
    for prefix in only:
        if not any(row.name.startswith(prefix) for row in ROWS):
            raise ValueError(f"no row {prefix!r}; there are {', '.join(row.name for row in ROWS)}")
    if only:
        return [row for row in ROWS if row.name.startswith(tuple(only))]
    return [row for row in ROWS if row.quick or not quick]
