"""Commands in a namespace of their own: what `pystack run` rests on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from interop.harness import ROOT, require_tool

PROGRAM = """
import os, sys
from ipaddress import ip_network
from pystack.device.namespace import NamespaceError, spawn_in_namespace
from pystack.device.tun import TunDevice

def make_tuns():
    device = TunDevice("pystack0")
    device.configure([ip_network("10.3.0.0/24"), ip_network("fd03::/64")])
    return [device]

def run(*command):
    with spawn_in_namespace(command, make_tuns) as child, TunDevice(fd=child.fds[0]):
        child.start()
        return child.wait()

def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
"""
PATH = ":".join([str(ROOT), *sys.path])

# Before a command: it has no capabilities and gets no namespaces.
LIMIT = "echo 0 >/proc/sys/user/max_user_namespaces"
STRIP = 'exec setpriv --bounding-set=-all --inh-caps=-all "$@"'
FORBIDDEN = ("unshare", "--user", "--map-root-user", "sh", "-c", f"{LIMIT} && {STRIP}", "sh")


@pytest.fixture(autouse=True)
def _possible(namespace):
    """Skip where there are no namespaces, or no TUN device for us."""
    namespace.tun().close()


def start(text, *prefix):
    """Run some Python after the above, in a process of its own."""
    pipe = subprocess.PIPE
    command = [*prefix, sys.executable, "-c", PROGRAM + text]
    env = {**os.environ, "PYTHONPATH": PATH}
    return subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def output(text, *prefix):
    with start(text, *prefix) as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return out


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143), ("kill -9 $$", 137)],
)
def test_the_status_of_the_command_is_returned(script, status):
    assert output(f"print(run('sh', '-c', '{script}'))") == f"{status}\n"


def test_the_command_sees_nothing_but_lo_and_the_interface():
    out = output("run('ip', '-brief', 'address', 'show', 'up')")
    assert [line.split()[0] for line in out.splitlines()] == ["lo", "pystack0"]
    assert "10.3.0.1/24" in out
    assert "fd03::1/64" in out


def test_the_command_may_use_the_network_as_its_user():
    """An ordinary user's command is no root, yet it may ping, capture and configure."""
    require_tool("ip")
    out = output("run('sh', '-c', 'id -u; ip link set pystack0 mtu 1400 && echo done')")
    assert out == f"{os.geteuid()}\ndone\n"


def test_a_command_that_does_not_exist_is_the_callers_error():
    text = "try: run('no-such-command')\nexcept OSError as problem: print(problem.filename)"
    assert output(text) == "no-such-command\n"


def test_what_make_tuns_raises_is_raised_here():
    text = """
for problem in (ValueError("no"), OSError(16, "taken")):
    def make_tuns():
        raise problem
    try:
        run("true")
    except (ValueError, OSError) as raised:
        print(repr(raised))
"""
    assert output(text) == "ValueError('no')\nOSError(16, 'taken')\n"


def test_a_child_that_is_not_started_ends_with_close():
    text = """
with spawn_in_namespace(["true"], make_tuns) as child:
    os.close(child.fds[0])
print(is_gone(child.pid))
"""
    assert output(text) == "True\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_passed_on_to_the_command(number):
    """The program catches them before it waits; one of those that come until then may be lost."""
    trap = f"trap 'exit 9' {number}; echo ready; while sleep 0.02; do :; done"
    text = f"""
import signal
signal.signal({number}, lambda *_: None)
print(run("sh", "-c", {trap!r}))
"""
    with start(text, "setsid") as process:
        assert process.stdout.readline() == "ready\n"
        while True:
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
                break
        assert process.stdout.read() == "9\n"


def test_the_command_ends_when_its_parent_is_killed():
    with start("run('sh', '-c', 'echo $$; exec sleep 60')") as process:
        pid = int(process.stdout.readline())
        process.kill()
        process.wait(10)
    deadline = time.monotonic() + 10
    while is_running(pid):
        assert time.monotonic() < deadline


def is_running(pid):
    """Neither gone nor a zombie that nobody has collected yet."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_machine_without_user_namespaces_gets_one_line_that_says_what_to_do():
    text = "try: run('true')\nexcept NamespaceError as problem: print(problem.strerror)"
    out = output(text, *FORBIDDEN)
    assert out == (
        "pystack: cannot make a user namespace: max_user_namespaces is 0. "
        "Run as root, or: `sudo sysctl user.max_user_namespaces=10000`\n"
    )


def test_the_probe_finds_what_this_machine_has():
    text = """
from pystack.device.probe import probe
for fact in probe():
    print(fact.name, fact.ok, sep=":")
"""
    facts = dict(line.split(":") for line in output(text).splitlines())
    for name in ("namespaces", "TUN interface", "/dev/net/tun", "pyroute2"):
        assert facts[name] == "True"


def test_the_probe_says_what_to_do_about_what_is_missing():
    """Nothing is allowed: no capability, no namespaces, no /dev/net/tun."""
    text = """
from pystack.device import probe
probe.DEVICE = "/dev/net/none"
for fact in probe.probe():
    if not fact.ok:
        print(fact.name, bool(fact.detail and fact.remedy), sep=":")
"""
    facts = dict(line.split(":") for line in output(text, *FORBIDDEN).splitlines())
    assert facts == dict.fromkeys(
        ("/dev/net/none", "CAP_NET_ADMIN", "namespaces", "TUN interface"), "True"
    )
