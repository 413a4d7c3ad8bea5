"""The commands on the documentation's pages work as they stand, and print what is shown."""

from __future__ import annotations

import re
import shlex

import pytest
from interop.command import serving
from interop.harness import ROOT

DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()  # its commands have tests of their own
BLOCK = re.compile(
    r"^```sh\n(.*?)^```$(?:\n\n(?:```\n(.*?)^```$|    (pass .*?\n)))?", re.MULTILINE | re.DOTALL
)
FILE = re.compile(r"Save this as `(\w+\.py)`:\n\n```py\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_HERE = re.compile(r"pip install|pytest tests/network")  # CI installs; your own tests


def commands(page: str) -> list[object]:
    blocks = BLOCK.findall((DOCS / page).read_text())
    return [
        pytest.param(page, block, fenced or indented, id=block.split("\n")[0])
        for block, fenced, indented in blocks
        if not NOT_HERE.search(block) and not all(line in README for line in block.splitlines())
    ]


@pytest.mark.parametrize(
    ("page", "block", "output"),
    [
        *commands("tutorial.md"),
        *commands("how-to/run-without-root.md"),
        *commands("how-to/packet-scripts.md"),
    ],
)
def test_commands_work_and_print_what_is_shown(shell, tmp_path, page, block, output):
    for name, text in FILE.findall((DOCS / page).read_text()):
        (tmp_path / name).write_text(text)
    printed = shell(block)
    if output:
        assert printed == output


SERVE = (DOCS / "how-to/serve.md").read_text()
# Those in lines of their own: others need Wireshark, jq, or an interface that root has made.
STARTS = re.findall(r"^(?:sudo )?pystack serve ((?!.*--tun)[^|&\n]+)$", SERVE, re.MULTILINE)


@pytest.mark.parametrize("options", STARTS)
def test_serve_starts(namespace, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    with serving(namespace, *shlex.split(options)) as server:
        assert " answer" in server.ready
        assert server.stop().returncode == 0


def test_what_serve_offers_is_there(namespace, shell):
    (block,) = [block for block, *_ in BLOCK.findall(SERVE) if block.startswith("curl ")]
    with serving(namespace, "--net", "10.3.0.0/24") as server:
        assert "hello\n" in shell(block)
        server.stop()
