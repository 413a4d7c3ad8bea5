"""What the machine is, in words.

Called by: command.
"""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def machine() -> dict[str, str]:
    """What a reader must know to judge figures."""
    return {
        "cpu": f"{len(os.sched_getaffinity(0))} x {cpu_model()}",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "pystack": build_mode(),
        "load": f"{os.getloadavg()[0]:.2f} before the run",
    }


def cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "CPU"


def build_mode() -> str:
    """The mode of the modules in the tree."""
    with suppress(OSError):
        note = ROOT / "build" / f"inplace-{sys.implementation.cache_tag}"
        return f"{note.read_text()} build"
    return "unknown build"
