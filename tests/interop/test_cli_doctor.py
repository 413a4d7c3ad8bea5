"""`pystack doctor` on this machine."""

from __future__ import annotations

import json

from interop.command import PYSTACK, interfaces, pystack
from interop.harness import require_tool
from interop.virtual import wait_until

from pystack.cli.doctor import RUN_NEEDS, SERVE_NEEDS


def test_where_serve_can_work_it_says_so(namespace):
    before = interfaces(namespace)
    namespace.tun("10.9.0.0/24").close()
    wait_until(lambda: interfaces(namespace) == before)  # the kernel removes it when it has time
    done = pystack(namespace, "doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("`pystack serve` ")
    assert interfaces(namespace) == before


def test_it_finds_what_its_verdict_is_about(namespace):
    facts = json.loads(pystack(namespace, "doctor", "--json").stdout)["facts"]
    elsewhere = {"TUN device"}
    assert {fact["name"] for fact in facts} >= (SERVE_NEEDS | RUN_NEEDS) - elsewhere


def test_without_the_capability_serve_cannot_work(namespace):
    dropped = [require_tool("setpriv"), "--bounding-set=-all", "--inh-caps=-all"]
    done = namespace.run([*dropped, *PYSTACK, "doctor", "--json"], check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["serve"] is False
