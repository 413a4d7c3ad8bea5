"""The README's tour: every line of it works, and what it shows is what is seen."""

from __future__ import annotations

import re

import pytest
from interop.command import serving
from interop.harness import ROOT

TOUR = (ROOT / "README.md").read_text().partition("\n## A tour\n")[2]


def blocks(part: str) -> list[str]:
    """The commands of a part of the tour."""
    text = re.split(r"^### ", TOUR, flags=re.MULTILINE)
    (found,) = [one for one in text if one.startswith(part + "\n")]
    return re.findall(r"^```sh\n(.*?)^```$", found, re.MULTILINE | re.DOTALL)


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
