"""The command line: help, and one line for everything that can be wrong with it."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
from ipaddress import ip_address, ip_network

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from pystack import Connection, __version__
from pystack.cli import failure, live, options, report, signals
from pystack.cli.command import pystack
from pystack.cli.failure import Failure, explain, one_line
from pystack.cli.sample import Sample, changes, rates
from pystack.core.counters import NAMES

COMMANDS = ["serve", "run", "ping", "nc", "drill", "doctor"]


def run(*arguments: str):
    return CliRunner().invoke(pystack, list(arguments))


def test_version():
    assert run("--version").output == f"pystack {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command):
    shown = run(command, "--help")
    assert shown.exit_code == 0
    assert shown.output.startswith(f"Usage: pystack {command}")


def test_without_a_command_the_help_is_shown():
    shown = run()
    assert shown.exit_code == 0
    assert all(command in shown.stdout for command in COMMANDS)


def test_help_is_quick_because_it_imports_nothing_heavy():
    heavy = "rich pyroute2 asyncio http.server pystack.stack pystack.device.tun pystack.cli.sim"
    code = (
        "import sys; from pystack.cli.command import pystack\n"
        f"print(*[name for name in '{heavy}'.split() if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_subnet_that_answers_has_imported_nothing_heavy():
    """Before the services that stand on public sockets are started. pyroute2 sets the interface up:
    that is left out.
    """
    heavy = "rich asyncio ssl typing_extensions pystack.cli.sim pystack.cli.drill pystack.tcpconfig"
    code = (
        "import sys; from pystack.cli import command, serve\n"
        "from pystack.device.tun import TunDevice\n"
        "from pystack.stack import Stack; from pystack.services import start\n"
        f"print(*[name for name in '{heavy}'.split() if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_python_m_pystack_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "pystack", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"pystack {__version__}\n")


def test_where_something_is_not_installed_it_says_so():
    code = (
        "import sys; sys.modules['click'] = None; sys.argv = ['pystack']\n"
        "from pystack.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("pystack: import of click halted; None in sys.modules. Install ")
    assert done.stderr.count("\n") == 1


BAD = {
    "host bits": (
        ["serve", "--net", "10.3.0.7/24"],
        "pystack: 10.3.0.7/24 has host bits set. Write 10.3.0.0/24\n",
    ),
    "host bits of IPv6": (
        ["run", "--net", "fd03::7/64", "--", "true"],
        "pystack: fd03::7/64 has host bits set. Write fd03::/64\n",
    ),
    "no network": (
        ["serve", "--net", "10.3.0/24"],
        "pystack: 10.3.0/24 is no network. Write one such as 10.3.0.0/24 or fd03::/64\n",
    ),
    "no networks": (
        ["serve"],
        "pystack: no network to answer for. Say which, such as --net 10.3.0.0/24\n",
    ),
    "overlap": (
        ["serve", "--net", "10.3.0.0/16", "--net", "fd03::/64", "--net", "10.3.9.0/24"],
        "pystack: networks 10.3.0.0/16 and 10.3.9.0/24 overlap. Leave one of them out\n",
    ),
    "overlap in a client": (
        ["ping", "--net", "10.3.0.0/24", "--net", "10.3.0.0/24", "10.3.0.1"],
        "pystack: networks 10.3.0.0/24 and 10.3.0.0/24 overlap. Leave one of them out\n",
    ),
    "loopback": (
        ["serve", "--net", "127.0.0.0/8"],
        "pystack: 127.0.0.0/8 is a loopback network. Choose one such as 10.3.0.0/24 or fd03::/64\n",
    ),
    "multicast": (
        ["serve", "--net", "ff00::/8"],
        "pystack: ff00::/8 is a multicast network. Choose one such as 10.3.0.0/24 or fd03::/64\n",
    ),
    "link-local": (
        ["serve", "--net", "fe80::/64"],
        "pystack: fe80::/64 is link-local. Choose one such as 10.3.0.0/24 or fd03::/64\n",
    ),
    "everything": (
        ["serve", "--net", "0.0.0.0/0"],
        "pystack: 0.0.0.0/0 begins with addresses that no host can have. "
        "Choose one such as 10.3.0.0/24 or fd03::/64\n",
    ),
    "unknown service": (
        ["serve", "--net", "10.3.0.0/24", "--service", "tcp/9=gopher"],
        "pystack: there is no service gopher. Known are echo, discard, daytime, chargen, http\n",
    ),
    "no service": (
        ["serve", "--net", "10.3.0.0/24", "--service", "tcp=echo"],
        "pystack: tcp=echo is no service. Write PROTO/PORT=NAME, such as tcp/8080=http\n",
    ),
    "port of a service": (
        ["serve", "--net", "10.3.0.0/24", "--service", "tcp/65536=echo"],
        "pystack: tcp/65536=echo is no service. Write PROTO/PORT=NAME, such as tcp/8080=http\n",
    ),
    "service over another protocol": (
        ["serve", "--net", "10.3.0.0/24", "--service", "udp/80=http"],
        "pystack: http does not work over udp. Write tcp/80=http\n",
    ),
    "two services at one port": (
        ["serve", "--net", "10.3.0.0/24", "--service", "tcp/80=echo", "--service", "tcp/80=http"],
        "pystack: tcp/80=echo and tcp/80=http want the same port. Leave one of them out\n",
    ),
    "host address": (
        ["serve", "--net", "10.3.0.0/24", "--host-address", "10.3.0.0/24"],
        "pystack: 10.3.0.0/24 is no address. Write one such as 10.3.0.1 or fd03::1\n",
    ),
    "mtu": (
        ["serve", "--net", "10.3.0.0/24", "--mtu", "67"],
        "pystack: Invalid value for '--mtu': 67 is not in the range 68<=x<=65535. "
        "See pystack serve --help\n",
    ),
    "two volumes": (
        ["serve", "--net", "10.3.0.0/24", "-v", "-q"],
        "pystack: -v and -q exclude each other. See pystack serve --help\n",
    ),
    "a shell and JSON": (
        ["serve", "--net", "10.3.0.0/24", "--rootless", "--json"],
        "pystack: --rootless and --json exclude each other: the shell has the stdout. "
        "See pystack serve --help\n",
    ),
    "no command to run": (
        ["run", "--net", "10.3.0.0/24"],
        "pystack: Missing argument 'COMMAND...'. See pystack run --help\n",
    ),
    "source outside": (
        ["ping", "10.3.0.1", "--source", "10.4.0.1"],
        "pystack: 10.4.0.1 is not in 10.3.0.0/24. Say --net with the network it is in\n",
    ),
    "listening outside": (
        ["nc", "-l", "10.4.0.99", "9000", "--net", "10.4.0.0/28"],
        "pystack: 10.4.0.99 is not in 10.4.0.0/28. Say --net with the network it is in\n",
    ),
    "other family": (
        ["ping", "fd03::1", "--net", "10.3.0.0/24"],
        "pystack: no --net of the family of fd03::1\n",
    ),
    "port": (
        ["nc", "10.3.0.1", "0"],
        "pystack: Invalid value for 'PORT': 0 is not in the range 1<=x<=65535. "
        "See pystack nc --help\n",
    ),
}


@pytest.mark.parametrize(("arguments", "text"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_that_says_what_to_do(arguments, text):
    done = run(*arguments)
    assert done.stderr == text
    assert done.stdout == ""
    assert done.exit_code == 2


@pytest.mark.parametrize("arguments", [["serve", "--nett", "1"], ["serv"], ["--verbos"]])
def test_what_click_finds_is_one_line_too(arguments):
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("pystack: No such ")
    assert done.stderr.endswith(" --help\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--net", "10.3.0.0/24"],
        ["run", "--net", "10.3.0.0/24", "--", "true"],
        ["ping", "10.3.0.1"],
        ["nc", "10.3.0.1", "7"],
    ],
)
def test_elsewhere_than_on_linux_one_line_says_what_works(monkeypatch, arguments):
    monkeypatch.setattr(sys, "platform", "darwin")
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stderr == (
        "pystack: this command needs a TUN device, which pystack has on Linux only, not on darwin. "
        "Use pystack as a library there, with a device of your own\n"
    )


def test_options_of_the_command_to_run_are_its_own(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "pystack.cli.run.run_command",
        lambda subnet, command, say_ready: seen.update(command=command) or 3,
    )
    assert run("run", "--net", "10.3.0.0/24", "curl", "--mtu", "-v").exit_code == 3
    assert seen["command"] == ["curl", "--mtu", "-v"]
    assert run("run", "--net", "10.3.0.0/24", "--", "-x", "--", "y").exit_code == 3
    assert seen["command"] == ["-x", "--", "y"]


# What an option means.


@pytest.mark.parametrize("text", ["10.3.0.0/24", "10.3.0.0/31", "10.3.0.5/32", "fd03::/64"])
def test_a_network_is_taken_as_written(text):
    assert options.network(text) == ip_network(text)


def test_an_address_is_a_network_of_one():
    assert options.network("10.3.0.5") == ip_network("10.3.0.5/32")
    assert options.network("fd03::5") == ip_network("fd03::5/128")


def test_services_are_there_by_default():
    at = {(one.protocol, one.port): one.name for one in options.services_wanted([], True)}
    assert at == {
        ("tcp", 7): "echo",
        ("udp", 7): "echo",
        ("tcp", 9): "discard",
        ("udp", 9): "discard",
        ("tcp", 13): "daytime",
        ("udp", 13): "daytime",
        ("tcp", 19): "chargen",
        ("udp", 19): "chargen",
        ("tcp", 80): "http",
    }


def test_a_service_asked_for_goes_before_a_default():
    asked = options.service("tcp/80=echo")
    assert asked in options.services_wanted([asked], True)
    assert options.service("tcp/80=http") not in options.services_wanted([asked], True)
    assert options.services_wanted([asked], False) == (asked,)


@pytest.mark.parametrize(
    ("networks", "taken", "example"),
    [
        (["10.3.0.0/24"], ["10.3.0.1"], "10.3.0.5"),
        (["10.3.0.0/24"], ["10.3.0.5"], "10.3.0.2"),
        (["fd03::/64"], [], "fd03::5"),
        (["10.3.0.0/30"], ["10.3.0.1"], "10.3.0.2"),
        (["10.3.0.0/31"], ["10.3.0.0"], "10.3.0.1"),
        (["10.3.0.9/32"], [], "10.3.0.9"),
        (["10.3.0.9/32", "10.4.0.0/24"], ["10.3.0.9"], "10.4.0.5"),
    ],
)
def test_the_address_to_try_is_no_one_elses(networks, taken, example):
    found = options.address_in(map(ip_network, networks), map(ip_address, taken))
    assert str(found) == example


def test_no_address_left_is_a_usage_error():
    with pytest.raises(Failure, match="Choose a larger --net") as caught:
        options.address_in([ip_network("10.3.0.9/32")], [ip_address("10.3.0.9")])
    assert caught.value.status == 2


# What an exception becomes.


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        (PermissionError(errno.EPERM, "pystack: cannot make it. Run as root"), 77),
        (PermissionError(errno.EACCES, "denied", "/dev/net/tun"), 77),
        (FileNotFoundError(errno.ENOENT, "pystack: there is no /dev/net/tun. Load it"), 2),
        (FileExistsError(errno.EEXIST, "pystack: network 10.3.0.0/24 is in use"), 2),
        (OSError(errno.EBUSY, "pystack: interface pystack0 is in use"), 2),
        (ValueError("10.3.0.0 is no host address in 10.3.0.0/24"), 2),
        (OSError(errno.EIO, "Input/output error"), 1),
        (click.UsageError("twice"), 2),
        (click.FileError("x", "is a directory"), 1),
        (ZeroDivisionError("0"), 1),
    ],
)
def test_an_exception_becomes_one_line_and_a_status(problem, status):
    explained = explain(problem)
    assert explained.status == status
    assert one_line(explained.message).startswith("pystack: ")
    assert one_line(explained.message).count("pystack: ") == 1


def test_a_line_is_one_line_that_begins_with_pystack_once():
    assert one_line("pystack: a\n  b") == "pystack: a b"
    assert one_line("a") == "pystack: a"


def test_a_fault_of_ours_shows_no_traceback(monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("0")

    monkeypatch.setattr("pystack.cli.run.run_command", fail)
    monkeypatch.setattr("pystack.cli.run.check_system", lambda: None)
    done = run("run", "--net", "10.3.0.0/24", "true")
    assert done.exit_code == failure.FAILED
    assert done.stderr == (
        "pystack: this is a fault of pystack, ZeroDivisionError: 0. PYTHONDEVMODE=1 shows where\n"
    )


# Signals.


@pytest.fixture(autouse=True)
def _nobody_asked(monkeypatch):
    for name, value in (("asked_by", 0), ("_pending", False), ("_interruptible", False)):
        monkeypatch.setattr(signals, name, value)


def test_a_signal_waits_until_the_command_may_be_interrupted():
    signals._note(15, None)
    with pytest.raises(signals.Stop), signals.interruptible():
        pytest.fail("it was asked to stop before")


def test_a_signal_interrupts_once():
    with pytest.raises(signals.Stop), signals.interruptible():
        signals._note(2, None)
    with signals.interruptible():
        signals._note(15, None)
    assert signals.asked_by == 2


# What serve tells.


def sample(at: float = 0.0, connections=(), complete: bool = True, **counters: int) -> Sample:
    return Sample(at, {name: counters.get(name, 0) for name in NAMES}, [*connections], complete)


def connection(port: int) -> Connection:
    return Connection(("10.3.0.5", 80), ("10.3.0.1", port), "ESTABLISHED", True, 0, 0, 14600, 0)


def test_changes_are_what_came_and_what_went():
    one, two, three = connection(1), connection(2), connection(3)
    before, after = sample(connections=[one, two]), sample(connections=[two, three])
    assert changes(before, after) == [("closed", one), ("opened", three)]


def test_of_too_many_connections_no_changes_are_told():
    before, after = sample(connections=[connection(1)], complete=False), sample()
    assert changes(before, after) == []


def test_drops_are_told_by_reason_the_most_frequent_first():
    seen = sample(ip_drop_bad_checksum=1, tcp_drop_no_connection=7, ip_mirrored=3)
    assert list(seen.drops.items()) == [("tcp: no connection", 7), ("ip: bad checksum", 1)]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 bit/s"), (999, "999 bit/s"), (12_345, "12.3 kbit/s"), (1e9, "1 Gbit/s")],
)
def test_rates_have_units(number, text):
    assert report.with_unit(number, "bit/s") == text


def test_a_line_about_traffic():
    before = sample(0.0, packets_in=10, ip_drop_bad_checksum=1)
    after = sample(
        2.0,
        [connection(1)],
        packets_in=30,
        bytes_in=2_000_000,
        icmp_echo_requests_in=1,
        ip_drop_bad_checksum=4,
    )
    assert report.traffic_text(before, after) == (
        "pystack: in 10 packets/s 8 Mbit/s, out 0 packets/s 0 bit/s, 1 ping, 0 new connections, "
        "1 open, 3 dropped"
    )


def test_the_summary_names_what_was_dropped():
    last = sample(3.5, packets_in=1200, packets_out=1, udp_datagrams_in=2, tcp_drop_paws=1)
    assert report.summary_text(sample(), last) == (
        "pystack: ended after 3.5 s: 1,200 packets in, 1 out, 0 pings, 2 datagrams, "
        "0 connections, dropped 1 (tcp: paws 1)"
    )


def test_the_view_says_what_it_does_not_show():
    many = [connection(port) for port in range(1, 26)]
    seen = sample(1.0, many, tcp_drop_paws=3)
    console = Console(width=100, file=io.StringIO())
    console.print(live.picture(seen, rates(sample(), seen)))
    shown = console.file.getvalue()
    assert "25 open" in shown
    assert "10.3.0.5" in shown
    assert "and 15 more" in shown
    assert "tcp: paws" in shown
