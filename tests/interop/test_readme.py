"""The README's tour: every line of it works, and what it shows is what is seen."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from interop.command import PYSTACK, serving
from interop.harness import ROOT, require_tool

TOUR = (ROOT / "README.md").read_text().partition("\n## A tour\n")[2]


def blocks(part: str) -> list[str]:
    """The commands of a part of the tour."""
    text = re.split(r"^### ", TOUR, flags=re.MULTILINE)
    (found,) = [one for one in text if one.startswith(part + "\n")]
    return re.findall(r"^```sh\n(.*?)^```$", found, re.MULTILINE | re.DOTALL)


@pytest.fixture
def shell(namespace, tmp_path):
    """Runs a block as it stands, with `pystack` and `python` those of this test."""
    namespace.tun("10.99.0.0/24").close()  # or skip
    for program in ("ping", "nc", "curl"):
        require_tool(program)
    bin = tmp_path / "bin"
    bin.mkdir()
    script(bin / "pystack", PYSTACK)
    script(bin / "python", [sys.executable])
    path = f"{bin}:{os.environ['PATH']}:/usr/sbin:/sbin"
    found = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": found}

    def run(block: str) -> str:
        done = namespace.run(["bash", "-e", "-c", block], cwd=tmp_path, env=environment)
        return done.stdout

    return run


def script(file: Path, command: list[str]) -> None:
    file.write_text(f'#!/bin/sh\nexec {" ".join(command)} "$@"\n')
    file.chmod(0o755)


@pytest.mark.parametrize("block", blocks("Without root"), ids=lambda block: block.split("\n")[0])
def test_without_root(shell, block):
    assert shell(block)


def test_as_root(shell, namespace):
    serve, *others = blocks("As root")
    assert serve.startswith("sudo .venv/bin/pystack serve ")
    with serving(namespace, *serve.split()[3:]) as server:
        assert f"\n{server.ready}" in TOUR
        for block in others:
            assert "0% packet loss" in shell(block)
        assert "1 ping, 0 datagrams, 3 connections" in server.stop().stdout


def test_in_python(shell):
    (block,) = blocks("In Python")
    assert f"```\n{shell(block)}```" in TOUR


def test_the_pages_that_it_leads_to_exist():
    for page in re.findall(r"\]\((docs/[^)#]*)\)", TOUR):
        assert (ROOT / page).is_file()
