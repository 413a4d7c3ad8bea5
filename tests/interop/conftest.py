"""A network namespace of its own for every interop test. See harness.py."""

from __future__ import annotations

from collections.abc import Iterator
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
