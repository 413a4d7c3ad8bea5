"""Differences that docs/reference/differences-from-linux.md explains, each by its heading there."""

from __future__ import annotations

from differential.play import Moment


def explanation(moments: list[Moment]) -> str:
    """Why the last moment differs; empty: nobody knows."""
    return ""
