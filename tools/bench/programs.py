"""The C programs of the bench, compiled when they are needed.

Called by: systems, measure.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from bench.place import Unavailable

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent.parent / "build" / "bench"


def program(directory: str, *libraries: str) -> Path:
    """The program made of the C files of a directory; built if it is older than they are."""
    sources = sorted((HERE / directory).glob("*.c"))
    inputs = [*sources, *(HERE / directory).glob("*.h")]
    target = BUILD / directory
    if target.exists() and target.stat().st_mtime > max(file.stat().st_mtime for file in inputs):
        return target
    BUILD.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(f".{os.getpid()}")
    compiler = shlex.split(os.environ.get("CC", "cc"))
    command = [*compiler, "-O2", "-Wall", "-o", str(fresh), *map(str, sources), *libraries]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        raise Unavailable(f"there is no C compiler {compiler[0]!r}") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
        raise Unavailable(f"{directory} does not compile: {errors[0].strip()}")
    fresh.replace(target)
    return target
