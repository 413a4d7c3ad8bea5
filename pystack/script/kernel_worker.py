"""Scripts against the kernel: each in a process and a network namespace of its own.

Called by: drill.
RFCs: none.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

# What a forked process then has already.
import pystack.device.netlink
import pystack.script.kernel
from pystack.device.namespace import enter_new_namespace
from pystack.script.runner import Outcome

if TYPE_CHECKING:
    from pystack.script.drill import Plan

LIMIT = 900  # seconds for one script


def run_one(task: tuple[str, Plan]) -> Outcome:
    """In a process that exists for this script only."""
    from pystack.script.drill import run_file

    path, plan = task
    with suppress(OSError):  # in real time, being late is failing
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    enter_new_namespace(as_root=True)
    return run_file(path, plan)


def run_in_namespaces(paths: list[str], plan: Plan, jobs: int) -> Iterator[Outcome]:
    """The outcomes in the order of the paths; OSError if this machine has no namespaces for us."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with context.Pool(min(jobs, len(paths)), maxtasksperchild=1) as pool:
        results = pool.imap(run_one, [(path, plan) for path in paths])
        for path in paths:
            try:
                yield results.next(LIMIT)
            except multiprocessing.TimeoutError:
                yield Outcome(path, "fail", f"not finished after {LIMIT} s")


__all__ = ["pystack", "run_in_namespaces", "run_one"]
