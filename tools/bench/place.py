"""Where the bench runs: network namespaces, interfaces, processes; gone when it ends, however.

The bench itself moves into a namespace; what it starts dies with it, and with that the namespaces
of the others and all interfaces.
Called by: command (once), systems.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pystack.device.namespace import PR_SET_PDEATHSIG, enter_new_namespace, libc

READY_SECONDS = 20
CPUCLOCK_SCHED = 2  # clock_getcpuclockid(3): the exact clock of a process
SIOCETHTOOL = 0x8946
# ETHTOOL_SRXCSUM, STXCSUM, SSG, STSO, SGSO, SGRO
OFFLOAD_COMMANDS = (0x2C, 0x24, 0x1F, 0x19, 0x17, 0x15)


class Unavailable(Exception):
    """A system, or the bench itself, cannot run on this machine; the text says why."""


def enter() -> None:
    """Move this process, which has one thread as yet, into a namespace of its own."""
    enter_new_namespace(as_root=True)
    # Connections that are over would otherwise occupy all ports within seconds.
    Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").write_text("256")
    for table in ("127.0.0.0/8", "127.0.0.1"):
        with suppress(Unavailable):
            ip(f"route replace local {table} dev lo table local proto kernel scope host "
               "src 127.0.0.1 congctl cubic")  # fmt: skip


def die_with_parent() -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def start(command: Sequence[str], **how: Any) -> subprocess.Popen[str]:
    """Start a system and wait until it says that it is ready; Unavailable if it does not.

    In a session of its own: what is sent to a terminal's processes is for who measures. iperf3
    would end for the SIGHUP that nohup keeps off.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        text=True, start_new_session=True, preexec_fn=die_with_parent, **how,
    )  # fmt: skip
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], READY_SECONDS)
    if readable and process.stdout.readline().startswith("ready"):
        return process
    process.kill()
    _, errors = process.communicate()
    lines = errors.strip().splitlines() or ["it does not start"]
    raise Unavailable(lines[-1])


def run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()}")


def ip(arguments: str, inside: int | None = None) -> None:
    """Run ip(8), perhaps in the namespace of another process."""
    enter_it = ["nsenter", f"--net=/proc/{inside}/ns/net"] if inside is not None else []
    try:
        run([*enter_it, "ip", *arguments.split()])
    except FileNotFoundError as problem:
        raise Unavailable(f"{problem.filename} is not installed") from None


def route_with_cubic(interface: str, prefix: str, inside: int | None = None) -> None:
    """The machine's default algorithm may be one that paces, which hides every bulk figure."""
    host, network = f"{prefix}.1", f"{prefix}.0/24"
    if inside is not None:
        host = f"{prefix}.2"
    route = f"{network} dev {interface} proto kernel scope link src {host}"
    ip(f"route replace {route} congctl cubic", inside)


def ipv6_network(prefix: str) -> str:
    """fd00:N::, a /64, to 10.N.0, a /24."""
    return f"fd00:{prefix.split('.')[1]}::"


def add_ipv6(interface: str, prefix: str, host: int = 1, inside: int | None = None) -> None:
    """To an interface that has addresses of IPv4: an address of IPv6, and the route to its /64."""
    network = ipv6_network(prefix)
    ip(f"address replace {network}{host}/64 dev {interface} nodad", inside)
    route = f"{network}/64 dev {interface} proto kernel metric 256"  # as the address brings it
    ip(f"-6 route replace {route} congctl cubic", inside)


def configure(interface: str, prefix: str) -> None:
    """Address, route and life for a TUN interface that somebody else has made."""
    ip(f"address add {prefix}.1/24 dev {interface}")
    ip(f"link set {interface} up mtu 1500")
    route_with_cubic(interface, prefix)


def peer_of(interface: str) -> str:
    """The other end of a veth pair."""
    return f"{interface}p"


def connect(interface: str, prefix: str, pid: int, offloads: bool) -> None:
    """A veth pair to the namespace of a process, where the prefix's .2 is."""
    peer = peer_of(interface)
    ip(f"link add {interface} type veth peer name {peer}")
    if not offloads:
        refuse_offloads(interface)
        refuse_offloads(peer)
    ip(f"link set {peer} netns {pid}")
    ip("link set lo up", pid)
    ip(f"address add {prefix}.2/24 dev {peer}", pid)
    ip(f"link set {peer} up mtu 1500", pid)
    configure(interface, prefix)
    route_with_cubic(peer, prefix, pid)


def refuse_offloads(interface: str) -> None:
    """What `ethtool -K INTERFACE tso off gso off gro off sg off tx off rx off` does."""
    import ctypes

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for command in OFFLOAD_COMMANDS:
            value = ctypes.create_string_buffer(struct.pack("II", command, 0))
            request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
            fcntl.ioctl(any_socket, SIOCETHTOOL, request)


def threads(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    return []


def pin(pid: int, cpu: int) -> None:
    """All threads of a process to one CPU."""
    for thread in threads(pid):
        with suppress(OSError):
            os.sched_setaffinity(thread, {cpu})


def cpu_seconds(pid: int) -> float:
    """What a process has used, with all its threads, those that have ended too."""
    with suppress(OSError):
        return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)
    return 0.0


def stop(processes: Sequence[subprocess.Popen[str]]) -> None:
    """End processes of ours; first all get the signal, then each is waited for."""
    for process in processes:
        process.kill()
    end = time.monotonic() + 5
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=max(0.1, end - time.monotonic()))
