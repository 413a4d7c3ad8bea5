"""`pystack drill`: lines for people, objects for programs, and the exit status."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from pystack.cli.command import pystack

GOOD = "0 < S 9:9(0) win 5\n+0 > R. 0:0(0) ack 1\n"
BAD = GOOD.replace("ack 1", "ack 2")
STRANGE = "`reboot`\n" + GOOD
BROKEN = "0 < S 9:9(0)\n"


@pytest.fixture
def drill(tmp_path):
    (tmp_path / "more").mkdir()
    for name, text in (("good", GOOD), ("more/bad", BAD), ("strange", STRANGE), ("broken", BROKEN)):
        (tmp_path / f"{name}.pkt").write_text(text)

    def run(*arguments: str):
        paths = [one if one.startswith("-") else str(tmp_path / one) for one in arguments]
        return CliRunner().invoke(pystack, ["drill", *paths])

    return run


def test_one_line_says_that_a_script_passes(drill, tmp_path):
    done = drill("good.pkt")
    assert (done.exit_code, done.stdout) == (0, f"pass  {tmp_path}/good.pkt\n")


@pytest.mark.parametrize(
    ("name", "status", "line"),
    [
        ("more/bad.pkt", 1, "fail  {}/more/bad.pkt:2: ack is 1, not 2"),
        ("strange.pkt", 1, "unsupported  {}/strange.pkt: the command reboot"),
    ],
)
def test_only_passing_scripts_exit_with_0(drill, tmp_path, name, status, line):
    done = drill(name)
    assert done.exit_code == status
    assert done.stdout.splitlines()[0] == line.format(tmp_path)


def test_a_mistake_is_one_line_with_its_place(drill, tmp_path):
    done = drill("broken.pkt")
    assert (done.exit_code, done.stdout) == (2, "")
    place = f"pystack: {tmp_path}/broken.pkt:2:1: "
    assert done.stderr == place + "the end of the script instead of win, which <-packets need\n"


def test_a_missing_file_is_one_line(drill, tmp_path):
    done = drill("nowhere.pkt")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"pystack: {tmp_path}/nowhere.pkt: No such file or directory\n"


def test_a_folder_stands_for_its_scripts_and_a_summary_ends_the_list(drill):
    done = drill("")
    assert done.exit_code == 2
    assert done.stdout.splitlines()[-1] == "1 pass, 1 fail, 1 unsupported, 1 invalid"


def test_json_is_one_object_in_each_line_and_nothing_else(drill, tmp_path):
    done = drill("--json", "")
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(one) == {"script", "result", "reason"} for one in objects)
    results = {one["script"].removeprefix(f"{tmp_path}/"): one["result"] for one in objects}
    assert results == {
        "broken.pkt": "fail",
        "good.pkt": "pass",
        "more/bad.pkt": "fail",
        "strange.pkt": "unsupported",
    }
    assert done.exit_code == 2


@pytest.mark.parametrize(
    "arguments", [["--relax=everything"], ["--define=1=2"], ["--against=luck"], ["--jobs=0"]]
)
def test_a_wrong_option_is_one_line(drill, arguments):
    done = drill(*arguments, "good.pkt")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_definitions_reach_the_script(tmp_path):
    path = tmp_path / "a.pkt"
    path.write_text("0 < S 9:9(0) win WINDOW\n+0 > R. 0:0(0) ack ONE\n")
    done = CliRunner().invoke(pystack, ["drill", "--define", "WINDOW=5", "-D", "ONE=1", str(path)])
    assert done.exit_code == 0
