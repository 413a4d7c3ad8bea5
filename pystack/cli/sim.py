"""`pystack sim`: a transfer over a described link in virtual time, or a sweep over a grid of them.

Called by: command.
RFCs: none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pystack.cli.failure import FAILED, USAGE, Failure
from pystack.cli.signals import interruptible
from pystack.link.units import chance, duration_ns, rate_bps, size_bytes

if TYPE_CHECKING:
    from pystack.testing.transfer import Outcome, Trace, Transfer

LINK_OPTIONS = (
    "delay", "jitter", "rate", "queue", "loss", "burst", "reorder", "duplicate", "corrupt", "mtu",
)  # fmt: skip
SWEEPS = ("seed", "bytes", "cc", "buffer", *LINK_OPTIONS)


def quantity(check: Callable[[Any], object]) -> Callable[..., str | None]:
    """A callback that lets pass what `check` does not refuse."""

    def parse(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        if value is not None:
            try:
                check(value)
            except ValueError as problem:
                raise click.BadParameter(str(problem)) from None
        return value

    return parse


def parse_sweep(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, list[Any]]:
    """NAME=VALUE,VALUE... or NAME=FIRST..LAST each."""
    axes: dict[str, list[Any]] = {}
    for value in values:
        name, separator, text = value.partition("=")
        if not separator or name not in SWEEPS:
            raise click.BadParameter(
                f"{value!r} is not NAME=VALUE,VALUE,... with a NAME of {', '.join(SWEEPS)}"
            )
        first, dots, last = text.partition("..")
        if dots and first.isdigit() and last.isdigit():
            axes[name] = list(range(int(first), int(last) + 1))
        else:
            axes[name] = [typed(name, one.strip()) for one in text.split(",")]
    return axes


def typed(name: str, text: str) -> Any:
    """Seeds, MTUs and lengths of bursts are numbers."""
    try:
        if name in ("seed", "mtu"):
            return int(text)
        if name == "burst":
            return float(text)
    except ValueError:
        raise click.BadParameter(f"{name}={text}: not a number") from None
    return text


@click.command()
@click.option("--seed", type=int, default=0, show_default=True, help="Repeats a run exactly.")
@click.option(
    "--bytes",
    "size",
    default="5MB",
    show_default=True,
    callback=quantity(size_bytes),
    help="How much is sent.",
)
@click.option(
    "--delay",
    default="20ms",
    show_default=True,
    callback=quantity(duration_ns),
    help="Of each direction.",
)
@click.option("--jitter", default="0", callback=quantity(duration_ns), help="How the delay varies.")
@click.option("--loss", default="0", callback=quantity(chance), help="Such as 2%.")
@click.option("--burst", type=float, default=1, help="How many are lost in a row, on average.")
@click.option("--rate", callback=quantity(rate_bps), help="Such as 50Mbit/s; no limit by default.")
@click.option("--queue", default="1000", show_default=True, help="Packets, or bytes such as 64KB.")
@click.option(
    "--reorder", default="0", callback=quantity(chance), help="Share of packets held back."
)
@click.option("--duplicate", default="0", callback=quantity(chance), help="Share of packets.")
@click.option("--corrupt", default="0", callback=quantity(chance), help="Share of packets.")
@click.option("--mtu", type=int, help="Of the link; 1500 by default.")
@click.option("--cc", metavar="NAME", help="Congestion control, cubic by default.")
@click.option(
    "--buffer", callback=quantity(size_bytes), help="Of both sockets; by default they tune."
)
@click.option("--pcap", type=click.Path(dir_okay=False), help="Capture at the sender's end.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Picture of bytes, cwnd and RTT.")
@click.option(
    "--sweep",
    "axes",
    multiple=True,
    metavar="NAME=VALUES",
    callback=parse_sweep,
    help="A line for each value: delay=1ms,50ms or seed=0..99; more of them make a grid.",
)
@click.option("--jobs", type=click.IntRange(1), default=1, help="Processes that share a sweep.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def sim(
    size: str,
    seed: int,
    cc: str | None,
    buffer: str | None,
    pcap: str | None,
    plot: str | None,
    axes: dict[str, list[Any]],
    jobs: int,
    as_json: bool,
    **link: Any,
) -> int:
    """Send bytes over a described link, in virtual time.

    The same seed gives the same packets. The status is 0 if everything arrived.
    """
    from pystack.testing.transfer import Trace, Transfer

    given: Any = {name: value for name, value in link.items() if value is not None}
    if plot is not None:
        check_matplotlib()
    try:
        transfer = Transfer(
            size,
            seed,
            cc,
            buffer,
            link=given,
        )
        transfer.config()
        if axes:
            if pcap or plot:
                raise Failure("--pcap and --plot are of one transfer, not of a sweep", USAGE)
            return run_sweep(transfer, axes, jobs, as_json)
        trace = None if plot is None else Trace()
        with interruptible():
            outcome = transfer.run(pcap, trace)
    except ValueError as problem:
        raise Failure(str(problem), USAGE) from None
    if trace is not None and plot is not None:
        draw(trace, Path(plot))
    click.echo(json.dumps(asdict(outcome)) if as_json else summary(outcome))
    return 0 if outcome.error is None else FAILED


def summary(outcome: Outcome) -> str:
    lines = [
        f"{outcome.delivered} bytes in {outcome.seconds:.3f} s: {outcome.goodput / 1e6:.2f} Mbit/s",
        f"{outcome.packets} packets, {outcome.lost} lost, {outcome.overflowed} dropped by the queue"
        f" (longest {outcome.longest_queue}), {outcome.reordered} held back",
        f"{outcome.retransmitted} segments retransmitted, {outcome.timeouts} time-outs",
    ]
    if outcome.error is not None:
        lines.append(f"failed: {outcome.error}")
    return "\n".join(lines)


def run_sweep(base: Transfer, axes: dict[str, list[Any]], jobs: int, as_json: bool) -> int:
    """A line for each combination, with a progress bar where there is somebody to see it."""
    from rich.console import Console
    from rich.progress import Progress

    from pystack.cli.workers import Workers
    from pystack.testing.transfer import sweep

    console = Console(stderr=True)
    bar = Progress(console=console, disable=not sys.stderr.isatty())
    workers = Workers(jobs) if jobs > 1 else nullcontext()
    with workers as executor, bar, interruptible():
        task = bar.add_task("transfers")
        found = sweep(
            base,
            executor=executor,
            progress=lambda done, of: bar.update(task, completed=done, total=of),
            **axes,
        )
    for transfer, outcome in found:
        point = {name: at(transfer, name) for name in axes}
        if as_json:
            click.echo(json.dumps(point | asdict(outcome)))
        else:
            where = " ".join(f"{name}={value}" for name, value in point.items())
            told = f"failed: {outcome.error}" if outcome.error else f"{outcome.seconds:.3f} s"
            click.echo(f"{where}: {outcome.goodput / 1e6:.2f} Mbit/s, {told}")
    return FAILED if any(outcome.error for _, outcome in found) else 0


def at(transfer: Transfer, name: str) -> Any:
    """The value of an axis."""
    return transfer.link[name] if name in LINK_OPTIONS else getattr(transfer, name)  # type: ignore[literal-required]


def check_matplotlib() -> None:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise Failure(
            "--plot needs matplotlib, which is not here: pip install 'pystack-net[plot]'", USAGE
        )


def draw(trace: Trace, path: Path) -> None:
    """Bytes acknowledged (the time-sequence diagram), congestion window and round-trip time."""
    import matplotlib  # type: ignore[import-not-found,unused-ignore]

    matplotlib.use("Agg")
    from matplotlib import pyplot  # type: ignore[import-not-found,unused-ignore]

    figure, panels = pyplot.subplots(3, sharex=True, figsize=(9, 8))
    # Before the first round trip there is nothing to tell of it, nor of cwnd.
    known = [row for row in trace.rows if row[3]]
    for panel, label, rows, column, scale in (
        (panels[0], "acknowledged (kB)", trace.rows, 1, 1e-3),
        (panels[1], "cwnd (kB)", known, 2, 1e-3),
        (panels[2], "SRTT (ms)", known, 3, 1e3),
    ):
        panel.plot([row[0] for row in rows], [row[column] * scale for row in rows], linewidth=1)
        panel.set_ylabel(label)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[2].set_xlabel("virtual time (s)")
    figure.tight_layout()
    try:
        figure.savefig(path)
    except (OSError, ValueError) as problem:  # no such directory; no format of that name
        raise Failure(f"cannot write {path}: {problem}", USAGE) from None
    finally:
        pyplot.close(figure)
