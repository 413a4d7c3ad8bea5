"""Lets ssl know of stacks' sockets, as soon as somebody imports it: it takes long to load.

Called by: stack.
RFCs: none.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class Finder(importlib.abc.MetaPathFinder):
    """Stands before the others until ssl is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "ssl":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("ssl")
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_teach(module: ModuleType) -> None:
                load(module)
                teach()

            loader: Any = spec.loader
            loader.exec_module = load_and_teach
        return spec


def teach() -> None:
    from pystack.tls import teach_ssl

    teach_ssl()


def teach_when_imported() -> None:
    if "ssl" in sys.modules:
        teach()
    elif not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
