"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HELLO = """
import pytest

def talk(net):
    a, b = net.host("10.0.0.1", name="a"), net.host("10.0.0.2", name="b")
    link = net.link(a, b)
    with b.create_server(("10.0.0.2", 80)) as listener:
        with a.create_connection(("10.0.0.2", 80)) as client:
            listener.accept()[0].close()
    return link
"""


@pytest.fixture
def run(tmp_path):
    """Runs pytest on a test file with the plugin; what it printed."""

    def pytest_on(text, *options):
        (tmp_path / "test_it.py").write_text(HELLO + text)
        command = [sys.executable, "-m", "pytest", "-p", "pystack.testing.plugin", "-q", *options]
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", "test_it.py"],
            cwd=tmp_path, capture_output=True, text=True,
            # Not by its entry point: there is none where pystack is not installed.
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )  # fmt: skip
        return done.stdout + done.stderr

    return pytest_on


def test_the_fixture_is_a_network_with_what_the_marker_says(run):
    printed = run("""
@pytest.mark.net(seed=7, delay="20ms")
def test_one(net):
    talk(net)
    assert (net.seed, net.now) == (7, 0.06)

def test_two(net):
    talk(net)
    assert (net.seed, net.now) == (0, 0)
""")
    assert "2 passed" in printed


FAILING = """
@pytest.mark.net(seed=7)
def test_fails(net):
    talk(net)
    assert net.seed == 1
"""


def test_a_failure_tells_the_seed_and_how_to_repeat_it(run):
    printed = run(FAILING)
    assert "seed 7, virtual time" in printed
    assert "repeat with: pytest 'test_it.py::test_fails' --net-seed=7" in printed
    assert "1 passed" in run(FAILING, "--net-seed=1")


def test_random_seeds_are_told_too(run):
    printed = run(FAILING, "--net-seed=random")
    seed = printed.partition("--net-seed=")[2].split()[0]
    assert f"seed {seed}, virtual time" in printed


def test_a_wrong_seed_is_refused(run):
    assert "--net-seed=x: a number or `random`" in run(FAILING, "--net-seed=x")


def test_a_test_may_run_over_many_seeds(run):
    text = """
@pytest.mark.net(seeds=5)
def test_many(net):
    talk(net)
    assert net.seed != 3
"""
    printed = run(text)
    assert "1 failed, 4 passed" in printed
    assert "pytest 'test_it.py::test_many' --net-seed=3" in printed
    assert "1 failed" in run(text, "--net-seed=3")


@pytest.mark.parametrize(("keep", "kept"), [("none", 0), ("failed", 2), ("all", 4)])
def test_captures_are_kept_as_asked(run, tmp_path, keep, kept):
    printed = run(FAILING + "def test_passes(net):\n    talk(net)\n", f"--net-pcap={keep}")
    files = list((tmp_path / "net-pcap").rglob("*.pcapng")) if kept else []
    assert len(files) == kept
    assert all(file.stat().st_size > 500 for file in files)
    assert ("captures: net-pcap" in printed) == bool(kept)


def test_the_plugin_loads_nothing_of_pystack_that_is_heavy():
    program = (
        "import pystack, sys; before = set(sys.modules);"
        "import pytest, pystack.testing.plugin;"
        "print(*sorted(n for n in set(sys.modules) - before if n.startswith('pystack')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "pystack.testing pystack.testing.plugin"
