"""The examples of the pages about sockets work as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = Path(__file__).resolve().parents[3] / "docs/how-to"
BLOCKS = [
    (page, block)
    for page in ("blocking-programs", "carry-packets", "decide-per-flow")
    for block in re.findall(
        r"^```python\n(.*?)^```$",
        (PAGES / f"{page}.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
]


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[page for page, _ in BLOCKS])
def test_an_example_runs(page, block, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    exec(block, {"__name__": "__main__"})
    assert capsys.readouterr().out
