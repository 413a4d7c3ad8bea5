"""Rows without a load generator: what pystack costs, how its simulation fares, how fast it starts.

usage: python -m bench.trial SYSTEM NUMBER ROUND      prints a figure

A process for each figure, so that none inherits another's memory.
Called by: measure.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LINK = {"rate": "100Mbit/s", "delay": "20ms", "loss": "1%", "queue": 200}
SIZE, TRANSFERS, AT_ONCE = "2MB", 12, 4  # a round; with more at once, many are late
REQUESTS = 2000
IMPORTS = 9
BYTECODE = ROOT / "build" / "bench" / "bytecode"
SERVED = "pystack.cli.serve, pystack.cli.command, pystack.device.netlink, pystack.services.http"
NETWORK, HOST = "10.254.254.0/24", "10.254.254.7"
START_SECONDS = 20
ECHO_REQUEST, ECHO_REPLY = 8, 0


def idle_memory(number: int, round: int) -> float:
    """Bytes for each idle connection, tables included."""
    tool = str(ROOT / "tools" / "idle-memory")
    command = [sys.executable, tool, "--json", "--kind", "accepted", str(number)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)[0]["bytes"])


def crowd(number: int, round: int) -> float:
    """ns that a request takes with so many connections open."""
    sys.path.append(str(ROOT / "tests"))
    from native.crowd import Crowd

    return float(Crowd(number).cost(REQUESTS))


def alone(number: int, round: int) -> float:
    return crowd(1, round)


def simulation(number: int, round: int) -> float:
    """Segments of a transfer of so many MB, both ways, that are simulated in a second."""
    from pystack.testing import Transfer

    link = {"rate": "10Gbit/s", "delay": "1ms"}
    start = time.perf_counter()
    outcome = Transfer(f"{number}MB", seed=round, link=link).run()
    if outcome.error:
        raise RuntimeError(outcome.error)
    return (outcome.packets + outcome.answers) / (time.perf_counter() - start)


def seeds(round: int) -> range:
    return range(round * TRANSFERS, (round + 1) * TRANSFERS)


def pystack_link(number: int, round: int) -> float:
    """Mbit/s over the simulated link: all bytes of some seeds by all their seconds."""
    from pystack.testing import Transfer

    found = [Transfer(SIZE, seed=seed, cc="cubic", link=LINK).run() for seed in seeds(round)]
    return statistics.harmonic_mean([one.goodput for one in found]) / 1e6


def linux_link(number: int, round: int) -> float:
    """The same of this machine's kernel, in real time; transfers at once, which mostly wait.

    What was late is done once more, alone: to leave it out would leave out long ones.
    """
    from kernel_transfer import DISTURBED, KernelTransfer, transfer

    cells = [
        KernelTransfer(SIZE, "cubic", seed, **LINK)  # type: ignore[arg-type]
        for seed in seeds(round)
    ]
    with ProcessPoolExecutor(AT_ONCE) as executor:
        found = list(executor.map(transfer, cells))
    late_cells = [cell for cell, (_, late) in zip(cells, found, strict=True) if late >= DISTURBED]
    with ProcessPoolExecutor(1) as executor:
        found += executor.map(transfer, late_cells)
    good = [goodput for goodput, late in found if late < DISTURBED]
    if not good:
        raise RuntimeError("the machine was so busy that the link delivered everything late")
    return statistics.harmonic_mean(good) / 1e6


def as_installed() -> dict[str, str]:
    """The environment of what is timed: with bytecode, which a package has once it is installed."""
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(BYTECODE)}


def import_ms(what: str) -> float:
    """In a fresh Python; the median of some."""
    script = f"import time; start = time.perf_counter(); {what}; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", script]
    how: dict[str, Any] = {"capture_output": True, "text": True, "env": as_installed()}
    return 1e3 * statistics.median(
        float(subprocess.run(command, check=True, **how).stdout) for _ in range(IMPORTS)
    )


def imported(number: int, round: int) -> float:
    """ms of `import pystack`."""
    return import_ms("import pystack")


def stack_imported(number: int, round: int) -> float:
    """The same with what is loaded when it is first used: Stack, and the core."""
    return import_ms("import pystack; pystack.Stack")


def served(number: int, round: int) -> float:
    """ms from the start of `pystack serve` until it has answered a ping."""
    subprocess.run([sys.executable, "-c", f"import {SERVED}"], env=as_installed(), check=True)
    return answered_ms(["-m", "pystack", "serve", "--net", NETWORK, "-q"])


def served_least(number: int, round: int) -> float:
    """The same of a program that has the same libraries, and no stack."""
    return answered_ms([str(HERE / "serve_least.py"), NETWORK])


def answered_ms(program: list[str]) -> float:
    command = [sys.executable, *program]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=as_installed()) as server:
        try:
            wait_for_ping(server, start + START_SECONDS)
            return (time.perf_counter() - start) * 1e3
        finally:
            server.send_signal(signal.SIGTERM)


def wait_for_ping(server: subprocess.Popen[Any], until: float) -> None:
    header = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, os.getpid() & 0xFFFF, 1)
    checksum = -sum(struct.unpack("!4H", header)) % 0xFFFF
    request = header[:2] + struct.pack("!H", checksum) + header[4:]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as pinger:
        pinger.settimeout(0.002)
        while time.perf_counter() < until and server.poll() is None:
            with suppress(OSError):  # no route yet, no answer yet
                pinger.sendto(request, (HOST, 0))
                answer, peer = pinger.recvfrom(256)
                if peer[0] == HOST and answer[20] == ECHO_REPLY:
                    return
            time.sleep(0.001)
    raise RuntimeError(f"no answer to a ping; the exit status: {server.poll()}")


TRIALS: dict[str, Callable[[int, int], float]] = {
    "idle-memory": idle_memory,
    "alone": alone,
    "crowd": crowd,
    "simulation": simulation,
    "linux-link": linux_link,
    "pystack-link": pystack_link,
    "import": imported,
    "import-stack": stack_imported,
    "serve": served,
    "serve-least": served_least,
}


if __name__ == "__main__":
    name, count, round_ = sys.argv[1:]
    print(TRIALS[name](int(count), int(round_)))
