"""Transfers, sweeps, and the command `pystack sim`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import dpkt
import pytest

from pystack.cli.command import pystack
from pystack.testing import Transfer, sweep
from pystack.testing.transfer import Trace

BAD = {"delay": "10ms", "loss": "2%", "rate": "20Mbit/s", "queue": 50}


def test_a_transfer_is_repeatable():
    one, two = BytesIO(), BytesIO()
    outcome = Transfer("300KB", seed=3, link=BAD).run(one)
    assert outcome == Transfer("300KB", seed=3, link=BAD).run(two)
    assert one.getvalue() == two.getvalue()
    assert (outcome.delivered, outcome.error) == (300_000, None)
    assert outcome.retransmitted >= outcome.lost > 0
    seen = len(list(dpkt.pcapng.Reader(BytesIO(one.getvalue()))))
    assert outcome.packets < seen < outcome.packets + outcome.answers  # of which some are lost


def test_a_transfer_that_cannot_be_says_why():
    outcome = Transfer("1KB", link={"loss": 1}).run()
    assert outcome.delivered == 0
    assert outcome.error.startswith("TimeoutError")


def test_a_transfer_that_fails_tells_what_had_arrived():
    outcome = Transfer("100MB", limit="1s", link={"rate": "10Mbit/s"}).run()
    assert outcome.error.startswith("TimeLimit")
    assert 1e6 < outcome.delivered < 1.25e6
    assert 0.99 < outcome.seconds < 1.01


def test_a_trace_follows_the_transfer():
    trace = Trace()
    Transfer("300KB", link=BAD).run(trace=trace)
    acknowledged = [row[1] for row in trace.rows]
    assert acknowledged == sorted(acknowledged)
    assert max(row[2] for row in trace.rows) > 14_000
    assert trace.rows[-1][3] == pytest.approx(0.03, abs=0.02)


@pytest.mark.parametrize("make", [None, ThreadPoolExecutor, ProcessPoolExecutor])
def test_a_sweep_gives_the_same_on_any_executor(make):
    axes = {"delay": ["1ms", "30ms"], "seed": range(2)}
    base = Transfer("50KB", link=BAD)
    told = []
    if make is None:
        found = sweep(base, progress=lambda *done: told.append(done), **axes)
        assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    else:
        with make(2) as executor:
            found = sweep(base, executor=executor, **axes)
    assert [(t.link["delay"], t.seed) for t, _ in found] == [
        ("1ms", 0), ("1ms", 1), ("30ms", 0), ("30ms", 1),
    ]  # fmt: skip
    assert [o for _, o in found] == [t.run() for t, _ in found]


@pytest.fixture
def sim(capsys):
    """Runs `pystack sim`; its status and what it printed."""

    def run(*arguments):
        with pytest.raises(SystemExit) as exit:
            pystack.main(["sim", *arguments])
        return exit.value.code, "".join(capsys.readouterr())

    return run


def test_sim_tells_what_became_of_a_transfer(sim, tmp_path):
    status, printed = sim("--bytes", "100KB", "--rate", "10Mbit/s", "--pcap", str(tmp_path / "x"))
    assert status == 0
    assert printed.startswith("100000 bytes in 0.")
    assert (tmp_path / "x").stat().st_size > 100_000


def test_sim_in_json(sim):
    status, printed = sim("--bytes", "100KB", "--loss", "2%", "--seed", "1", "--json")
    assert status == 0
    assert json.loads(printed)["delivered"] == 100_000


def test_sim_sweeps_over_a_grid(sim):
    status, printed = sim("--bytes", "50KB", "--sweep", "delay=1ms,9ms", "--sweep", "seed=0..1")
    assert status == 0
    assert [line.partition(":")[0] for line in printed.splitlines()] == [
        "delay=1ms seed=0", "delay=1ms seed=1", "delay=9ms seed=0", "delay=9ms seed=1",
    ]  # fmt: skip


LONG = (sys.executable, "-m", "pystack", "sim", "--bytes", "1000GB", "--delay", "1ms")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_transfer_ends_when_it_is_asked_to(tmp_path, number):
    capture = tmp_path / "capture"
    os.mkfifo(capture)
    process = subprocess.Popen([*LONG, "--pcap", capture], stderr=subprocess.PIPE)
    with process, open(capture, "rb") as pipe:
        assert pipe.read(1 << 16)
        process.send_signal(number)
        while pipe.read(1 << 20):
            pass
        assert (process.stderr.read(), process.wait()) == (b"", 128 + number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_ends_when_it_is_asked_to_and_leaves_nobody(number):
    process = subprocess.Popen(
        [*LONG, "--sweep", "seed=0..9", "--jobs", "2"], stderr=subprocess.PIPE
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    with process:
        while len(workers := children.read_text().split()) < 2:
            assert process.poll() is None
        process.send_signal(number)
        assert (process.stderr.read(), process.wait()) == (b"", 128 + number)
    assert not any(Path("/proc", worker).exists() for worker in workers)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--delay", "3miles"], "is no duration"),
        (["--cc", "foo"], "not 'foo'"),
        (["--sweep", "speed=3"], "is not NAME=VALUE,VALUE,... with a NAME of seed, bytes, cc"),
        (["--sweep", "seed=x"], "seed=x: not a number"),
        (["--sweep", "seed=1", "--pcap", "x"], "are of one transfer, not of a sweep"),
    ],
)
def test_sim_refuses_what_means_nothing(sim, arguments, text):
    status, printed = sim(*arguments)
    assert status == 2
    assert text in printed


def test_a_plot_has_bytes_window_and_round_trip(sim, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    drawn = []
    monkeypatch.setattr(pyplot, "close", drawn.append)
    status, _ = sim("--bytes", "300KB", "--rate", "10Mbit/s", "--plot", str(tmp_path / "x.png"))
    assert status == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    panels = drawn[0].axes
    assert [panel.get_ylabel() for panel in panels] == [
        "acknowledged (kB)", "cwnd (kB)", "SRTT (ms)",
    ]  # fmt: skip
    times, acknowledged = panels[0].lines[0].get_data()
    assert list(acknowledged) == sorted(acknowledged)
    assert 250 < acknowledged[-1] <= 300
    assert 0.25 < times[-1] < 0.5
    assert min(panels[1].lines[0].get_ydata()) > 14
    assert 40 <= min(panels[2].lines[0].get_ydata()) < 60


@pytest.mark.parametrize("name", ["nowhere/x.png", "x.strange"])
def test_a_plot_that_cannot_be_written_is_told(sim, tmp_path, name):
    pytest.importorskip("matplotlib")
    status, printed = sim("--bytes", "1KB", "--plot", str(tmp_path / name))
    assert status == 2
    assert "cannot write" in printed


def test_without_matplotlib_a_plot_says_what_to_install(sim, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, printed = sim("--plot", "x.png")
    assert status == 2
    assert "pip install 'pystack-net[plot]'" in printed
