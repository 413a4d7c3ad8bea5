"""Makes network namespaces for the interop tests: a process without threads, which may fork.

usage: nursery.py FD      (started by harness.py; FD: its end of a socket pair)

Each message brings the end of another socket pair: a child is forked that moves into a namespace
of its own and serves that connection until it closes. The namespace goes with the child.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from ipaddress import ip_network
from typing import Any, NoReturn

from pystack.device.namespace import enter_new_namespace

with suppress(ImportError):  # once, not in each child
    import pyroute2  # noqa: F401

    from pystack.device.tun import TunDevice


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which then ends us
    control = socket.socket(fileno=int(sys.argv[1]))
    while True:
        message, fds, _, _ = socket.recv_fds(control, 16, 1)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            serve(socket.socket(fileno=fds[0]))
        os.close(fds[0])


def serve(control: socket.socket) -> NoReturn:
    """Answer requests, each the name of a function below and its arguments, from the namespace."""
    try:
        answer(control, enter)
        while request := control.recv(65536):
            function, arguments = pickle.loads(request)
            answer(control, globals()[function], **arguments)
    finally:
        os._exit(0)


def answer(control: socket.socket, function: Any, **arguments: Any) -> None:
    """Send what a function returns, or what it raises; files that it returns go first.

    The last word comes when they are closed here: closing them out there then removes their TUN
    interface.
    """
    try:
        result = function(**arguments)
    except Exception as problem:
        control.send(pickle.dumps(("raise", problem)))
        return
    if isinstance(result, list):
        with ExitStack() as files:
            fds = [files.enter_context(file).fileno() for file in result]
            socket.send_fds(control, [b"files"], fds)
        result = None
    control.send(pickle.dumps(("return", result)))


def enter() -> int:
    enter_new_namespace(as_root=True)
    return os.getpid()


def open_tuns(networks: list[str], number: int, **arguments: Any) -> list[TunDevice]:
    devices = TunDevice.queues(number, **arguments)
    try:
        devices[0].configure([ip_network(network) for network in networks])
    except BaseException:
        for device in devices:
            device.close()
        raise
    return devices


def open_socket(family: int, kind: int, protocol: int) -> list[socket.socket]:
    return [socket.socket(family, kind, protocol)]


if __name__ == "__main__":
    main()
