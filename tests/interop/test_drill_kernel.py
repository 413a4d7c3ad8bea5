"""`pystack drill --against kernel`: the runner, held against a stack that we have not written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from interop.command import begun

from pystack.device.namespace import NamespaceError

SMOKE = Path(__file__).resolve().parents[1] / "scripts" / "smoke"
# Of each kind one, and none that takes long.
SAME = [
    "accept", "connect", "connect-blocking", "connect-refused", "waitall", "write-aggregate",
    "fast-retransmit", "sack-sent", "close-orderly", "linger-zero", "closed-port", "epoll",
    "vectors", "unreachable", "path-mtu", "udp", "echo",
]  # fmt: skip
TRIES = 10  # a busy machine is late
PATIENT = "--tolerance_usecs=2000000\n"  # and so it may be


def drill(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pystack", "drill", "--against", "kernel", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(autouse=True)
def namespaces(namespace):
    """Skips where this machine has none."""


def results(ip: str, names: list[str]) -> dict[str, str]:
    done = drill("--json", "--ip", ip, *(str(SMOKE / f"{name}.pkt") for name in names))
    if not done.stdout and "namespace" in done.stderr:
        raise NamespaceError(1, done.stderr)
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        Path(one["script"]).stem: "" if one["result"] == "pass" else one["reason"]
        for one in objects
    }


@pytest.mark.parametrize("ip", ["v4", "v6", "mapped"])
def test_the_kernel_keeps_our_scripts(ip):
    names = SAME if ip != "v6" else [n for n in SAME if n not in ("unreachable", "path-mtu")]
    for _ in range(TRIES):
        found = results(ip, names)
        assert len(found) == len(names)
        names = [name for name in names if found[name]]
        if not names:
            break
    assert not names, found


def test_the_kernel_fails_a_script_that_expects_something_else(tmp_path):
    wrong = tmp_path / "wrong.pkt"
    wrong.write_text(f"{PATIENT}0 < S 9:9(0) win 5\n+0 > R. 0:0(0) ack 2\n")
    done = drill(str(wrong))
    assert done.returncode == 1
    assert "ack is 1, not 2" in done.stdout


def test_settings_are_those_of_the_scripts_own_namespace(tmp_path):
    script = tmp_path / "sack.pkt"
    script.write_text(
        f"{PATIENT}`sysctl -q net.ipv4.tcp_sack=0 net.ipv4.tcp_timestamps=0`\n"
        "0 socket(..., SOCK_STREAM|SOCK_NONBLOCK, 0) = 3\n"
        "+0 connect(3, ..., ...) = -1 EINPROGRESS\n"
        "+0 > S 0:0(0) <mss 1460,nop,wscale 10>\n"
    )
    before = Path("/proc/sys/net/ipv4/tcp_sack").read_text()
    assert drill(str(script)).returncode == 0
    assert Path("/proc/sys/net/ipv4/tcp_sack").read_text() == before


def test_commands_are_not_executed(tmp_path):
    script = tmp_path / "touch.pkt"
    script.write_text(f"`echo x > {tmp_path}/made`\n0 < S 9:9(0) win 5\n")
    assert drill(str(script)).returncode == 1
    assert not (tmp_path / "made").exists()


BLOCKS = f"""{PATIENT}0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 1000 <mss 1000>
+0 > S. 0:0(0) ack 1 <...>
+.01 < . 1:1(0) ack 1 win 1000
+0 accept(3, ..., ...) = 4
"""


def test_a_write_that_blocks_longer_than_the_script_says_fails(tmp_path):
    script = tmp_path / "blocks.pkt"
    script.write_text(BLOCKS + "+0...0.2 write(4, ..., 100000000) = 100000000\n")
    done = drill(str(script))
    assert done.returncode == 1
    assert "has not returned when the script ends" in done.stdout


def test_a_signal_ends_it_though_a_write_of_the_kernel_blocks(tmp_path):
    for name, last in (("1-ready", ""), ("2-blocks", "+0 write(4, ..., 100000000) = 100000000\n")):
        (tmp_path / f"{name}.pkt").write_text(BLOCKS + last)
    command = [sys.executable, "-m", "pystack", "drill", "--against", "kernel", "--jobs", "1"]
    with begun([*command, str(tmp_path)]) as process:
        assert process.stdout.readline().startswith("pass")
        started = time.monotonic()
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
        assert time.monotonic() - started < 5  # it would give up the write after 10
