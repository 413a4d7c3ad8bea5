"""A run as a page of the documentation.

Called by: command.
"""

from __future__ import annotations

import os
from pathlib import Path

from bench.figures import spread
from bench.measure import Run
from bench.report import allowed, number, ratio_text, ratio_to
from bench.rows import Row

INTRODUCTION = """\
# Benchmarks

All figures of this page are of one run of [`tools/bench`](how-to/bench.md), in which the systems
took turns. Figures of another machine are others; the ratios are what to look at. They are taken
round by round; where less is better it is the other system's figure to pystack's. Each has its
target, whether it is reached or missed. Where one is missed, the figure in brackets is the same
ratio of what is no stack, or of the same program on the kernel's own: what this machine allows.
"""


def page(
    file: Path, command: list[str], rows: list[Row], run: Run,
    machine: dict[str, str], missing: dict[str, str], plot: Path | None,
) -> None:  # fmt: skip
    """Write it."""
    parts = [INTRODUCTION, "```sh", " ".join(["python tools/bench", *command]), "```", ""]
    parts += ["|  |  |", "|---|---|"]
    parts += [f"| {name} | {value} |" for name, value in machine.items()]
    parts += [f"| missing: {name} | {why} |" for name, why in missing.items()]
    if plot is not None:
        where = os.path.relpath(plot, file.parent)
        parts += ["", f"![The ratios, from the least to the most, and their targets]({where})"]
    parts += ["", "| | | Median | Least | Most | Ratio: median (least-most) |"]
    parts += ["|---|---|--:|--:|--:|---|"]
    for row in rows:
        for position, system in enumerate(row.systems):
            title = f"{row.title}, {row.unit}" if position == 0 else ""
            told = ratios(row, run) if system == row.subject else ""
            parts.append(f"| {title} | {system} | {figures(row, system, run)} | {told} |")
    file.write_text("\n".join(parts) + "\n")


def figures(row: Row, system: str, run: Run) -> str:
    """Median, least and most, as cells."""
    fault = run.faults.get((row.name, system))
    found = run.figures.of(row.name, system)
    if fault is not None or not found:
        return f"{fault or 'missing'} | |"
    values = spread(figure.value for figure in found)
    return " | ".join(number(value) for value in (values.median, values.least, values.most))


def ratios(row: Row, run: Run) -> str:
    """To each system that there is a target for."""
    told = []
    for reference, target in row.targets.items():
        found = ratio_to(row, run, reference)
        if found is not None:
            missed = ""
            if found.median < target:
                missed = f", missed{allowed(row, run, reference)}"
            told.append(f"{ratio_text(found)} of {reference}, target {target:g}{missed}")
    return "<br>".join(told)
