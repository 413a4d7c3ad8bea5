"""Figures, and what may be made of them: median, extremes, and ratios within one run only.

Called by: measure (makes them), report and check (show them).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median


class DifferentRuns(ValueError):
    """Two figures of different runs have no ratio: the machine was another one by then."""


@dataclass(frozen=True)
class Figure:
    """One measurement of one system in one row."""

    run: str  # what run of the bench it is of
    round: int  # the systems of one round were measured one after the other
    row: str
    system: str
    value: float  # in the row's unit
    load_cpu: float = 0.0  # seconds per GB, or per 1000 operations
    system_cpu: float = 0.0
    p50: float = 0.0  # microseconds, where the row has latencies
    p99: float = 0.0
    p999: float = 0.0


@dataclass(frozen=True)
class Spread:
    """What a number of values come to."""

    median: float
    least: float
    most: float


def spread(values: Iterable[float]) -> Spread:
    """ValueError if there are none."""
    all_values = sorted(values)
    if not all_values:
        raise ValueError("no figures")
    return Spread(median(all_values), all_values[0], all_values[-1])


def ratio(figure: Figure, reference: Figure) -> float:
    """figure / reference; DifferentRuns if they were not measured in the same round of one run."""
    if (figure.run, figure.round, figure.row) != (reference.run, reference.round, reference.row):
        raise DifferentRuns(
            f"{figure.system} in run {figure.run}, round {figure.round}, row {figure.row} and "
            f"{reference.system} in run {reference.run}, round {reference.round}, row "
            f"{reference.row} were not measured side by side"
        )
    return figure.value / reference.value if reference.value else float("inf")


class Figures:
    """All figures of one run."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.all: list[Figure] = []

    def add(self, figure: Figure) -> None:
        if figure.run != self.run:
            raise DifferentRuns(f"a figure of run {figure.run} among those of run {self.run}")
        self.all.append(figure)

    def of(self, row: str, system: str) -> list[Figure]:
        return [figure for figure in self.all if (figure.row, figure.system) == (row, system)]

    def systems(self, row: str) -> list[str]:
        """Those that have figures in a row, in the order of measurement."""
        return list(dict.fromkeys(figure.system for figure in self.all if figure.row == row))

    def pairs(self, row: str, system: str, reference: str) -> Iterator[tuple[Figure, Figure]]:
        """The figures of two systems, round by round, where both have one."""
        others = {figure.round: figure for figure in self.of(row, reference)}
        for figure in self.of(row, system):
            if figure.round in others:
                yield figure, others[figure.round]

    def ratios(self, row: str, system: str, reference: str) -> Spread | None:
        """Of a ratio for each round; None if no round has both."""
        values = [ratio(*pair) for pair in self.pairs(row, system, reference)]
        return spread(values) if values else None
