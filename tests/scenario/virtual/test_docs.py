"""The examples of the pages about virtual networks work as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pystack.cli.command import pystack

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGES = [DOCS / "how-to/test-over-a-bad-network.md", DOCS / "reference/testing.md",
         DOCS / "reference/sim.md", DOCS / "how-to/fast-open.md"]  # fmt: skip


def blocks(language: str) -> list[object]:
    return [
        pytest.param(block, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, block in enumerate(
            re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        )
    ]


@pytest.mark.parametrize("block", blocks("python"))
def test_python(block, capsys):
    exec(block, {})
    assert capsys.readouterr().out


@pytest.mark.parametrize("block", blocks("sh"))
def test_shell(block, capsys):
    for line in block.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "pystack"
        with pytest.raises(SystemExit) as exit:
            pystack.main(arguments)
        assert exit.value.code == 0
        assert capsys.readouterr().out


def test_the_pages_that_they_lead_to_exist():
    for page in PAGES:
        for to in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert (page.parent / to).is_file()


def test_every_setting_of_a_link_is_described():
    from pystack.link.quality import DEFAULTS

    text = PAGES[1].read_text()
    assert [name for name in DEFAULTS if f"`{name}`" not in text] == []
