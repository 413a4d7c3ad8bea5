"""The command line of the bench.

Called by: __main__, and the smoke test.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench import outside, place, report
from bench.machine import build_mode, machine
from bench.measure import NORMAL, QUICK, SMOKE, Run, Times, measure
from bench.page import page
from bench.report import Ratios
from bench.rows import Row, chosen
from bench.systems import STARTERS, Systems

OTHER_STACKS = ("lwip", "pytcp")  # whose faults are theirs: shown, but not our failure
DROP = 0.15  # of a ratio, that --check lets pass
KEPT = Path(__file__).resolve().parent / "ratios.json"  # those of the last release


def seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text}: 0 to 3600 seconds")
    return value


def rounds(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return value


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/bench", description="pystack and others, side by side in one run"
    )
    parser.add_argument("--quick", action="store_true", help="fewer rows, under a minute")
    parser.add_argument("--smoke", action="store_true", help="tiny: does the bench itself work?")
    parser.add_argument(
        "--only", action="append", default=[], metavar="ROW", help="rows that begin so; repeatable"
    )
    parser.add_argument(
        "--systems", metavar="A,B", help=f"some of {', '.join(STARTERS)}; all by default"
    )
    parser.add_argument("--rounds", type=rounds, help="how often; five unless given")
    parser.add_argument("--seconds", type=seconds, help="of one measurement")
    parser.add_argument(
        "--rest", type=seconds, default=0, metavar="SECONDS",
        help="before each measurement; for a virtual machine that gets less CPU time after a while",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and ratios")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios (matplotlib)")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="write a page of documentation, in Markdown"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", nargs="?", const=KEPT,
        help="write the ratios of these rows, beside those of other rows that are there already; "
        "tools/bench/ratios.json by default",
    )  # fmt: skip
    parser.add_argument(
        "--check", type=Path, metavar="FILE", nargs="?", const=KEPT,
        help="show the ratios that --keep or --json has written, and fail if one is now 15 %% "
        "lower; tools/bench/ratios.json by default",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="name the rows")
    return parser.parse_args(given)


def times(given: argparse.Namespace) -> Times:
    usual = SMOKE if given.smoke else QUICK if given.quick else NORMAL
    duration = given.seconds or usual.duration
    return Times(given.rounds or usual.rounds, min(usual.warmup, duration), duration, given.rest)


def with_systems(rows: list[Row], wanted: str | None) -> list[Row]:
    """The rows with those of their systems only that are wanted; ValueError."""
    if wanted is None:
        return rows
    names = wanted.split(",")
    unknown = set(names) - STARTERS.keys()
    if unknown:
        raise ValueError(f"no system {', '.join(unknown)}; there are {', '.join(STARTERS)}")
    kept = []
    for row in rows:
        some = tuple(name for name in row.systems if name in names)
        if some:
            kept.append(Row(**{**vars(row), "systems": some}))
    return kept


def main(given: list[str] | None = None) -> int:
    options = arguments(given)
    options.command = sys.argv[1:] if given is None else given
    try:
        rows = with_systems(chosen(options.only, options.quick or options.smoke), options.systems)
    except ValueError as problem:
        print(f"tools/bench: {problem}", file=sys.stderr)
        return 2
    if options.list:
        for row in rows:
            print(f"{row.name:24} {row.title}: {', '.join(row.systems)}")
        return 0
    if options.keep and not build_mode().startswith("release"):
        print("tools/bench: --keep is for a release build", file=sys.stderr)
        return 2
    try:
        kept = json.loads(options.check.read_text())["ratios"] if options.check else {}
        place.enter()
        return bench(rows, times(options), options, kept)
    except (place.Unavailable, OSError) as problem:
        print(f"tools/bench: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tools/bench: stopped; nothing is left behind", file=sys.stderr)
        return 130


def bench(rows: list[Row], how: Times, options: argparse.Namespace, kept: Ratios) -> int:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(soft_wrap=False, width=None if sys.stdout.isatty() else 180)
    run, what = Run(), machine()
    absent = {row.mode: why for row in rows if (why := outside.missing(row))}
    rows = [row for row in rows if row.mode not in absent]
    with Systems() as systems:
        systems.missing.update(absent)
        systems.start(name for row in rows for name in row.systems)
        report.show_machine(console, what, systems.missing)
        cells = how.rounds * sum(len(row.systems) for row in rows)
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=cells)
            measure(
                rows, systems, how, run, lambda text: bar.update(task, advance=1, description=text)
            )
        missing = systems.missing
    console.print(report.table(rows, run, kept))
    if options.json:
        report.write_json(options.json, report.as_json(rows, run, what, missing))
    if options.plot:
        report.plot(options.plot, rows, run)
    if options.page:
        page(options.page, options.command, rows, run, what, missing, options.plot)
    if options.keep:
        report.keep(options.keep, report.ratios(rows, run), what)
    losses = dropped(kept, report.ratios(rows, run))
    for loss in losses:
        console.print(f"[red]slower than it was:[/] {loss}", highlight=False)
    for (row, system), fault in run.faults.items():
        console.print(f"[red]failed[/]: {row}: {system}: {fault}", highlight=False)
    ours = [system for _, system in run.faults if system not in OTHER_STACKS]
    return 1 if losses or ours else 0


def dropped(kept: Ratios, now: Ratios) -> list[str]:
    """Which ratios are more than DROP below those that are kept."""
    return [
        f"{row} of {reference}: {now[row][reference]:.2f}, was {before:.2f}"
        for row, references in kept.items()
        for reference, before in references.items()
        if reference in now.get(row, {}) and now[row][reference] < before * (1 - DROP)
    ]
