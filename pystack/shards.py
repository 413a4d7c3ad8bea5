"""Shards: several stacks on the queues of one interface, for more cores than one.

Called by: applications, the command line.
RFCs: none of its own.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pystack.device.base import join_shards
from pystack.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from typing_extensions import Self

    from pystack.connection import Connection
    from pystack.device.base import Device
    from pystack.stack import Address, Network, PacketWriter
    from pystack.tcpconfig import TcpConfig


class Shards:
    """Stacks that answer for the same networks and share nothing, each with a device and a thread.

    A flow belongs to the stack whose device its packets come by, as those of TunDevice.queues do.
    So every stack needs all the listeners: iterate over the stacks to make them. What comes by
    another device all the same, fragments and ICMP errors, is handed on from stack to stack.
    """

    def __init__(
        self,
        *networks: str | Network,
        devices: Iterable[Device],
        address: str | Address | Iterable[str | Address] | None = None,
        tcp: TcpConfig | None = None,
        start: bool = True,
    ) -> None:
        """devices: 1 to 256, closed with the stacks. The others: as of Stack."""
        found = list(devices)
        join_shards(found)
        with ExitStack() as undo:
            for device in found:
                undo.callback(device.close)
            self.stacks: Sequence[Stack] = tuple(
                undo.enter_context(
                    Stack(*networks, device=device, address=address, tcp=tcp, start=False)
                )
                for device in found
            )
            for stack in self.stacks:
                stack.shards = self
            if start:
                self.start()
            undo.pop_all()

    def __iter__(self) -> Iterator[Stack]:
        return iter(self.stacks)

    def __len__(self) -> int:
        return len(self.stacks)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self)} of {self.stacks[0]!r}>"

    # Their life.

    def start(self) -> None:
        """Let their threads read the devices, if that was put off."""
        for stack in self:
            stack.start()

    def close(self) -> None:
        """Reset all connections, end all sockets, close the devices. Closing again does nothing."""
        with ExitStack() as ending:
            for stack in self:
                ending.callback(stack.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # What their addresses do, and what they do: as of Stack.

    def set_policy(
        self,
        prefix: str | Network | Address,
        action: str,
        protocol: str | None = None,
        ports: int | tuple[int, int] | None = None,
    ) -> None:
        """Say what happens to packets for addresses in a prefix, in every stack."""
        for stack in self:
            stack.set_policy(prefix, action, protocol, ports)

    def serve(self, service: str, protocol: str, port: int) -> None:
        """Let the stacks themselves answer a port at every address: echo, discard or chargen."""
        for stack in self:
            stack.serve(service, protocol, port)

    def counters(self) -> dict[str, int]:
        """How often everything happened, by name, in all stacks together."""
        total: Counter[str] = Counter()
        for stack in self:
            total.update(stack.counters())
        return dict(total)

    def connections(self, limit: int = 1000) -> list[Connection]:
        """Up to `limit` of their TCP connections, in no order."""
        found: list[Connection] = []
        for stack in self:
            if len(found) < limit:
                found += stack.connections(limit - len(found))
        return found

    def capture(self, writer: PacketWriter | None) -> None:
        """Show every packet from now on to a writer, from one stack at a time; None: to nobody."""
        shared = None if writer is None else OneAtATime(writer)
        for stack in self:
            stack.capture(shared)


class OneAtATime:
    """A writer of packets for several threads."""

    def __init__(self, writer: PacketWriter) -> None:
        self.writer = writer
        self.lock = threading.Lock()

    def write(self, packet: bytes, time_ns: int, outbound: bool) -> None:
        with self.lock:
            self.writer.write(packet, time_ns, outbound)
