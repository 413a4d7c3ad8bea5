"""Throughput over a grid of links, as it was when tools/golden was last run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_throughput_is_as_golden():
    """A change is no fault as such: look at the diff, and if it is better run tools/golden."""
    command = [sys.executable, str(ROOT / "tools" / "golden"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"\n{done.stdout}{done.stderr}"
