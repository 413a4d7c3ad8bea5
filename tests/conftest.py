"""Builds the test shims, and refuses to skip for the environment's sake where CI says so.

tests/native/*.pyx are Cython modules that let Python tests drive the core's C functions:
`from native import ring`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from effort import some
from hypothesis import settings

# How long an example takes says nothing: builds and other tests share the processor.
settings.register_profile("pystack", deadline=None, max_examples=some(50))
settings.load_profile("pystack")

ROOT = Path(__file__).resolve().parent.parent
TAG = sys.implementation.cache_tag
SHIMS = "tests/native/*.pyx"


def build_shims() -> str:
    """Bring the shims up to date, in the mode that pystack itself was built in; return errors."""
    if "PYTEST_XDIST_WORKER" in os.environ:  # pytest-xdist: the controller has built them
        return ""
    note = ROOT / "build" / f"inplace-{TAG}"
    mode = os.environ.get("PYSTACK_BUILD") or (note.read_text() if note.exists() else "release")
    last_build = ROOT / "build" / f"shims-{TAG}"
    if shims_are_current(last_build, mode):
        return ""
    started = time.time()
    built = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "build"), SHIMS],
        env={**os.environ, "PYSTACK_BUILD": mode},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if built.returncode:
        return built.stdout
    last_build.write_text(mode)
    os.utime(last_build, (started, started))
    return ""


def shims_are_current(last_build: Path, mode: str) -> bool:
    """Whether nothing that a shim is made of has changed since they were all built."""
    if not last_build.exists() or last_build.read_text() != mode:
        return False
    shims = list(ROOT.glob(SHIMS))
    headers = [*ROOT.glob("tests/native/*.pxd"), *(ROOT / "pystack").rglob("*.pxd")]
    inputs = [*shims, *headers, ROOT / "setup.py"]
    return all(path.stat().st_mtime < last_build.stat().st_mtime for path in inputs) and all(
        shim.with_name(shim.stem + EXTENSION_SUFFIXES[0]).exists() for shim in shims
    )


# Now, not in pytest_configure: the conftest.py of a folder named on the command line may import
# a shim, and is imported before. The tests that import a missing shim fail; the summary says why.
BUILD_ERRORS = build_shims()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if BUILD_ERRORS:
        terminalreporter.section("shims that do not build")
        terminalreporter.write_line(BUILD_ERRORS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """With PYSTACK_NO_SKIP=1, a test that would be skipped fails."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("PYSTACK_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which PYSTACK_NO_SKIP forbids: {report.longrepr[2]}"
    return report
