"""`pystack doctor`: from facts to a text and a status."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from pystack.cli.command import pystack
from pystack.device import probe
from pystack.device.probe import Fact

MACHINE = {
    "Python": Fact("Python", True, "3.11.2"),
    "pyroute2": Fact("pyroute2", True, "0.9.7"),
    "/dev/net/tun": Fact("/dev/net/tun", True, "can be opened"),
    "CAP_NET_ADMIN": Fact("CAP_NET_ADMIN", True, "yes"),
    "namespaces": Fact("namespaces", True, "yes"),
    "TUN interface": Fact("TUN interface", True, "can be made"),
    "offloads": Fact("offloads", True, "csum, tso4, tso6, uso4, uso6"),
    "IPv6": Fact("IPv6", True, "yes"),
}


@pytest.fixture
def machine(monkeypatch):
    """Lets the probe find a machine that lacks some things."""

    def lacks(*names: str) -> None:
        facts = [
            Fact(name, False, "denied", f"allow {name}") if name in names else fact
            for name, fact in MACHINE.items()
        ]
        monkeypatch.setattr(probe, "probe", lambda: facts)

    lacks()
    return lacks


def doctor(*arguments: str):
    return CliRunner().invoke(pystack, ["doctor", *arguments])


@pytest.mark.parametrize(
    ("missing", "status", "says"),
    [
        ([], 0, "`pystack serve` and `pystack run` can work here."),
        (["offloads", "IPv6"], 0, "`pystack serve` and `pystack run` can work here."),
        (["namespaces"], 0, "`pystack serve` can work here, `pystack run` cannot."),
        (
            ["CAP_NET_ADMIN"],
            1,
            "Only `pystack run` and `pystack serve --rootless` can work here.",
        ),
        (["/dev/net/tun"], 1, "Neither `pystack serve` nor `pystack run` can work here."),
        (["CAP_NET_ADMIN", "namespaces"], 1, "Neither `pystack serve` nor `pystack run` can"),
    ],
)
def test_the_verdict_is_about_serve_and_run(machine, missing, status, says):
    machine(*missing)
    done = doctor()
    assert done.exit_code == status
    assert done.stdout.splitlines()[-1].startswith(says)
    assert done.stderr == ""


def test_what_is_missing_comes_with_what_to_do(machine):
    machine("CAP_NET_ADMIN")
    lines = doctor().stdout.splitlines()
    at = lines.index("no  CAP_NET_ADMIN  denied")
    assert lines[at + 1] == "                   -> allow CAP_NET_ADMIN"
    assert lines[at - 1] == "ok  /dev/net/tun   can be opened"


def test_elsewhere_than_on_linux(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    done = doctor()
    assert done.exit_code == 1
    assert "pystack has none for darwin" in done.stdout


def test_json_says_the_same(machine):
    machine("namespaces")
    done = doctor("--json")
    told = json.loads(done.stdout)
    assert (told["serve"], told["run"]) == (True, False)
    assert told["facts"][4] == {
        "name": "namespaces",
        "ok": False,
        "detail": "denied",
        "remedy": "allow namespaces",
    }
    assert done.exit_code == 0
