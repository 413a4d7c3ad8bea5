"""The examples of the page about asyncio work as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs/how-to/asyncio.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_an_example_runs(number, capsys):
    exec(BLOCKS[number], {"__name__": "__main__"})
    assert capsys.readouterr().out
