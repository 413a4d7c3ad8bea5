"""docs/reference: the pages on TcpConfig and on socket options say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from pystack import sockopt
from pystack.tcpconfig import STACK_WIDE, TcpConfig

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ROOT / "docs" / "reference" / "socket-options.md"


def test_the_page_on_tcpconfig_is_of_this_class():
    """Written anew by tools/tcp-config-page."""
    done = subprocess.run([sys.executable, ROOT / "tools" / "tcp-config-page", "--check"])
    assert done.returncode == 0


def test_what_is_of_the_whole_stack_exists():
    assert {one.name for one in fields(TcpConfig)} >= STACK_WIDE


def test_the_page_on_socket_options_has_all_of_them():
    sections = re.split(r"^## ", OPTIONS.read_text(), flags=re.MULTILINE)[1:]
    told = {
        section.split("\n")[0]: re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        for section in sections
    }
    for (level, _), options in sockopt.LINUX.items():
        assert sorted(told[level]) == sorted(options), level


def test_the_page_on_cpython_s_tests_has_all_that_is_left_out():
    """As the tool has it, and no test has failed."""
    page = (ROOT / "docs" / "reference" / "cpython-tests.md").read_text()
    tool = [sys.executable, ROOT / "tools" / "cpython-tests", "--reasons"]
    table = subprocess.run(tool, capture_output=True, text=True, check=True).stdout
    assert table.count("\n") > 5
    assert page.endswith(f"\n{table}")
    rows = re.findall(r"^\| (3\.\d+) \| `(\w+)` \| (\d+) \| (\d+) \|", page, re.MULTILINE)
    modules = ("test_socket", "test_ssl", "test_asyncio")
    versions = {row[0] for row in rows}
    assert {row[:2] for row in rows} == {(one, module) for one in versions for module in modules}
    assert all(int(passed) > 0 for _, _, passed, _ in rows)
    assert {failed for *_, failed in rows} == {"0"}


# Fields that tests know by other names: the core's, or Python's of what is tested.
ALSO = {
    "congestion_control": "congestion",
    "port_range": "port_count",
    "pacing_ca_ratio": "tcp_pacing_ca_ratio",
}


def test_every_field_that_the_core_reads_has_a_test():
    """By its name or its sysctl's, in a scenario or a packet script."""
    core = "".join(
        path.read_text()
        for path in (ROOT / "pystack" / "core").rglob("*.pyx")
        if path.name != "setup.pyx"
    )
    tests = "".join(
        path.read_text()
        for pattern in ("scenario/**/*.py", "scripts/**/*.pkt")
        for path in (ROOT / "tests").glob(pattern)
    )
    for one in fields(TcpConfig):
        names = [one.name, ALSO.get(one.name, one.name)]
        if not any(re.search(rf"config\.{name}\b", core) for name in names):
            continue
        names.append(one.metadata["sysctl"] or one.name)
        assert any(re.search(rf"\b{re.escape(name)}\b", tests) for name in names), one.name
