"""`pystack run` and `serve --rootless`: as root, and as an ordinary user."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from interop.command import PYSTACK, SECONDS, begun
from interop.harness import require_tool

from pystack.device.namespace import NamespaceError

NET = ["--net", "10.3.0.0/24"]
ORDINARY_USER = "daemon"

CAUGHT = """
import signal, socket, sys
number = {int(sys.argv[1])}
signal.pthread_sigmask(signal.SIG_BLOCK, number)
with socket.create_connection(("10.3.0.7", 7)):
    print("ready", flush=True)
    print("caught", signal.sigwait(number))
sys.exit(3)
"""
# pystack itself, to which a signal comes just before it waits for the command.
SIGNALLED = """
import os, sys
from pystack.cli import main
from pystack.device.namespace import Child

def signalled(child, *arguments, wait=Child.wait):
    os.kill(os.getpid(), int(number))
    return wait(child, *arguments)

number = sys.argv.pop(1)
Child.wait = signalled
main()
"""


@pytest.fixture(autouse=True)
def _possible(namespace):
    """Skip where there are no namespaces, or no TUN device for us."""
    namespace.tun("10.9.0.0/24").close()


def run(*arguments: str, prefix: tuple[str, ...] = (), **how: Any):
    return subprocess.run(
        [*prefix, *PYSTACK, "run", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        **how,
    )


def test_the_command_finds_the_subnet():
    ran = run(
        *NET,
        "--net",
        "fd03::/64",
        "--",
        "sh",
        "-c",
        ("ping -c 1 -W 5 10.3.0.200 && ping -c 1 -W 5 fd03::200"),
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count(" 0% packet loss") == 2


def test_the_command_finds_the_services():
    ran = run(*NET, "--", require_tool("curl"), "-sSf", "http://10.3.0.7/")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "<h1>10.3.0.7</h1>" in ran.stdout


def test_workers():
    fetch = [require_tool("curl"), "-sSf", "http://10.3.0.[2-13]/counters.json"]
    ran = run(*NET, "--workers", "3", "--", *fetch)
    assert (ran.returncode, ran.stderr) == (0, "")
    opened = re.findall(r'"tcp_connections_opened_passive": (\d+)', ran.stdout)
    assert opened == [str(n + 1) for n in range(12)]


def test_many_workers_need_more_files_than_a_shell_permits():
    """What the shell permits, the command may have."""
    limited = ("sh", "-c", 'ulimit -S -n 1024 && exec "$@"', "sh")
    ran = run(*NET, "--workers", "200", "--", "sh", "-c", "ulimit -S -n", prefix=limited)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "1024\n", "")


def test_the_command_has_no_other_network():
    ran = run(*NET, "--", "ip", "-o", "link")
    assert [line.split(": ")[1] for line in ran.stdout.splitlines()] == ["lo", "pystack0"]


def test_the_command_is_who_we_are():
    assert run(*NET, "--", "id", "-u").stdout == f"{os.getuid()}\n"


def test_its_status_is_ours():
    assert run(*NET, "--", "sh", "-c", "exit 0").returncode == 0
    assert run(*NET, "--", "sh", "-c", "exit 42").returncode == 42


def test_its_end_by_a_signal_is_told_as_a_shell_does():
    assert run(*NET, "--", "sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM


def test_a_command_that_does_not_exist():
    ran = run(*NET, "--", "no-such-command")
    assert (ran.returncode, ran.stdout) == (127, "")
    assert ran.stderr == "pystack: no-such-command: no such command\n"


def test_a_command_that_cannot_be_executed(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    ran = run(*NET, "--", str(file))
    assert (ran.returncode, ran.stdout) == (126, "")
    assert ran.stderr == f"pystack: {file}: not executable\n"


def test_verbose_says_what_answers():
    ran = run(*NET, "-v", "--", "true")
    assert ran.stderr == "pystack: 10.3.0.0/24 answers here; try: ping 10.3.0.5\n"


def test_a_capture_of_a_run(tmp_path):
    file = tmp_path / "capture.pcapng"
    run(*NET, "--pcap", str(file), "--", "ping", "-c", "1", "10.3.0.7", check=True)
    assert file.stat().st_size > 2 * 84


def test_stdin_and_stdout_are_the_commands():
    ran = subprocess.run(
        [*PYSTACK, "run", *NET, "--", "cat"],
        input="through\n",
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "through\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on(number):
    """What a terminal sends goes to both anyway; here it goes to pystack alone."""
    command = [*PYSTACK, "run", *NET, "--", sys.executable, "-c", CAUGHT, str(int(number))]
    with begun(command, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.communicate(timeout=SECONDS)[0] == f"caught {int(number)}\n"
        assert process.returncode == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_before_the_wait_is_passed_on(number):
    ended = subprocess.run(
        [sys.executable, "-c", SIGNALLED, str(int(number)), "run", *NET, "--", "sleep", "1000"],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        timeout=SECONDS,
    )
    assert ended.returncode == 128 + number


def test_what_ends_pystack_ends_the_command():
    command = [*PYSTACK, "run", *NET, "--", "sh", "-c", "echo ready; exec sleep 1000"]
    with begun(command) as process:
        assert process.stdout.readline() == "ready\n"
        process.kill()
        assert process.stdout.read() == ""  # at the end of `sleep`, which held it too


def test_a_shell_without_root():
    ran = subprocess.run(
        [*PYSTACK, "serve", *NET, "--rootless"],
        env={**os.environ, "SHELL": "/bin/sh"},
        input="ping -c 1 -W 5 10.3.0.9; exit 5\n",
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert " 0% packet loss" in ran.stdout
    assert ran.stderr.startswith("pystack: 10.3.0.0/24 answers here; try: ping 10.3.0.5\n")
    assert ran.returncode == 5


@pytest.mark.root
class TestAsAnOrdinaryUser:
    """Root becomes one."""

    PREFIX = ("setpriv", f"--reuid={ORDINARY_USER}", f"--regid={ORDINARY_USER}", "--init-groups")

    @pytest.fixture(autouse=True)
    def _possible(self):
        if os.geteuid() != 0:
            pytest.skip("only root can become another user")
        require_tool("setpriv")
        mode = Path("/dev/net/tun").stat().st_mode
        if not mode & stat.S_IWOTH:
            pytest.skip("/dev/net/tun is root's only")
        tried = subprocess.run([*self.PREFIX, *PYSTACK, "--version"], capture_output=True)
        if tried.returncode:
            pytest.skip(f"{ORDINARY_USER} cannot run this Python")

    def test_the_command_finds_the_subnet(self):
        ran = run(*NET, "--", "ping", "-c", "1", "-W", "5", "10.3.0.200", prefix=self.PREFIX)
        assert (ran.returncode, ran.stderr) == (0, "")

    def test_the_command_is_that_user(self):
        assert run(*NET, "--", "id", "-un", prefix=self.PREFIX).stdout == f"{ORDINARY_USER}\n"

    def test_serve_says_what_works_without_root(self):
        ended = subprocess.run(
            [*self.PREFIX, *PYSTACK, "serve", *NET], capture_output=True, text=True
        )
        assert ended.returncode == 77
        assert ended.stderr.startswith("pystack: cannot make interface pystack%d: ")
        assert "`pystack run` or `--rootless`" in ended.stderr
        assert ended.stderr.count("\n") == 1


def test_where_namespaces_are_forbidden_it_says_so(namespace):
    """A user namespace in which no other may be made."""
    unshare = [require_tool("unshare"), "--user", "--map-root-user"]
    forbid = 'echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all "$@"'
    try:
        ran = namespace.run(
            [*unshare, "sh", "-c", forbid, "sh", *PYSTACK, "run", *NET, "--", "true"],
            check=False,
        )
    except NamespaceError as problem:
        pytest.skip(str(problem))
    assert ran.returncode in (1, 2, 77)
    assert ran.stderr.startswith("pystack: cannot make a user namespace: ")
    assert ran.stderr.count("\n") == 1
