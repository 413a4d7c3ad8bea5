"""The view of a subnet on a terminal: rates, hosts, connections, drops; once a second.

Called by: serve, where stdout is a terminal.
RFCs: none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.table import Table
from rich.text import Text as RichText

from pystack.cli.report import Text, counted, with_unit
from pystack.cli.sample import Rates, Sample, end_text, rates
from pystack.cli.subnet import Subnet

HOSTS_SHOWN = 10
CONNECTIONS_SHOWN = 10
DROPS_SHOWN = 5


@dataclass
class Live(Text):
    """Text, with a view in place of the lines about traffic."""

    console: Console = field(default_factory=Console)
    view: RichLive | None = None

    def ready(self, subnet: Subnet) -> None:
        super().ready(subnet)
        self.view = RichLive(console=self.console, auto_refresh=False, transient=True)
        self.view.start()
        self.show(self.first)

    def sample(self, now: Sample) -> None:
        self.show(now)
        self.last = now

    def show(self, now: Sample) -> None:
        if self.view is not None:
            self.view.update(picture(now, rates(self.last, now)), refresh=True)

    def close(self) -> None:
        if self.view is not None:
            self.view.stop()
            self.view = None


def picture(now: Sample, rate: Rates) -> RenderableType:
    """All of the view."""
    parts: list[RenderableType] = [RichText(), traffic(now, rate)]
    if now.connections:
        parts += [RichText(), hosts(now), RichText(), connections(now)]
    if now.drops:
        parts += [RichText(), drops(now.drops)]
    return Group(*parts, RichText("\nCtrl-C ends it", style="dim"))


def table(*columns: str, right: Iterable[str] = ()) -> Table:
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    return made


def traffic(now: Sample, rate: Rates) -> Table:
    """Rates, and all that came so far."""
    made = Table.grid(padding=(0, 3))
    made.add_row(
        RichText("in", style="bold"),
        with_unit(rate.packets_in, "packets/s"),
        with_unit(rate.bits_in, "bit/s"),
        counted(now.pings, "ping"),
        counted(now.opened, "connection"),
    )
    made.add_row(
        RichText("out", style="bold"),
        with_unit(rate.packets_out, "packets/s"),
        with_unit(rate.bits_out, "bit/s"),
        counted(now.datagrams, "datagram"),
        f"{len(now.connections):,}{'' if now.complete else '+'} open",
    )
    return made


def hosts(now: Sample) -> Table:
    """The virtual hosts with the most connections, and the ports that these are on."""
    number: Counter[str] = Counter()
    ports: defaultdict[str, set[int]] = defaultdict(set)
    for host, port in (connection.local for connection in now.connections):
        number[host] += 1
        ports[host].add(port)
    made = table("host", "connections", "ports", right=["connections"])
    for host, count in number.most_common(HOSTS_SHOWN):
        made.add_row(host, f"{count:,}", " ".join(map(str, sorted(ports[host])[:10])))
    return more(made, len(number) - HOSTS_SHOWN)


def connections(now: Sample) -> Table:
    made = table("connection", "from", "state")
    for connection in now.connections[-CONNECTIONS_SHOWN:]:
        ends = end_text(connection.local), end_text(connection.remote)
        made.add_row(*ends, connection.state)
    return more(made, len(now.connections) - CONNECTIONS_SHOWN)


def drops(found: Mapping[str, int]) -> Table:
    made = table("dropped", "packets", right=["packets"])
    for reason, number in list(found.items())[:DROPS_SHOWN]:
        made.add_row(reason, f"{number:,}")
    return more(made, len(found) - DROPS_SHOWN)


def more(made: Table, number: int) -> Table:
    """Say how many rows are not shown."""
    if number > 0:
        made.add_row(RichText(f"and {number:,} more", style="dim"))
    return made
