"""Thousands of connections that end at once."""

from __future__ import annotations

from native.crowd import Farewell


def test_connections_that_end_in_one_batch_are_all_freed():
    """Each is on two lists, in an order of its own; the last that lets go of one frees it."""
    farewell = Farewell(20_000)
    assert farewell.connections == 20_000
    farewell.end()
    assert farewell.connections == 0
