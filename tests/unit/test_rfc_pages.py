"""docs/rfc: every clause names code and tests that exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).resolve().parents[2] / "tools" / "check-rfc-pages"
HEAD = "| Clause | What it asks | Code | Test |\n|---|---|---|---|\n"
CODE = "`pystack/core/tcp/rtt.pyx:rtt_timeout`"
TEST = "`tests/unit/test_rfc_pages.py::test_every_clause_names_code_and_tests`"


def check(*pages: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, CHECK, *pages], capture_output=True, text=True)


def test_every_clause_names_code_and_tests():
    done = check()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "row",
    [
        f"| 2.1 | ask | {CODE} | {TEST} |",
        f"| 2.1 | ask | {CODE}<br>{CODE} | {TEST}<br>{TEST} |",
        "| 2.1 | ask | not applicable: there is no such thing here | |",
    ],
)
def test_a_good_row(tmp_path, row):
    page = tmp_path / "rfc1.md"
    page.write_text(HEAD + row + "\n")
    assert check(page).stdout == ""


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (f"| 2.1 | ask | {CODE} |", "3 cells instead of 4"),
        (f"|  | ask | {CODE} | {TEST} |", "an empty cell"),
        (f"| 2.1 | ask | somewhere | {TEST} |", "no code, and no reason why"),
        ("| 2.1 | ask | not applicable: | |", "no code, and no reason why"),
        (f"| 2.1 | ask | {CODE} | |", "2.1: no test"),
        (f"| 2.1 | ask | `pystack/none.pyx:f` | {TEST} |", "no such file: pystack/none.pyx"),
        (f"| 2.1 | ask | {CODE} | {TEST.replace('names', 'has')} |", "does not define test_every"),
        (f"| 2.1 | ask | {CODE.replace('timeout', 'none')} | {TEST} |", "not define rtt_none"),
    ],
)
def test_a_bad_row(tmp_path, row, fault):
    page = tmp_path / "rfc1.md"
    page.write_text(HEAD + row + "\n")
    done = check(page)
    assert fault in done.stdout
    assert done.returncode == 1


FAILURES = "| Failure | Test |\n|---|---|\n"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (f"| it fails | {TEST} |", ""),
        ("| it fails | not applicable: it has no such thing |", ""),
        ("| it fails | |", "not a failure and its test"),
        ("| it fails | somewhere |", "it fails: no test"),
        ("| it fails | `tests/none.py::test_f` |", "no such file: tests/none.py"),
        (f"| it fails | {TEST.replace('names', 'has')} |", "does not define test_every"),
    ],
)
def test_a_row_of_failures(tmp_path, row, fault):
    page = tmp_path / "failures.md"
    page.write_text(FAILURES + row + "\n")
    done = check(page)
    assert fault in done.stdout
    assert done.returncode == bool(fault)


def test_a_page_without_clauses(tmp_path):
    page = tmp_path / "rfc1.md"
    page.write_text("# RFC 1\n")
    assert "no clauses" in check(page).stdout
