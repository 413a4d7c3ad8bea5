"""Virtual networks for tests: hosts, routers and bad wires in one process, in virtual time.

Loaded when first used: the pytest plugin is imported with every pytest of whoever has pystack.
Called by: applications' tests, the command line.
RFCs: none.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystack.engine.world import Deadlock, TimeLimit
    from pystack.link import GilbertElliott
    from pystack.testing.network import Host, Link, Router, VirtualNetwork
    from pystack.testing.transfer import Outcome, Transfer, sweep

__all__ = [
    "Deadlock",
    "GilbertElliott",
    "Host",
    "Link",
    "Outcome",
    "Router",
    "TimeLimit",
    "Transfer",
    "VirtualNetwork",
    "sweep",
]

_MODULES = {
    "Deadlock": "pystack.engine.world",
    "GilbertElliott": "pystack.link",
    "Host": "pystack.testing.network",
    "Link": "pystack.testing.network",
    "Router": "pystack.testing.network",
    "TimeLimit": "pystack.engine.world",
    "Outcome": "pystack.testing.transfer",
    "Transfer": "pystack.testing.transfer",
    "VirtualNetwork": "pystack.testing.network",
    "sweep": "pystack.testing.transfer",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'pystack.testing' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
