"""The table, the JSON file and the plot of a run.

Called by: command.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.figures import Spread, spread
from bench.measure import Run
from bench.rows import GBIT, Row, bound

# row -> reference -> median of the subject's ratio to it
Ratios = dict[str, dict[str, float]]


def number(value: float) -> str:
    """Three digits that count, thousands apart."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def show_machine(console: Console, machine: dict[str, str], missing: dict[str, str]) -> None:
    for name, value in machine.items():
        console.print(f"{name:>8}: {value}", highlight=False)
    if not machine["pystack"].startswith("release"):
        console.print("[yellow]pystack is not a release build: PYSTACK_BUILD=release tools/build")
    for name, why in missing.items():
        console.print(f"[yellow]missing[/]: {name}: {why}", highlight=False)


def table(rows: list[Row], run: Run, kept: Ratios) -> Table:
    """A line for each system of each row; beside the ratios those that are kept."""
    lines = Table(title=f"run {run.figures.run}", title_justify="left")
    lines.add_column("row")
    lines.add_column("system")
    for name in ("median", "least", "most"):
        lines.add_column(name, justify="right")
    lines.add_column("CPU s load", justify="right")
    lines.add_column("CPU s system", justify="right")
    lines.add_column("ratio run by run: median (least-most)")
    for row in rows:
        for position, system in enumerate(row.systems):
            title = f"{row.title}, {row.unit}" if position == 0 else ""
            lines.add_row(title, system, *cells(row, system, run, kept))
        lines.add_section()
    return lines


def cells(row: Row, system: str, run: Run, kept: Ratios) -> list[str]:
    figures = run.figures.of(row.name, system)
    if (row.name, system) in run.faults:
        return [f"[red]failed[/]: {run.faults[row.name, system]}"]
    if not figures:
        return ["missing"]
    values = spread(figure.value for figure in figures)
    per = "GB" if row.unit == GBIT else "1000"
    return [
        number(values.median),
        number(values.least),
        number(values.most),
        f"{spread(figure.load_cpu for figure in figures).median:.3g}/{per}",
        f"{spread(figure.system_cpu for figure in figures).median:.3g}/{per}",
        "\n".join(verdicts(row, run, kept)) if system == row.subject else "",
    ]


def ratio_to(row: Row, run: Run, reference: str, system: str = "") -> Spread | None:
    """How many times better the subject is, or another system; None if no round has both."""
    system = system or row.subject
    if row.less:
        return run.figures.ratios(row.name, reference, system)
    return run.figures.ratios(row.name, system, reference)


def allowed(row: Row, run: Run, reference: str) -> str:
    """Beside a target that is missed: what was possible, if a system of the row shows it."""
    best = bound(row)
    found = ratio_to(row, run, reference, best) if best not in ("", reference) else None
    return f" ({best}: {found.median:.2f})" if found is not None else ""


def verdicts(row: Row, run: Run, kept: Ratios) -> list[str]:
    """The subject's ratio to each system that it has a target for, and how it has changed."""
    lines = []
    for reference, target in row.targets.items():
        found = ratio_to(row, run, reference)
        if found is not None:
            reached = found.median >= target
            colour = "green" if reached else "red"
            before = kept.get(row.name, {}).get(reference)
            change = f", {found.median / before - 1:+.0%} since {before:.2f}" if before else ""
            text = f"[{colour}]{ratio_text(found)}[/] of {reference}, target {target:g}{change}"
            lines.append(text if reached else text + allowed(row, run, reference))
    return lines


def ratio_text(found: Spread) -> str:
    return f"{found.median:.2f} ({found.least:.2f}-{found.most:.2f})"


def as_json(rows: list[Row], run: Run, machine: dict[str, str], missing: dict[str, str]) -> Any:
    """Everything that was measured, and the ratios."""
    return {
        "run": run.figures.run,
        "machine": machine,
        "missing": missing,
        "faults": [
            {"row": row, "system": system, "fault": fault}
            for (row, system), fault in run.faults.items()
        ],
        "ratios": ratios(rows, run),
        "figures": [asdict(figure) for figure in run.figures.all],
    }


def ratios(rows: list[Row], run: Run) -> Ratios:
    """Those of the rows' targets."""
    found: Ratios = {}
    for row in rows:
        for reference in row.targets:
            ratio = ratio_to(row, run, reference)
            if ratio is not None:
                found.setdefault(row.name, {})[reference] = ratio.median
    return found


def keep(file: Path, found: Ratios, machine: dict[str, str]) -> None:
    """Put ratios into a file, in place of older ones of the same rows and systems."""
    kept: Ratios = json.loads(file.read_text())["ratios"] if file.exists() else {}
    for row, references in found.items():
        rounded = {reference: round(ratio, 3) for reference, ratio in references.items()}
        kept.setdefault(row, {}).update(rounded)
    what = {name: text for name, text in machine.items() if name != "load"}
    write_json(file, {"machine": what, "ratios": kept})


def write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n")


def plot(file: Path, rows: list[Row], run: Run) -> None:
    """A bar for each ratio, from the least to the most drawn as a line; ImportError."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    bars = [
        (f"{row.title} / {reference}", found, row.targets[reference])
        for row in rows
        for reference in row.targets
        if (found := ratio_to(row, run, reference)) is not None
    ]
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.3 * len(bars)))
    for place, (_, found, target) in enumerate(bars):
        colour = "tab:green" if found.median >= target else "tab:red"
        axes.barh(place, found.median, color=colour, height=0.6)
        axes.plot([found.least, found.most], [place, place], color="black")
        axes.plot([target, target], [place - 0.4, place + 0.4], color="black", linestyle=":")
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axes.set_xscale("log")
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel("how many times the reference, round by round; dotted: the target")
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)
