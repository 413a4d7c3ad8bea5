"""import pystack: quick, on any system, and with everything at hand when it is asked for."""

from __future__ import annotations

import errno
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import pystack

HEAVY = {
    "asyncio", "click", "dataclasses", "hashlib", "importlib.abc", "inspect", "logging", "pyroute2",
    "rich", "ssl", "tempfile", "trio", "typing",
    "pystack.errorqueue", "pystack.tcpconfig", "pystack.tcpinfo",
}  # fmt: skip


def loaded_by(program: str) -> set[str]:
    """The modules that a program loads into a fresh interpreter."""
    program = f"import sys; before = set(sys.modules); {program}; print(*set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_pystack_loads_nothing_else():
    loaded = loaded_by("import pystack")
    in_one_file = {"pystack.compiled", "pystack.onefile"}  # of a release build
    assert {name for name in loaded if name.startswith("pystack")} - in_one_file == {"pystack"}
    assert not loaded & {"socket", "logging", "threading", "ipaddress", "typing"}


def test_a_stack_loads_nothing_heavy():
    assert not loaded_by("import pystack; pystack.Stack; pystack.PipeDevice") & HEAVY


def test_a_stack_that_is_turned_and_has_sockets_loads_nothing_heavy():
    program = """
import pystack
with pystack.Stack('10.0.0.0/24') as stack:
    server = stack.create_server(('10.0.0.1', 80))
    client = stack.socket()
    client.connect_ex(('10.0.0.2', 80))
    stack.poll()
    server.close(), client.close()
"""
    assert not loaded_by(f"exec({program!r})") & HEAVY


def test_asyncio_is_loaded_with_what_needs_it():
    assert "asyncio" in loaded_by("import pystack; pystack.aio.Stack")


@pytest.mark.parametrize("name", ["Stack", "TunDevice", "aio"])
def test_source_that_is_not_compiled_says_so(tmp_path, name):
    """As where somebody works in a copy of the source, and has installed it elsewhere."""
    source = Path(pystack.__file__).parent
    shutil.copytree(source, tmp_path / "pystack", ignore=shutil.ignore_patterns("*.so", "*.pyd"))
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import pystack; pystack.{name}"
    isolated = [sys.executable, "-S", "-c", program]  # from what is installed, which would help out
    done = subprocess.run(isolated, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: pystack: {tmp_path / 'pystack'} is its source, which is not compiled: run "
        "`pip install -e .` there, or work in another directory"
    )


def test_every_public_name_is_there():
    assert dir(pystack) == pystack.__all__
    for name in pystack.__all__:
        assert getattr(pystack, name) is not None
    assert issubclass(pystack.PipeDevice, pystack.Device)


def test_the_constants_of_socket_are_pystack_s_too():
    for name in ("AF_INET", "AF_INET6", "SOCK_STREAM", "SOL_SOCKET", "SO_REUSEADDR", "SHUT_RD",
                 "TCP_NODELAY", "IPPROTO_TCP", "MSG_PEEK"):  # fmt: skip
        assert getattr(pystack, name) == getattr(socket, name)
    assert pystack.UDP_SEGMENT == 103


@pytest.mark.parametrize("name", ["nothing", "SO_NOTHING", "socketpair", "gethostbyname"])
def test_nothing_else_is_there(name):
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
        getattr(pystack, name)


def test_without_linux_a_tun_device_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pystack.device.tun", None)
    monkeypatch.delitem(vars(pystack), "TunDevice", raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(
        OSError, match=r"for Linux, not for darwin; subclass pystack\.Device"
    ) as caught:
        pystack.TunDevice("tun0")
    assert caught.value.errno == errno.EOPNOTSUPP
    monkeypatch.delitem(vars(pystack), "TunDevice")
