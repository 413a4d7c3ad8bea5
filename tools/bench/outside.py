"""Programs of others in place of our load generator: do they find the same ratios?

Called by: measure, command.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.rows import Row

Report = dict[str, Any]  # as of our load generator
NO_LATENCY = {"p50": 0, "p99": 0, "p999": 0}


@dataclass(frozen=True)
class Program:
    """A load generator that somebody else has written."""

    command: Callable[[Row, str, int], list[str]]  # row, address, seconds
    report: Callable[[str], Report]  # of what it prints, but for its CPU time


def iperf3_command(row: Row, address: str, seconds: int) -> list[str]:
    return ["iperf3", "--client", address, "--time", str(seconds), "--json"]


def iperf3_report(text: str) -> Report:
    """What the server has received; ValueError if iperf3 says that it failed."""
    found = json.loads(text)
    if "error" in found:
        raise ValueError(found["error"])
    end = found["end"]
    received = end["sum_received"]
    return {
        "operations": 0,
        "bytes": received["bytes"],
        "seconds": received["seconds"],
        "note": end["sender_tcp_congestion"],
        "lost": 0,
        "wrong": 0,
    }


def wrk_command(row: Row, address: str, seconds: int) -> list[str]:
    options = f"--threads 1 --connections {row.number} --duration {seconds}s"
    return ["wrk", *options.split(), f"http://{address}:{row.port}/"]


def wrk_report(text: str) -> Report:
    """ValueError if it says nothing."""
    told = re.search(r"(\d+) requests in ([\d.]+)s", text)
    if told is None:
        raise ValueError("wrk does not say what it did")
    requests, duration = told.groups()
    return {
        "operations": int(requests),
        "bytes": 0,
        "seconds": float(duration),
        "note": "",
        "lost": sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text))),
        "wrong": sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", text))),
    }


PROGRAMS = {
    "iperf3": Program(iperf3_command, iperf3_report),
    "wrk": Program(wrk_command, wrk_report),
}


def missing(row: Row) -> str:
    """Why a row cannot be measured, if its program is not there."""
    if row.mode not in PROGRAMS or shutil.which(row.mode):
        return ""
    return f"{row.mode} is not installed (Debian: apt install {row.mode})"


def command(row: Row, address: str, duration: float) -> list[str]:
    """They take whole seconds only."""
    return PROGRAMS[row.mode].command(row, address, max(1, round(duration)))


def report(row: Row, text: str, cpu: float) -> Report:
    """What our load generator would have said; ValueError."""
    found = PROGRAMS[row.mode].report(text)
    totals = {"total_operations": found["operations"], "total_bytes": found["bytes"]}
    return {**found, **totals, **NO_LATENCY, "cpu": cpu}


def children_cpu() -> float:
    """Seconds that all processes took that we have waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
