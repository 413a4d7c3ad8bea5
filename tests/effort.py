"""How much tests try that try many things: examples, seeds.

PYSTACK_EFFORT=0.25 is a quarter of it, for a build in which everything takes several times as long.
"""

from __future__ import annotations

import os

EFFORT = float(os.environ.get("PYSTACK_EFFORT") or 1)


def some(count: int) -> int:
    """So many, or the part of them that there is time for."""
    return max(1, round(count * EFFORT))
