"""The statistics of tools/bench, and that the bench works: tiny sizes, in namespaces of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from interop.harness import require_tool, run_bench

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _tools_on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))


def figures(run="r", **systems):
    """Figures of one row, a value for each round."""
    from bench.figures import Figure, Figures

    all_figures = Figures(run)
    for system, values in systems.items():
        for number, value in enumerate(values):
            all_figures.add(Figure(run, number, "row", system, value))
    return all_figures


def test_a_hang_up_does_not_reach_the_systems():
    """Under nohup nothing would keep it off a system that handles it, as iperf3 does."""
    import os

    from bench import place

    process = place.start(["sh", "-c", "echo ready; exec sleep 30"])
    try:
        assert os.getsid(process.pid) == process.pid
    finally:
        place.stop([process])


def test_a_ratio_is_taken_round_by_round():
    """The machine may be slower in one round: the ratio is not that of the medians."""
    found = figures(pystack=[90, 10, 40], limit=[100, 5, 100]).ratios("row", "pystack", "limit")
    assert (found.median, found.least, found.most) == (0.9, 0.4, 2.0)


def test_where_less_is_better_the_ratio_is_the_other_way_round():
    from bench.measure import Run
    from bench.report import ratio_to
    from bench.rows import PROGRAM, Row

    row = Row("row", "", "paced", PROGRAM, "pystack", ("kernel", "pystack"), less=True)
    found = ratio_to(row, Run(figures(pystack=[50, 10], kernel=[100, 5])), "kernel")
    assert found is not None
    assert (found.least, found.most) == (0.5, 2.0)


def test_rounds_that_only_one_side_has_do_not_count():
    found = figures(pystack=[90, 10], limit=[100]).ratios("row", "pystack", "limit")
    assert (found.median, found.least, found.most) == (0.9, 0.9, 0.9)
    assert figures(pystack=[90]).ratios("row", "pystack", "limit") is None


def test_figures_of_different_runs_rounds_and_rows_have_no_ratio():
    from bench.figures import DifferentRuns, Figure, ratio

    ours = Figure("one", 0, "row", "pystack", 1.0)
    for other in (
        Figure("two", 0, "row", "limit", 1.0),
        Figure("one", 1, "row", "limit", 1.0),
        Figure("one", 0, "another", "limit", 1.0),
    ):
        with pytest.raises(DifferentRuns, match="not measured side by side"):
            ratio(ours, other)
    with pytest.raises(DifferentRuns):
        figures("one").add(Figure("two", 0, "row", "pystack", 1.0))


def test_the_median_of_an_even_number_lies_between():
    from bench.figures import spread

    assert spread([4, 1, 3, 2]).median == 2.5
    with pytest.raises(ValueError, match="no figures"):
        spread([])


@pytest.mark.parametrize(
    ("report", "fault"),
    [
        ({"wrong": 1}, "wrong"),
        ({"lost": 11}, "never answered"),
        ({"operations": 0}, "nothing came through"),
    ],
)
def test_lost_and_wrong_data_is_no_figure(report, fault):
    from bench.measure import Fault, judged
    from bench.rows import chosen

    good = {
        "operations": 1000, "bytes": 1000, "seconds": 1.0, "total_operations": 10_000,
        "total_bytes": 10_000, "lost": 0, "wrong": 0, "cpu": 0.5, "note": "", "p50": 1, "p99": 2,
        "p999": 3,
    }  # fmt: skip
    (row,) = chosen(["icmp"], False)
    assert judged(row, good, 1.0)["value"] == 1000
    assert judged(row, good, 1.0)["system_cpu"] == 0.1  # seconds for 1000 operations
    with pytest.raises(Fault, match=fault):
        judged(row, good | report, 1.0)


IPERF3 = """{"start": {}, "end": {"sum_sent": {"bytes": 2100, "seconds": 1.0},
"sum_received": {"bytes": 2000, "seconds": 1.25}, "sender_tcp_congestion": "cubic"}}"""
WRK = """Running 1s test @ http://10.0.0.2:80/
  1 threads and 64 connections
  15000 requests in 1.10s, 3.00MB read
Requests/sec:  13636.36
"""
WRK_FAULTS = "  Socket errors: connect 0, read 1, write 2, timeout 9000\n"
WRK_WRONG = "  Non-2xx or 3xx responses: 7\n"


def test_programs_of_others_are_judged_as_our_own():
    from bench import outside
    from bench.measure import Fault, judged
    from bench.rows import chosen

    (iperf3,), (wrk,) = chosen(["iperf3"], False), chosen(["wrk"], False)
    found = judged(iperf3, outside.report(iperf3, IPERF3, 0.5), 1.0)
    assert found["value"] == pytest.approx(2000 * 8 / 1.25 / 1e9)
    with pytest.raises(Fault, match="bbr, not cubic"):
        judged(iperf3, outside.report(iperf3, IPERF3.replace("cubic", "bbr"), 0.5), 1.0)
    with pytest.raises(ValueError, match="unable to connect"):
        outside.report(iperf3, '{"end": {}, "error": "unable to connect to server"}', 0)
    found = judged(wrk, outside.report(wrk, WRK, 0.5), 1.0)
    assert found["value"] == pytest.approx(15000 / 1.1)
    assert found["load_cpu"] == pytest.approx(0.5 / 15)
    with pytest.raises(Fault, match="9003 were never answered"):
        judged(wrk, outside.report(wrk, WRK + WRK_FAULTS, 0.5), 1.0)
    with pytest.raises(Fault, match="7 answers were wrong"):
        judged(wrk, outside.report(wrk, WRK + WRK_WRONG, 0.5), 1.0)


def test_a_row_whose_program_is_not_installed_is_missing(monkeypatch):
    from bench import outside
    from bench.rows import chosen

    monkeypatch.setenv("PATH", "")
    (wrk,), (icmp,) = chosen(["wrk"], False), chosen(["icmp"], False)
    assert outside.missing(wrk) == "wrk is not installed (Debian: apt install wrk)"
    assert outside.missing(icmp) == ""


def test_the_figure_of_a_latency_row_is_its_quantile():
    from bench.measure import judged
    from bench.rows import chosen

    report = {
        "operations": 1000, "bytes": 1000, "seconds": 1.0, "total_operations": 1000,
        "total_bytes": 1000, "lost": 0, "wrong": 0, "cpu": 0.5, "note": "", "p50": 7, "p99": 8,
        "p999": 9,
    }  # fmt: skip
    rows = chosen(["latency"], False)
    assert [judged(row, report, 1.0)["value"] for row in rows] == [7, 8, 9]


def test_a_trial_is_a_process_whose_fault_is_its_last_line():
    from bench.measure import Fault, trial
    from bench.rows import chosen

    row, *_ = chosen(["idle-10000"], False)
    assert trial(row, "asked", 0) == {"value": 512}
    with pytest.raises(Fault, match="KeyError: 'no such trial'"):
        trial(row, "no such trial", 0)


def test_a_request_in_a_crowd_is_answered_and_has_a_cost():
    from native.crowd import Crowd

    assert Crowd(1).cost(5) > 0
    assert Crowd(300).cost(100) > 0


def test_a_sender_that_paces_is_no_measure():
    from bench.measure import Fault, judged
    from bench.rows import chosen

    (row,) = chosen(["tcp-in-plain"], False)
    report = {
        "operations": 0, "bytes": 10**9, "seconds": 1.0, "total_operations": 0,
        "total_bytes": 2 * 10**9, "lost": 0, "wrong": 0, "cpu": 1.0, "p50": 0, "p99": 0, "p999": 0,
    }  # fmt: skip
    assert judged(row, report | {"note": "cubic"}, 1.0)["value"] == 8.0
    with pytest.raises(Fault, match="bbr, not cubic"):
        judged(row, report | {"note": "bbr"}, 1.0)


def test_only_a_drop_of_more_than_15_percent_fails_a_check():
    from bench.command import dropped

    kept = {"a": {"limit": 1.0, "kernel": 2.0}, "gone": {"limit": 1.0}}
    assert dropped(kept, {"a": {"limit": 0.86, "kernel": 1.5}}) == ["a of kernel: 1.50, was 2.00"]


def test_ratios_are_kept_beside_those_of_other_rows_and_systems(tmp_path):
    from bench.report import keep

    file = tmp_path / "ratios.json"
    keep(file, {"a": {"limit": 1.0, "kernel": 2.0}, "b": {"limit": 0.5}}, {"cpu": "1 x old"})
    keep(file, {"a": {"limit": 0.90049}, "c": {"asked": 1.0}}, {"cpu": "2 x new", "load": "0.1"})
    assert json.loads(file.read_text()) == {
        "machine": {"cpu": "2 x new"},
        "ratios": {
            "a": {"limit": 0.9, "kernel": 2.0},
            "b": {"limit": 0.5},
            "c": {"asked": 1.0},
        },
    }


def test_the_change_since_a_ratio_was_kept_is_shown():
    from bench.measure import Run
    from bench.report import verdicts
    from bench.rows import PROGRAM, Row

    targets = {"limit": 0.8, "kernel": 1.0}
    row = Row("row", "", "request", PROGRAM, "pystack", tuple(targets), targets=targets)
    run = Run(figures(pystack=[90], limit=[100], kernel=[100]))
    assert verdicts(row, run, {"row": {"limit": 0.75}}) == [
        "[green]0.90 (0.90-0.90)[/] of limit, target 0.8, +20% since 0.75",
        "[red]0.90 (0.90-0.90)[/] of kernel, target 1 (limit: 1.00)",
    ]


def test_ratios_of_a_debug_build_are_not_kept(monkeypatch, capsys):
    from bench import command

    monkeypatch.setattr(command, "build_mode", lambda: "debug build")
    assert command.main(["--keep", "--only", "icmp"]) == 2
    assert "--keep is for a release build" in capsys.readouterr().err


def test_rows_over_ipv6_are_those_over_ipv4_without_systems_that_have_none():
    from bench.rows import chosen

    rows = {row.name: row for row in chosen([], False)}
    ours = [row for row in rows.values() if row.ipv6]
    assert [row.name for row in ours] == [row.name for row in chosen(["ipv6-"], False)]
    for row in ours:
        same = rows[row.name.removeprefix("ipv6-")]
        assert (row.mode, row.port, row.size, row.number) == (
            same.mode, same.port, same.size, same.number
        )  # fmt: skip
        assert set(row.systems) == {"limit", "kernel", "pystack"}
        assert row.targets.items() <= same.targets.items()


def test_rows_are_chosen_by_the_beginning_of_their_names():
    from bench.rows import ROWS, chosen

    assert chosen([], False) == list(ROWS)
    assert [row.name for row in chosen(["udp-1", "icmp"], True)] == ["icmp", "udp-1400"]
    with pytest.raises(ValueError, match="no row 'token-ring'"):
        chosen(["token-ring"], False)


def test_every_target_is_about_systems_that_take_part():
    from bench.rows import ROWS
    from bench.systems import STARTERS

    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert {row.subject, *row.targets} <= set(row.systems) <= set(STARTERS), row.name


@pytest.mark.interop
def test_the_bench_measures_and_leaves_nothing_behind(tmp_path):
    wanted = (
        "tcp-in", "request-16", "connect-close-32", "udp-64", "protocols-request-1", "latency-p50",
        "ipv6-tcp", "ipv6-icmp", "ipv6-udp-64", "iperf3",
    )  # fmt: skip
    require_tool("iperf3")
    rows = [f"--only={row}" for row in wanted]
    systems = (
        "--systems=limit,kernel,pystack,kernel-plain,pystack-plain,kernel-aio,pystack-aio,"
        "loopback-iperf3"
    )
    found = run_bench(tmp_path / "figures.json", *rows, systems)
    assert set(found["ratios"]) == {
        "tcp-in", "tcp-in-plain", "request-16", "connect-close-32", "udp-64",
        "protocols-request-1", "latency-p50", "ipv6-tcp-in", "ipv6-tcp-out", "ipv6-icmp",
        "ipv6-udp-64",
    }  # fmt: skip
    assert all(figure["value"] > 0 for figure in found["figures"])
    assert "iperf3" in {figure["row"] for figure in found["figures"]}
    assert not Path("/sys/class/net/limit").exists()


def test_a_page_has_the_command_the_figures_the_ratios_and_what_was_missed(tmp_path):
    from bench.measure import Run
    from bench.page import page
    from bench.rows import PROGRAM, Row

    targets = {"limit": 0.8, "kernel": 1.0}
    row = Row("row", "echo", "request", PROGRAM, "pystack", (*targets, "lwip", "pystack"),
              targets=targets)  # fmt: skip
    run = Run(figures(pystack=[90, 1080], limit=[100, 1000], kernel=[100, 1100]))
    run.faults["row", "lwip"] = "lost 3"
    file = tmp_path / "page.md"
    page(file, ["--only", "row"], [row], run, {"cpu": "2 x"}, {"pytcp": "not there"}, None)
    text = file.read_text()
    assert "\npython tools/bench --only row\n" in text
    assert "| cpu | 2 x |\n| missing: pytcp | not there |\n" in text
    assert text.endswith(
        "| echo, /s | limit | 550 | 100 | 1,000 |  |\n"
        "|  | kernel | 600 | 100 | 1,100 |  |\n"
        "|  | lwip | lost 3 | | |  |\n"
        "|  | pystack | 585 | 90 | 1,080 | 0.99 (0.90-1.08) of limit, target 0.8"
        "<br>0.94 (0.90-0.98) of kernel, target 1, missed (limit: 0.95) |\n"
    )
