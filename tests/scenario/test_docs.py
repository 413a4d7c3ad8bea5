"""The documentation's examples in Python work as they stand, and show what is printed below them.

A block ```python is a whole program, which prints something. If a block without a language comes
next, that is what it prints. ```py is for what is no program by itself. The commands in the README
and in the tutorial are run by tests/interop.
"""

from __future__ import annotations

import gc
import re
import shlex
from pathlib import Path

import pytest

from pystack.cli.command import pystack

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n\n```\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
LANGUAGES = {"", "json", "markdown", "py", "python", "sh"}
IN_MEMORY = [DOCS / "reference/sim.md"]  # pages whose commands need no network


def programs() -> list[object]:
    return [
        pytest.param(*found.groups(), id=f"{page.stem}-{number}")
        for page in PAGES
        for number, found in enumerate(BLOCK.finditer(page.read_text()))
    ]


@pytest.mark.parametrize(("program", "output"), programs())
def test_a_program_works_and_prints_what_is_shown(
    program, output, capsys, caplog, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    gc.collect()  # what other tests have left
    caplog.clear()
    exec(program, {"__name__": "__main__"})
    gc.collect()  # what asyncio complains of when it is collected
    printed = capsys.readouterr()
    assert printed.out
    assert output in (None, printed.out)
    assert [record.getMessage() for record in caplog.records] == []


def commands() -> list[str]:
    return [
        line
        for page in IN_MEMORY
        for block in re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]


@pytest.mark.parametrize("line", commands())
def test_a_command_works(line, capsys):
    program, *arguments = shlex.split(line)
    assert program == "pystack"
    with pytest.raises(SystemExit) as exit:
        pystack.main(arguments)
    assert exit.value.code == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(DOCS)) for page in PAGES])
def test_no_block_is_in_another_language(page):
    opened = re.findall(r"^ *```(.*)$", page.read_text(), re.MULTILINE)[::2]
    assert set(opened) <= LANGUAGES


def test_every_setting_of_a_link_is_described():
    from pystack.link.quality import DEFAULTS

    text = (DOCS / "reference/testing.md").read_text()
    assert [name for name in DEFAULTS if f"`{name}`" not in text] == []
