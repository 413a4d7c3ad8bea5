"""A network namespace of its own for every interop test. See harness.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from interop.harness import Namespace, Nursery

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.interop)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """The process that makes namespaces."""
    from interop.harness import Nursery

    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def namespace(nursery: Nursery) -> Iterator[Namespace]:
    """A network namespace; the test is skipped where this machine does not let us make one."""
    from pystack.device.namespace import NamespaceError

    try:
        made = nursery.namespace()
    except NamespaceError as problem:
        pytest.skip(str(problem))
    yield made
    made.close()


@pytest.fixture
def shell(namespace: Namespace, tmp_path: Path) -> Callable[[str], str]:
    """Runs commands of the documentation as they stand; `pystack` and `python` are this test's.

    In an empty directory, with bash, until one fails. Returns what they print.
    """
    from interop.command import PYSTACK
    from interop.harness import ROOT, require_tool

    namespace.tun("10.99.0.0/24").close()  # or skip
    for program in ("ping", "nc", "curl"):
        require_tool(program)
    bin = tmp_path / "bin"
    bin.mkdir()
    for name, command in (("pystack", PYSTACK), ("python", [sys.executable])):
        (bin / name).write_text(f'#!/bin/sh\nexec {" ".join(command)} "$@"\n')
        (bin / name).chmod(0o755)
    path = f"{bin}:{os.environ['PATH']}:/usr/sbin:/sbin"
    found = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    # The plugin by its name: it has no entry point where pystack is not installed.
    plugin = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pystack.testing.plugin"}
    environment = {**os.environ, "PATH": path, "PYTHONPATH": found, **plugin}

    def run(block: str) -> str:
        done = namespace.run(["bash", "-e", "-c", block], cwd=tmp_path, env=environment)
        return done.stdout

    return run
