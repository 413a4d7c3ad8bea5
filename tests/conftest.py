"""Builds the test shims, and refuses to skip for the environment's sake where CI says so.

tests/native/*.pyx are Cython modules that let Python tests drive the core's C functions:
`from native import ring`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHIMS = "tests/native/*.pyx"
BUILD_ERRORS = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Bring the shims up to date, in the mode that pystack itself was built in."""
    if hasattr(config, "workerinput"):  # pytest-xdist: the controller has built them
        return
    note = ROOT / "build" / f"inplace-{sys.implementation.cache_tag}"
    mode = os.environ.get("PYSTACK_BUILD") or (note.read_text() if note.exists() else "release")
    built = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "build"), SHIMS],
        env={**os.environ, "PYSTACK_BUILD": mode},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if built.returncode:  # the tests that import a missing shim will fail; here is why
        config.stash[BUILD_ERRORS] = built.stdout


def pytest_report_header(config: pytest.Config) -> list[str]:
    return config.stash.get(BUILD_ERRORS, "").splitlines()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """With PYSTACK_NO_SKIP=1, a test that would be skipped fails."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("PYSTACK_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which PYSTACK_NO_SKIP forbids: {report.longrepr[2]}"
    return report
