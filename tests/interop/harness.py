"""Network namespaces for the interop tests: a kernel on the other end, and no packet outside.

The stack runs in pytest, on the file of a TUN interface that lies in the namespace. Commands run
inside; sockets made inside can be used from here. Works as root, and as an ordinary user by means
of a user namespace.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pystack.device.namespace import NamespaceError
from pystack.device.tun import TunDevice

ROOT = Path(__file__).resolve().parents[2]
QUEUES_MAX = 16  # of an interface that a test opens
NURSERY = Path(__file__).with_name("nursery.py")
NO_TUN_HERE = (errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.EACCES)


def require_tool(name: str) -> str:
    """Path of a program; the test is skipped if it is not installed."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def run_bench(figures: Path, *options: str) -> dict[str, Any]:
    """What tools/bench tells, with these options; the test is skipped if it cannot run here."""
    for tool in ("cc", "ip", "nsenter", "unshare"):
        require_tool(tool)
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("no /dev/net/tun for us")
    command = [sys.executable, "tools/bench", "--smoke", *options, f"--json={figures}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(figures.read_text())
    assert found["missing"] == {}
    assert found["faults"] == []
    return found


class Nursery:
    """The process that makes namespaces: clean, so that it may fork though pytest has threads."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(NURSERY), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
            )

    def namespace(self) -> Namespace:
        """A new namespace; NamespaceError if this machine does not allow it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(self._control, [b"new"], [theirs.fileno()])
        return Namespace(ours)

    def close(self) -> None:
        self._control.close()
        self._process.wait(10)


class Namespace:
    """A network namespace; nothing is in it at first but `lo`, which is up."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._turn = threading.Lock()
        self._processes: list[subprocess.Popen[Any]] = []
        try:
            self.pid, _ = self._answer()
        except BaseException:
            control.close()
            raise

    def tun(self, *networks: str, mtu: int = 1500, offloads: Any = True, **more: Any) -> TunDevice:
        """A TunDevice for a stack out here: up, with the networks routed to it in the namespace.

        more: as for TunDevice. Skips the test where there is no /dev/net/tun for us.
        """
        fd = self.open_tun(*networks, mtu=mtu, offloads=offloads, **more)
        return TunDevice(
            fd=fd,
            mtu=mtu,
            offloads=offloads,
            host_addresses=more.get("host_addresses"),
            io_uring=more.get("io_uring", True),
        )

    def tuns(self, number: int, *networks: str, mtu: int = 1500) -> list[TunDevice]:
        """TunDevices for the shards of a stack: the queues of one interface."""
        return [TunDevice(fd=fd, mtu=mtu) for fd in self.open_tuns(number, *networks, mtu=mtu)]

    def open_tun(self, *networks: str, **more: Any) -> int:
        """The file of a new TUN interface that was made and configured in the namespace."""
        return self.open_tuns(1, *networks, **more)[0]

    def open_tuns(
        self, number: int, *networks: str, name: str = "pystack0", **more: Any
    ) -> list[int]:
        """The files of such an interface with several queues."""
        try:
            return self._call("open_tuns", number=number, networks=networks, name=name, **more)[1]
        except OSError as problem:
            if problem.errno in NO_TUN_HERE and "/dev/net/tun" in str(problem):
                pytest.skip(str(problem))
            raise

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A kernel socket of the namespace, for use out here."""
        _, fds = self._call("open_socket", family=family, kind=kind, protocol=protocol)
        return socket.socket(fileno=fds[0])

    def connect(self, host: str, port: int, timeout: float = 10) -> socket.socket:
        """A TCP connection of the namespace's kernel."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        client = self.socket(family, socket.SOCK_STREAM)
        try:
            client.settimeout(timeout)
            client.connect((host, port))
        except BaseException:
            client.close()
            raise
        return client

    def popen(self, command: Sequence[str], **how: Any) -> subprocess.Popen[Any]:
        """Start a command inside; what still runs when the namespace is closed is killed."""
        enter = [require_tool("nsenter"), "--target", str(self.pid), "--net"]
        if os.geteuid() != 0:
            enter += ["--user", "--preserve-credentials"]
        process = subprocess.Popen([*enter, "--", *command], **how)
        self._processes.append(process)
        return process

    def run(
        self,
        command: Sequence[str],
        *,
        check: bool = True,
        timeout: float = 60,
        text: bool = True,
        input: Any = None,
        **how: Any,
    ) -> subprocess.CompletedProcess[Any]:
        """Run a command inside, its output captured; check: AssertionError if it fails."""
        stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
        pipe = subprocess.PIPE
        how = {"stdin": stdin, "stdout": pipe, "stderr": pipe, "text": text, **how}
        with self.popen(command, **how) as process:
            try:
                out, err = process.communicate(input, timeout)
            except BaseException:
                process.kill()
                raise
        code = process.returncode
        assert not check or code == 0, f"{' '.join(command)} exited with {code}:\n{out}\n{err}"
        return subprocess.CompletedProcess(command, code, out, err)

    @contextmanager
    def capture(
        self, file: Path, interface: str = "pystack0", length: int = 2048
    ) -> Iterator[None]:
        """Let dumpcap write the first bytes of what passes the interface into a file.

        Of 2048 each, its buffer of 16 MiB holds 8000 packets. (tcpdump does not run as the root of
        a user namespace.)
        """
        options = f"-q -P -B 16 -i {interface} -s {length} -w".split()
        process = self.popen(
            [require_tool("dumpcap"), *options, str(file)], stderr=subprocess.PIPE, text=True
        )
        with process:
            for line in process.stderr:
                if line.startswith("File:"):
                    break
            else:
                pytest.fail("dumpcap does not start")
            try:
                yield
            finally:
                process.terminate()

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.__exit__(None, None, None)  # closes its pipes and waits
        self._control.close()

    def _call(self, function: str, **arguments: Any) -> tuple[Any, list[int]]:
        with self._turn:  # or threads would get each other's answers
            self._control.send(pickle.dumps((function, arguments)))
            return self._answer()

    def _answer(self) -> tuple[Any, list[int]]:
        message, fds, _, _ = socket.recv_fds(self._control, 65536, QUEUES_MAX)
        if fds:
            message = self._control.recv(65536)
        if not message:
            raise NamespaceError(errno.EIO, "the namespace died")
        kind, value = pickle.loads(message)
        if kind == "raise":
            raise value
        return value, fds
