"""Transfers over a described link: one, or a grid of them on any executor.

Called by: `pystack sim`, tools/golden, applications' studies.
RFCs: none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from mmap import mmap
from socket import MSG_TRUNC, MSG_WAITALL
from typing import Any

from pystack.link.quality import Quality, check_names
from pystack.link.units import Quantity, size_bytes
from pystack.socket import Socket
from pystack.tcpconfig import TcpConfig
from pystack.testing.network import PathOrFile, VirtualNetwork

SENDER, RECEIVER = "10.0.0.1", "10.0.0.2"
PORT = 5001
WRITE_SIZE = 1 << 16  # bytes
READ_SIZE = 1 << 26
MILLISECOND = 1_000_000  # ns


@dataclass(frozen=True)
class Transfer:
    """One TCP transfer, as described; `run` it."""

    bytes: Quantity = "5MB"
    seed: int = 0
    cc: str | None = None  # congestion control, by the names of TCP_CONGESTION
    buffer: Quantity | None = None  # of both ends; None: they tune themselves
    limit: Quantity = "1h"  # virtual time after which it has failed
    link: Quality = field(default_factory=lambda: Quality())

    def __post_init__(self) -> None:
        check_names(dict(self.link))
        size_bytes(self.bytes)

    def config(self) -> TcpConfig:
        """What its hosts are configured with."""
        changes: dict[str, Any] = {}
        if self.cc is not None:
            changes["congestion_control"] = self.cc
        if self.buffer is not None:
            size = size_bytes(self.buffer)
            changes["receive_buffer"] = changes["send_buffer"] = (min(size, 4096), size, size)
        return TcpConfig(**changes)

    def run(self, pcap: PathOrFile | None = None, trace: Trace | None = None) -> Outcome:
        """Carry it out in virtual time; pcap: capture of the link at the sender's end."""
        return run(self, pcap, trace)


@dataclass(frozen=True)
class Outcome:
    """What became of a transfer."""

    seconds: float  # from the SYN until the receiver had everything
    delivered: int  # bytes
    goodput: float  # bit/s
    error: str | None
    packets: int  # of the sender
    answers: int  # packets of the receiver
    lost: int
    overflowed: int  # lost because the queue was full
    reordered: int
    retransmitted: int  # segments
    timeouts: int
    longest_queue: int
    events: int


@dataclass
class Trace:
    """A transfer in samples: time in s, bytes acknowledged, cwnd in bytes, SRTT in s."""

    interval: float = 0.01
    rows: list[tuple[float, int, int, float]] = field(default_factory=list)


def run(transfer: Transfer, pcap: PathOrFile | None, trace: Trace | None) -> Outcome:
    size = size_bytes(transfer.bytes)
    with VirtualNetwork(transfer.seed, limit=transfer.limit) as net:
        config = transfer.config()
        a = net.host(SENDER, name="sender", tcp=config)
        b = net.host(RECEIVER, name="receiver", tcp=config)
        link = net.link(a, b, **transfer.link)
        if pcap is not None:
            link.pcap(pcap)
        sent = received = finished_ns = 0
        arriving: Socket | None = None

        def receive() -> None:
            nonlocal received, finished_ns, arriving
            with b.create_server((RECEIVER, PORT)) as listener:
                arriving, _ = listener.accept()
                # What arrives is dropped at once; the memory is never touched.
                with arriving, mmap(-1, READ_SIZE) as room:
                    while count := arriving.recv_into(
                        room, min(READ_SIZE, max(size - received, 1)), MSG_WAITALL | MSG_TRUNC
                    ):
                        received += count
                        finished_ns = net.now_ns

        def sample() -> None:
            assert trace is not None
            for one in a.connections():
                acknowledged = max(sent - one.send_queue, 0)
                trace.rows.append((net.now, acknowledged, one.cwnd, one.srtt_ns / 1e9))
            net.at(net.now + trace.interval, sample)

        if trace is not None:
            net.at(0, sample)
        receiver = net.spawn(receive)
        net.sleep(0)
        error = None
        piece = bytes(WRITE_SIZE)
        try:
            with a.create_connection((RECEIVER, PORT)) as connection:
                while sent < size:
                    sent += connection.send(piece[: size - sent])
            receiver.result()
        except (OSError, RuntimeError) as problem:
            error = f"{type(problem).__name__}: {problem}".splitlines()[0]
            if arriving is not None and arriving.fileno() >= 0:
                info = arriving.tcp_info()
                received = info.bytes_received
                finished_ns = net.now_ns - info.last_data_recv * MILLISECOND
        finished = finished_ns / 1e9
        counters, way = a.counters(), link.there.counters
        return Outcome(
            seconds=round(finished, 9),
            delivered=received,
            goodput=received * 8 / finished if finished else 0.0,
            error=error,
            packets=way["packets"],
            answers=link.back.counters["packets"],
            lost=way["lost"],
            overflowed=way["overflowed"],
            reordered=way["reordered"],
            retransmitted=counters.get("tcp_retransmitted_segments", 0),
            timeouts=counters.get("tcp_timeouts", 0),
            longest_queue=way["longest_queue"],
            events=net.events,
        )


def run_alone(transfer: Transfer) -> Outcome:
    """For executors, which may carry it to another process or machine."""
    return transfer.run()


def grid(base: Transfer, **axes: Sequence[Any]) -> Iterator[Transfer]:
    """All combinations: axes are fields of Transfer, and settings of links by their names."""
    names = list(axes)
    fields = set(asdict(base)) - {"link"}
    for values in product(*axes.values()):
        chosen = dict(zip(names, values, strict=True))
        link = {name: value for name, value in chosen.items() if name not in fields}
        own = {name: value for name, value in chosen.items() if name in fields}
        yield replace(base, link=base.link | link, **own)  # type: ignore[arg-type]


def sweep(
    base: Transfer | None = None,
    *,
    executor: Executor | None = None,
    progress: Callable[[int, int], object] | None = None,
    **axes: Sequence[Any],
) -> list[tuple[Transfer, Outcome]]:
    """Carry out every combination, such as sweep(delay=["1ms", "50ms"], seed=range(10)).

    executor: any of concurrent.futures' kind, such as a ProcessPoolExecutor or that of a cluster;
    None: here, one after the other. progress: called with how many are done, and of how many. The
    results are in the order of the grid and do not depend on who has made them.
    """
    transfers = list(grid(base or Transfer(), **axes))
    outcomes = []
    done = map(run_alone, transfers) if executor is None else executor.map(run_alone, transfers)
    for outcome in done:
        outcomes.append(outcome)
        if progress is not None:
            progress(len(outcomes), len(transfers))
    return list(zip(transfers, outcomes, strict=True))
