"""The bench measures one uvicorn process, on the kernel's sockets and on a virtual host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.interop
@pytest.mark.needs("uvicorn", "httptools")
def test_the_bench_measures_uvicorn(tmp_path):
    for tool in ("cc", "ip", "nsenter", "unshare"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("no /dev/net/tun for us")
    file = tmp_path / "figures.json"
    how = ["--smoke", "--rounds=1", "--systems=kernel-uvicorn,pystack-uvicorn", f"--json={file}"]
    command = [sys.executable, "tools/bench", "--only=uvicorn", *how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text())
    assert found["missing"] == {}
    assert found["faults"] == []
    assert found["ratios"].keys() == {"uvicorn"}
