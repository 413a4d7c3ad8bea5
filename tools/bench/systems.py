"""The systems that are compared: how each is started, and where its traffic goes.

Called by: measure.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench import place
from bench.place import Unavailable
from bench.programs import HERE, program
from bench.trial import TRIALS

ACK_EVERY = 32  # packets, of the limit without offloads
PYTCP = "PYSTACK_BENCH_PYTCP"  # the Python of a virtual environment that has PyTCP


@dataclass
class System:
    """A system that runs: whom to send to, and whose CPU time to count."""

    name: str
    address: str
    process: subprocess.Popen[str] | None  # None: it is started for each trial
    ipv6: str = ""  # its address of IPv6, if it is measured with that
    restless: bool = False  # takes CPU time also while others are measured, unless it is stopped

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @contextmanager
    def awake(self) -> Iterator[None]:
        """While it is measured."""
        if self.restless:
            os.kill(self.pid, signal.SIGCONT)
        try:
            yield
        finally:
            if self.restless:
                os.kill(self.pid, signal.SIGSTOP)


class Systems:
    """Those of one run, started when first asked for; each has networks of its own."""

    def __init__(self) -> None:
        self.running: dict[str, System] = {}
        self.missing: dict[str, str] = {}  # name -> why
        self.processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Systems:
        return self

    def __exit__(self, *exception: object) -> None:
        place.stop(self.processes)

    def start(self, names: Iterable[str]) -> None:
        """Start those that can run here; the others are missing."""
        for name in names:
            if name in self.running or name in self.missing:
                continue
            try:
                self.running[name] = STARTERS[name](self, name)
            except (Unavailable, OSError) as problem:
                self.missing[name] = str(problem)

    def begin(self, command: list[str], **how: object) -> subprocess.Popen[str]:
        process = place.start(command, **how)
        self.processes.append(process)
        return process

    def prefix(self, name: str) -> str:
        return f"10.{100 + list(STARTERS).index(name)}.0"


def limit(systems: Systems, name: str) -> System:
    kind = "mirror" if "mirror" in name else "answer"
    offloads = "plain" if "plain" in name else "offloads"
    binary = str(program("limit"))
    process = systems.begin([binary, name, kind, offloads, str(ACK_EVERY)])
    prefix = systems.prefix(name)
    place.configure(name, prefix)
    if kind == "mirror":
        systems.start(["loopback"])
        return System(name, f"{prefix}.2", process)
    place.add_ipv6(name, prefix)
    return System(name, f"{prefix}.2", process, f"{place.ipv6_network(prefix)}2")


def loopback(systems: Systems, name: str) -> System:
    """It is also what answers behind a mirror."""
    return System(name, "127.0.0.1", systems.begin([str(program("kernel"))]))


def kernel(systems: Systems, name: str) -> System:
    """In a namespace of its own, over a veth pair."""
    process = systems.begin(["unshare", "--net", "--", str(program("kernel"))])
    prefix = systems.prefix(name)
    place.connect(name, prefix, process.pid, offloads="plain" not in name)
    place.add_ipv6(name, prefix)
    place.add_ipv6(place.peer_of(name), prefix, 2, process.pid)
    return System(name, f"{prefix}.2", process, f"{place.ipv6_network(prefix)}2")


IPERF3_SERVER = ["sh", "-c", "echo ready; exec iperf3 --server >/dev/null"]


def loopback_iperf3(systems: Systems, name: str) -> System:
    """It is also what answers behind a mirror."""
    return System(name, "127.0.0.1", systems.begin(IPERF3_SERVER))


def kernel_iperf3(systems: Systems, name: str) -> System:
    """In a namespace of its own, over a veth pair."""
    process = systems.begin(["unshare", "--net", "--", *IPERF3_SERVER])
    place.connect(name, systems.prefix(name), process.pid, offloads=True)
    return System(name, f"{systems.prefix(name)}.2", process)


def python_environment() -> dict[str, str]:
    tools = HERE.parent
    path = [str(tools), str(tools.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}


def kernel_program(systems: Systems, name: str) -> System:
    """Python on the kernel's sockets, in a namespace of its own."""
    command = ["unshare", "--net", "--", sys.executable, "-m", "bench.program", "kernel"]
    process = systems.begin(command, env=python_environment())
    interface = "kernelprog"
    place.connect(interface, systems.prefix(name), process.pid, offloads=True)
    return System(name, f"{systems.prefix(name)}.2", process)


def loop_of(name: str) -> str:
    """The event loop that a system's name says; Unavailable if it is not installed."""
    if "uvloop" not in name:
        return "asyncio"
    if find_spec("uvloop") is None:
        raise Unavailable("uvloop is not installed (pip install uvloop)")
    return "uvloop"


def kernel_aio(systems: Systems, name: str) -> System:
    """Python with asyncio on the kernel's sockets, in a namespace of its own."""
    command = ["unshare", "--net", "--", sys.executable, "-m", "bench.aio_program"]
    process = systems.begin([*command, "kernel", loop_of(name)], env=python_environment())
    place.connect(name, systems.prefix(name), process.pid, offloads=True)
    return System(name, f"{systems.prefix(name)}.2", process)


def pystack_aio(systems: Systems, name: str) -> System:
    """The same on a stack that the event loop turns."""
    prefix = systems.prefix(name)
    command = [sys.executable, "-m", "bench.aio_program", "pystack", loop_of(name)]
    process = systems.begin([*command, name, f"{prefix}.0/24"], env=python_environment())
    place.route_with_cubic(name, prefix)
    return System(name, f"{prefix}.2", process)


def uvicorn(systems: Systems, name: str) -> System:
    """One uvicorn process, on the kernel's sockets in a namespace of its own or on a stack."""
    if find_spec("uvicorn") is None:
        raise Unavailable("uvicorn is not installed (pip install 'uvicorn[standard]')")
    prefix, interface = systems.prefix(name), f"uvicorn{list(STARTERS).index(name)}"
    program = [sys.executable, "-m", "bench.uvicorn_program"]
    if name.startswith("kernel"):
        command = ["unshare", "--net", "--", *program, "kernel", loop_of(name)]
        process = systems.begin(command, env=python_environment())
        place.connect(interface, prefix, process.pid, offloads=True)
    else:
        command = [*program, "pystack", loop_of(name), interface, f"{prefix}.0/24"]
        process = systems.begin(command, env=python_environment())
        place.route_with_cubic(interface, prefix)
    return System(name, f"{prefix}.2", process)


def pystack(systems: Systems, name: str) -> System:
    kind = "mirror" if "mirror" in name else "pystack"
    offloads = "plain" if "plain" in name else "offloads"
    prefix, ipv6 = systems.prefix(name), place.ipv6_network(systems.prefix(name))
    networks = f"{prefix}.0/24" if kind == "mirror" else f"{prefix}.0/24,{ipv6}/64"
    command = [sys.executable, "-m", "bench.program", kind, name, networks, offloads]
    process = systems.begin(command, env=python_environment())
    place.route_with_cubic(name, prefix)
    if kind == "mirror":
        systems.start(["loopback"])
        return System(name, f"{prefix}.2", process)
    place.add_ipv6(name, prefix)
    return System(name, f"{prefix}.2", process, f"{ipv6}2")


def lwip(systems: Systems, name: str) -> System:
    if not Path("/usr/include/lwip/lwip/tcp.h").exists():
        raise Unavailable("liblwip-dev is not installed (Debian: apt install liblwip-dev)")
    binary = program("lwip", "-I/usr/include/lwip", "-llwip", "-lpthread")
    prefix = systems.prefix(name)
    process = systems.begin([str(binary), name, f"{prefix}.2"])
    place.configure(name, prefix)
    return System(name, f"{prefix}.2", process)


def pytcp(systems: Systems, name: str) -> System:
    python = os.environ.get(PYTCP)
    if not python:
        raise Unavailable(
            f"no virtual environment with PyTCP: python3 -m venv DIRECTORY; "
            f"DIRECTORY/bin/pip install PyTCP; {PYTCP}=DIRECTORY/bin/python"
        )
    prefix = systems.prefix(name)
    process = systems.begin([python, str(HERE / "pytcp_system.py"), name, prefix])
    place.route_with_cubic(name, prefix)
    process.send_signal(signal.SIGSTOP)
    return System(name, f"{prefix}.2", process, restless=True)


def pystack_program(systems: Systems, name: str) -> System:
    """The programs run in the process of the native services."""
    systems.start(["pystack"])
    if "pystack" not in systems.running:
        raise Unavailable(systems.missing["pystack"])
    native = systems.running["pystack"]
    return System(name, native.address, native.process)


def on_trial(systems: Systems, name: str) -> System:
    return System(name, "", None)


STARTERS: dict[str, Callable[[Systems, str], System]] = {
    "limit": limit,
    "limit-plain": limit,
    "limit-mirror": limit,
    "loopback": loopback,
    "loopback-iperf3": loopback_iperf3,
    "kernel": kernel,
    "kernel-plain": kernel,
    "kernel-iperf3": kernel_iperf3,
    "kernel-program": kernel_program,
    "kernel-aio": kernel_aio,
    "kernel-uvloop": kernel_aio,
    "lwip": lwip,
    "pytcp": pytcp,
    "pystack": pystack,
    "pystack-plain": pystack,
    "pystack-mirror": pystack,
    "pystack-program": pystack_program,
    "pystack-aio": pystack_aio,
    "pystack-uvloop": pystack_aio,
    "kernel-uvicorn": uvicorn,
    "kernel-uvicorn-uvloop": uvicorn,
    "pystack-uvicorn": uvicorn,
    "pystack-uvicorn-uvloop": uvicorn,
    **dict.fromkeys(("asked", *TRIALS), on_trial),
}
