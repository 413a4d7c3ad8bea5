"""`pystack nc`: stdin to a socket of a virtual host, and the socket to stdout.

Called by: command.
RFCs: none.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from pystack.cli import signals
from pystack.cli.client import Client, ClientOptions, client_for, client_options, resolve
from pystack.cli.failure import USAGE, Failure
from pystack.cli.options import PORT_RANGE, Address

if TYPE_CHECKING:
    from pystack.socket import Socket

Name = tuple[Any, ...]  # of a socket
STDIN = 0
CHUNK = 256 * 1024
DATAGRAM = 16 * 1024  # of stdin, in one datagram
LINGER_SECONDS = 30  # for the peer to take the rest
UDP_PATIENCE = 1.0  # seconds for answers after the end of stdin


@click.command()
@click.argument("host")
@click.argument("port", type=PORT_RANGE)
@click.option("-u", "--udp", is_flag=True, help="UDP instead of TCP.")
@click.option("-l", "--listen", is_flag=True, help="HOST is the virtual address to wait at.")
@click.option(
    "-w",
    "--wait",
    type=click.FloatRange(0, min_open=True),
    help="Give up after so many seconds without a connection or data.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say on stderr who speaks to whom.")
@client_options
def nc(
    host: str,
    port: int,
    udp: bool,
    listen: bool,
    wait: float | None,
    verbose: bool,
    options: ClientOptions,
) -> int:
    """Connect stdin and stdout to PORT of HOST, from a virtual host, through the stack.

    HOST is an address of this machine, or one that it forwards to. The end of stdin ends the
    sending direction only; nc ends when the peer ends the other one.

    \b
    pystack nc 10.3.0.1 22
    pystack nc -l 10.3.0.5 9000
    """
    address = resolve(host, options)
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    if listen:
        options = listening(address, options)
    with client_for(address, options) as client:
        opened = accepted if listen else connected
        with opened(client, address, port, kind, wait, verbose) as (made, peer):
            pump = Pump(made, kind, wait)
            pump.run()
            if pump.problem is not None:
                raise failure(peer, pump.problem)
    return 0


def listening(address: Address, options: ClientOptions) -> ClientOptions:
    """The options with HOST as the virtual host's own address."""
    if options.source not in (None, address):
        raise Failure("with -l HOST is the virtual address, and --source has no use", USAGE)
    return ClientOptions(options.networks, address, options.device)


def say(verbose: bool, text: str) -> None:
    if verbose:
        click.echo(f"pystack: {text}", err=True)


@contextmanager
def connected(
    client: Client, host: Address, port: int, kind: int, wait: float | None, verbose: bool
) -> Iterator[tuple[Socket, Name]]:
    """A socket from the virtual host to another."""
    with client.stack.socket(client.family, kind) as made:
        made.bind((str(client.source), 0))
        made.settimeout(wait)
        try:
            with signals.interruptible():
                made.connect((str(host), port))
        except OSError as problem:
            raise failure((str(host), port), problem) from None
        say(verbose, f"{client.source} port {made.getsockname()[1]} to {host} port {port}")
        yield made, (str(host), port)


@contextmanager
def accepted(
    client: Client, host: Address, port: int, kind: int, wait: float | None, verbose: bool
) -> Iterator[tuple[Socket, Name]]:
    """A socket to the first who comes."""
    with client.stack.socket(client.family, kind) as waiting:
        waiting.bind((str(host), port))
        waiting.settimeout(wait)
        if kind == socket.SOCK_STREAM:
            waiting.listen(1)
        say(verbose, f"waiting at {host} port {port}")
        try:
            with signals.interruptible():
                made, peer = first_of(waiting, kind)
        except TimeoutError:
            raise Failure(f"nobody came to {host} port {port}") from None
        if made is not waiting:
            waiting.close()  # whoever comes now is refused
        with made:
            say(verbose, f"{peer[0]} port {peer[1]} to {host} port {port}")
            yield made, peer


def first_of(waiting: Socket, kind: int) -> tuple[Socket, Name]:
    """Accept a connection, or connect to the sender of a datagram, which stays to be received."""
    if kind == socket.SOCK_STREAM:
        made, peer = waiting.accept()
        return made, peer[:2]
    _, peer = waiting.recvfrom(1, socket.MSG_PEEK)
    waiting.connect(peer)
    return waiting, peer[:2]


def failure(peer: Name, problem: OSError) -> Failure:
    text = problem.strerror or str(problem)
    return Failure(f"{peer[0]} port {peer[1]}: {text[:1].lower()}{text[1:]}")


def read_stdin(size: int) -> bytes:
    """Some bytes of standard input; none at its end, nor if it is closed."""
    try:
        return os.read(STDIN, size)
    except OSError:
        return b""


class Pump:
    """Carries bytes both ways between stdin, stdout and a connected socket."""

    def __init__(self, peer: Socket, kind: int, wait: float | None) -> None:
        self.peer = peer
        self.kind = kind
        self.idle_limit = wait
        self.problem: OSError | None = None  # of the socket, the first
        self.sender = threading.Thread(target=self.send_all, name="stdin", daemon=True)

    def run(self) -> None:
        """Until both directions have ended."""
        udp = self.kind == socket.SOCK_DGRAM
        self.peer.settimeout(UDP_PATIENCE if udp and self.idle_limit is None else self.idle_limit)
        self.sender.start()
        with signals.interruptible():
            self.receive_all()
            if self.problem is None and not os.isatty(STDIN):
                self.sender.join()
        if not udp and self.problem is None:
            self.peer.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER_SECONDS)
            )

    def receive_all(self) -> None:
        """From the socket to stdout, until the peer ends, or is silent for too long."""
        while True:
            try:
                data = self.peer.recv(CHUNK)
            except TimeoutError:
                if self.idle_limit is not None or not self.sender.is_alive():
                    return
                continue
            except OSError as problem:
                self.problem = self.problem or problem
                return
            if not data and self.kind == socket.SOCK_STREAM:
                return
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    def send_all(self) -> None:
        """From stdin to the socket, until the end."""
        stream = self.kind == socket.SOCK_STREAM
        try:
            while data := read_stdin(CHUNK if stream else DATAGRAM):
                self.peer.sendall(data) if stream else self.peer.send(data)
            if stream:
                self.peer.shutdown(socket.SHUT_WR)
        except OSError as problem:
            self.problem = self.problem or problem
