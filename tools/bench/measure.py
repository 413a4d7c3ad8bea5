"""The run: round after round, row after row, one system after the other.

Called by: command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from bench import outside, place
from bench.figures import Figure, Figures
from bench.programs import program
from bench.rows import GBIT, PER_SECOND, TRIAL, Row
from bench.systems import System, Systems, python_environment

TRIAL_SECONDS = 120
GRACE = 20  # seconds that a measurement may take beyond its time
CUBIC = ("stream-in", "stream-out", "iperf3")  # modes with a TCP sender of the kernel's
# Of the operations: a packet now and then may meet a full queue.
TOLERATED_LOSS = 0.001


@dataclass(frozen=True)
class Times:
    rounds: int
    warmup: float  # seconds
    duration: float
    rest: float = 0

    def stretched(self, factor: int) -> Times:
        return replace(self, duration=self.duration * factor)


NORMAL = Times(5, 0.3, 1.0)
QUICK = Times(5, 0.04, 0.11)
SMOKE = Times(2, 0.01, 0.03)


@dataclass
class Run:
    """What a run has found."""

    figures: Figures = field(default_factory=lambda: Figures(uuid.uuid4().hex[:12]))
    faults: dict[tuple[str, str], str] = field(default_factory=dict)  # (row, system) -> what
    rates: dict[str, float] = field(default_factory=dict)  # system -> half of what it can do


class Fault(Exception):
    """A measurement failed, or lost data."""


class Starved(Fault):
    """Nothing came through: on a busy machine, perhaps one side never ran."""


def measure(
    rows: list[Row], systems: Systems, times: Times, run: Run, progress: Callable[[str], object]
) -> None:
    """Fill a run; what fails is noted, and not tried again."""
    cpus = sorted(os.sched_getaffinity(0))
    binary = str(program("load"))
    for number in range(times.rounds):
        for row in rows:
            for name in row.systems:
                progress(f"{row.title}: {name}")
                if name in systems.missing or (row.name, name) in run.faults:
                    continue
                if row.once and number:
                    continue
                time.sleep(times.rest)
                try:
                    if row.mode == TRIAL:
                        figure = trial(row, name, number)
                    else:
                        rate = half_load(binary, row, systems, times, cpus, run)
                        system = systems.running[name]
                        with system.awake():
                            figure = attempt(binary, row, system, times, cpus, rate)
                except Fault as fault:
                    run.faults[row.name, name] = str(fault)
                    continue
                run.figures.add(Figure(run.figures.run, number, row.name, name, **figure))


def trial(row: Row, name: str, number: int) -> dict[str, float]:
    """One measurement without the load generator. Fault."""
    if name == "asked":
        return {"value": row.asked}
    command = [sys.executable, "-m", "bench.trial", name, str(row.number), str(number)]
    try:
        done = subprocess.run(
            command, env=python_environment(), capture_output=True, text=True, timeout=TRIAL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise Fault("took too long") from None
    if done.returncode:
        raise Fault((done.stderr.strip().splitlines() or ["no figure"])[-1])
    return {"value": float(done.stdout)}


def half_load(
    binary: str, row: Row, systems: Systems, times: Times, cpus: list[int], run: Run
) -> float:
    """The rate of a paced row, the same for all its systems; measured once a run. 0: not paced."""
    reference = row.paced_by
    if not reference:
        return 0
    if reference not in systems.running:
        raise Fault(f"{reference}, half of whose rate is the load, is missing")
    if reference not in run.rates:
        full = replace(row, mode="request", unit=PER_SECOND, value="")
        found = attempt(binary, full, systems.running[reference], times, cpus)
        run.rates[reference] = found["value"] / 2
    return run.rates[reference]


def attempt(
    binary: str, row: Row, system: System, times: Times, cpus: list[int], rate: float = 0
) -> dict[str, float]:
    """A measurement that is repeated, and for longer, if one side was not even scheduled."""
    for longer in (1, 3):
        with suppress(Starved):
            return cell(binary, row, system, times.stretched(longer), cpus, rate)
    return cell(binary, row, system, times.stretched(9), cpus, rate)


def cell(
    binary: str, row: Row, system: System, times: Times, cpus: list[int], rate: float
) -> dict[str, float]:
    """One measurement: the fields of a Figure. Fault."""
    there = cpus[0] if row.one_core or len(cpus) == 1 else cpus[1]
    place.pin(system.pid, there)
    before = place.cpu_seconds(system.pid)
    address = system.ipv6 if row.ipv6 else system.address
    if row.mode in outside.PROGRAMS:
        command = outside.command(row, address, times.duration)
    else:
        command = [binary, row.mode, address, str(row.port), str(row.number), str(row.size)]
        command += [str(times.warmup), str(times.duration), *([str(rate)] if rate else [])]
    cpu = outside.children_cpu()
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=times.warmup + times.duration + GRACE,
            start_new_session=True,  # as place.start
            preexec_fn=lambda: os.sched_setaffinity(0, {cpus[0]}),
        )
    except subprocess.TimeoutExpired:
        raise Fault("took too long") from None
    used = place.cpu_seconds(system.pid) - before
    if system.process is not None and system.process.poll() is not None:
        raise Fault(f"it ended with status {system.process.returncode}")
    if done.returncode:
        raise Fault(done.stderr.strip() or f"the load ended with status {done.returncode}")
    if row.mode in outside.PROGRAMS:
        try:
            report = outside.report(row, done.stdout, outside.children_cpu() - cpu)
        except ValueError as problem:
            raise Fault(str(problem)) from None
    else:
        report = json.loads(done.stdout)
    return judged(row, report, used)


def judged(row: Row, report: dict[str, Any], system_cpu: float) -> dict[str, float]:
    """A report of the load generator as the fields of a Figure. Fault if data was lost."""
    if report["wrong"]:
        raise Fault(f"{report['wrong']} answers were wrong")
    if report["lost"] > TOLERATED_LOSS * report["total_operations"]:
        raise Fault(f"{report['lost']} were never answered")
    if row.unit == GBIT:
        if row.mode in CUBIC and report["note"] != "cubic":
            raise Fault(f"the sender's congestion control was {report['note']}, not cubic")
        value = report["bytes"] * 8 / report["seconds"] / 1e9 if report["seconds"] else 0
        amount = report["total_bytes"] / 1e9
    else:
        value = report["operations"] / report["seconds"] if report["seconds"] else 0
        amount = report["total_operations"] / 1e3
    if value and row.value:
        value = report[row.value]
    if not value:
        raise Starved("nothing came through")
    return {
        "value": value,
        "load_cpu": report["cpu"] / amount,
        "system_cpu": system_cpu / amount,
        "p50": report["p50"],
        "p99": report["p99"],
        "p999": report["p999"],
    }
