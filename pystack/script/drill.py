"""Many scripts: finding them, running each, in several processes if that is faster.

Called by: the command line, tests.
RFCs: none.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from pystack.script.errors import ScriptError, UnsupportedSyntax
from pystack.script.nodes import Script
from pystack.script.parser import parse
from pystack.script.runner import Outcome, Run, Seen
from pystack.script.settings import Settings, settings_for
from pystack.script.world import Target

SUFFIX = ".pkt"
# A comment by which a script says what it is written in.
OWN_DIALECT = re.compile(r"^// dialect: (google|nplab)$", re.MULTILINE)
FEW = 200  # scripts that are run sooner than a second process has started


@dataclass(frozen=True)
class Plan:
    """How scripts are to be run."""

    against: str = "pystack"
    dialect: str | None = None  # what the script says of itself, or else google
    ip: str | None = None
    defines: Mapping[str, str] = field(default_factory=dict)
    relax: frozenset[str] = frozenset()
    strict_tail: bool = False
    pcap_dir: str | None = None


def find_scripts(paths: Iterable[str]) -> list[str]:
    """Files as they are given, and all *.pkt of folders; FileNotFoundError if there are none."""
    found: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            inside = sorted(str(one) for one in Path(path).rglob(f"*{SUFFIX}") if one.is_file())
            if not inside:
                raise FileNotFoundError(errno.ENOENT, f"no {SUFFIX} file in this folder", path)
            found += inside
        elif os.path.exists(path):
            found.append(path)
        else:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return found


def read_script(path: str, plan: Plan) -> Script:
    """ScriptError if it is none; OSError if it cannot be read."""
    data = Path(path).read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError as problem:
        before = data[: problem.start]
        column = problem.start - (before.rfind(b"\n") + 1) + 1
        raise ScriptError("this is no UTF-8 text", before.count(b"\n") + 1, column, path) from None
    own = OWN_DIALECT.search(text)
    dialect = plan.dialect or (own[1] if own else "google")
    return parse(text, path, dialect, plan.defines)


def run_file(path: str, plan: Plan) -> Outcome:
    """Read and run one script. Whatever goes wrong is its outcome, or `invalid`."""
    try:
        script = read_script(path, plan)
        settings = settings_for(script, plan.ip, plan.relax, plan.strict_tail)
    except UnsupportedSyntax as problem:
        return Outcome(path, "unsupported", f"line {problem.line}: {problem.problem}")
    except ScriptError as problem:
        return Outcome(path, "invalid", str(problem))
    except OSError as problem:
        return Outcome(path, "invalid", f"{path}: {problem.strerror or problem}")
    try:
        return run_script(script, settings, plan)
    except Exception as problem:
        what = f"{type(problem).__name__}: {problem}"
        return Outcome(path, "fail", f"this is a fault of pystack, {what}", ip=settings.ip)


def run_script(script: Script, settings: Settings, plan: Plan) -> Outcome:
    """Run one script against what the plan says."""
    if plan.pcap_dir is None:
        return Run(script, settings, target_for(settings, plan.against)).run()
    from pystack.device.pcap import PcapWriter

    os.makedirs(plan.pcap_dir, exist_ok=True)
    name = script.path.strip("./").replace(os.sep, "_").removesuffix(SUFFIX)
    with PcapWriter(Path(plan.pcap_dir) / f"{name}.{settings.ip}.pcapng", script.path) as capture:

        def write(seen: Seen) -> None:
            capture.write(seen.data, max(seen.time, 0), not seen.inbound)

        return Run(script, settings, target_for(settings, plan.against), write).run()


def target_for(settings: Settings, against: str) -> Target:
    if against == "kernel":
        from pystack.script.kernel import KernelTarget

        return KernelTarget(settings)
    from pystack.script.virtual import VirtualTarget

    return VirtualTarget(settings)


def run_all(paths: list[str], plan: Plan, jobs: int) -> Generator[Outcome, None, None]:
    """The outcomes in the order of the paths."""
    if plan.against == "kernel":
        from pystack.script.kernel_worker import run_in_namespaces

        yield from run_in_namespaces(paths, plan, jobs)
    elif jobs == 1 or len(paths) <= FEW:
        for path in paths:
            yield run_file(path, plan)
    else:
        yield from run_parallel(paths, plan, jobs)


def run_parallel(paths: list[str], plan: Plan, jobs: int) -> Generator[Outcome, None, None]:
    """In processes; one that dies is the outcome of the script that it ran."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context) as pool:
        futures = [pool.submit(run_file, path, plan) for path in paths]
        for path, future in zip(paths, futures, strict=True):
            yield result_of(path, plan, future)


def result_of(path: str, plan: Plan, future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:
        return run_alone(path, plan)


def run_alone(path: str, plan: Plan) -> Outcome:
    """In a process of its own: some script has ended the one of all."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        try:
            return pool.submit(run_file, path, plan).result()
        except BrokenProcessPool:
            return Outcome(path, "fail", "this is a fault of pystack, the process died")
