"""Lets modules that take long to load know of stacks, as soon as somebody imports them.

Called by: stack (ssl), uvloop.
RFCs: none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any


class Finder:
    """Stands before the others until a module is imported.

    Not by name a MetaPathFinder of importlib.abc, which is slow to import.
    """

    def __init__(self, name: str, teach: Callable[[], None]) -> None:
        self.name = name
        self.teach = teach

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_teach(module: ModuleType) -> None:
                load(module)
                self.teach()

            loader: Any = spec.loader
            loader.exec_module = load_and_teach
        return spec


def when_imported(name: str, teach: Callable[[], None]) -> None:
    """Once, when a module has been imported: now, if it has."""
    if name in sys.modules:
        teach()
    elif not any(isinstance(one, Finder) and one.name == name for one in sys.meta_path):
        sys.meta_path.insert(0, Finder(name, teach))


def teach_ssl() -> None:
    from pystack.tls import teach_ssl

    teach_ssl()
