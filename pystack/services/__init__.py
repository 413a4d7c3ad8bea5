"""Services by name: what answers at a port of every address of a stack.

echo, discard and chargen are the core's own; daytime and http stand on the public sockets.
Called by: cli; applications.
RFCs: 862, 863, 864, 867; the services' own files name theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pystack.stack import Stack


class Running(Protocol):
    """A service that answers until it is closed."""

    def close(self) -> None: ...


Start = Callable[["Stack", str, int], "Running | None"]


@dataclass(frozen=True)
class Service:
    """How a service is started, and where it is unless somebody says otherwise."""

    name: str
    port: int
    protocols: tuple[str, ...]
    start: Start


def native(name: str) -> Start:
    """A service within the core; it ends with its stack."""
    return lambda stack, protocol, port: stack.serve(name, protocol, port)


def module(name: str) -> Start:
    """A service that is a module here with a function `start`, imported when first wanted."""

    def start(stack: Stack, protocol: str, port: int) -> Running:
        running: Running = import_module(f"pystack.services.{name}").start(stack, protocol, port)
        return running

    return start


SERVICES = {
    service.name: service
    for service in (
        Service("echo", 7, ("tcp", "udp"), native("echo")),
        Service("discard", 9, ("tcp", "udp"), native("discard")),
        Service("daytime", 13, ("tcp", "udp"), module("daytime")),
        Service("chargen", 19, ("tcp", "udp"), native("chargen")),
        Service("http", 80, ("tcp",), module("http")),
    )
}


def start(stack: Stack, name: str, protocol: str, port: int) -> Running | None:
    """Start a service at a port of every address; KeyError if there is none of that name.

    What is returned is to be closed before the stack; None ends with it.
    """
    return SERVICES[name].start(stack, protocol, port)


def default_services() -> Iterator[tuple[str, int, str]]:
    """(protocol, port, name) of every service at its own port."""
    for service in SERVICES.values():
        for protocol in service.protocols:
            yield protocol, service.port, service.name
