"""One seed, the same bytes: in other processes, with another hash seed, at other addresses."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = Path(__file__).with_name("mixed.py")
SIZE = 1 << 20  # at least so much in all captures together


def run(directory: Path, seed: int, hash_seed: str, *before: str) -> dict[str, bytes]:
    """The captures of a conversation, by their name."""
    path = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [*before, sys.executable, str(PROGRAM), str(seed), str(directory)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )
    files = {file.name: file.read_bytes() for file in directory.iterdir()}
    assert len(done.stdout.splitlines()) == len(files)
    return files


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_seed_gives_the_same_bytes_in_every_process(tmp_path, seed):
    """No clock, no hash, no order of addresses in memory: architecture.md, rule 7."""
    runs = [run(tmp_path / hash_seed, seed, hash_seed) for hash_seed in ("0", "1", "4000000000")]
    setarch = shutil.which("setarch")
    if setarch is not None:  # at addresses that are not random
        still = (setarch, platform.machine(), "--addr-no-randomize")
        if subprocess.run([*still, "true"], capture_output=True).returncode == 0:
            runs.append(run(tmp_path / "still", seed, "random", *still))
    first = runs[0]
    assert sum(map(len, first.values())) > SIZE
    for other in runs[1:]:
        assert other.keys() == first.keys()
        assert [name for name in first if other[name] != first[name]] == []


def test_another_seed_gives_other_bytes(tmp_path):
    one, other = run(tmp_path / "1", 1, "0"), run(tmp_path / "2", 2, "0")
    assert [name for name in one if one[name] == other[name]] == []
