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
