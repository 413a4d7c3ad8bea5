"""The examples that need programs of others, as modules."""

from __future__ import annotations

from scenario.examples.conftest import example

__all__ = ["example"]
