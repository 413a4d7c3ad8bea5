"""OneFile: imports the compiled modules out of the one file in which a release build has them.

Called by: pystack, before anything else is imported.
RFCs: none; PEP 451.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


class OneFile:
    """A finder and a loader, for sys.meta_path."""

    def __init__(self, compiled: Any) -> None:
        """compiled: pystack.compiled, which has them."""
        self.compiled = compiled
        self.names = frozenset(compiled.names())

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in self.names:
            return None
        spec = ModuleSpec(name, self, origin=self.compiled.__file__)  # type: ignore[arg-type]
        spec.has_location = True
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module: ModuleType = self.compiled.create(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self.compiled.execute(module)


def install(compiled: ModuleType) -> None:
    """Import them from there from now on."""
    sys.meta_path.insert(0, OneFile(compiled))
