"""The bench measures one uvicorn process, on the kernel's sockets and on a virtual host."""

from __future__ import annotations

import pytest
from interop.harness import run_bench


@pytest.mark.interop
@pytest.mark.needs("uvicorn", "httptools")
def test_the_bench_measures_uvicorn(tmp_path):
    options = ["--only=uvicorn", "--rounds=1", "--systems=kernel-uvicorn,pystack-uvicorn"]
    found = run_bench(tmp_path / "figures.json", *options)
    assert found["ratios"].keys() == {"uvicorn"}
