"""A subnet as the options describe it: device, stack, policy, services, capture; gone at the end.

Called by: serve, run, ping, nc.
RFCs: none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pystack.cli import signals
from pystack.cli.failure import USAGE, Failure
from pystack.cli.options import Address, SubnetOptions, address_in
from pystack.cli.recording import Recorder

if TYPE_CHECKING:
    from pystack.device.tun import TunDevice
    from pystack.stack import Stack


@dataclass(frozen=True)
class Subnet:
    """A subnet that answers."""

    options: SubnetOptions
    stack: Stack
    device: TunDevice
    recorder: Recorder

    @property
    def host_addresses(self) -> tuple[Address, ...]:
        """The kernel's own."""
        return tuple(self.device.local_addresses)

    @property
    def example(self) -> Address:
        """A virtual address to try."""
        return address_in(self.options.networks, other_than=self.host_addresses)

    @property
    def answers(self) -> str:
        """10.3.0.0/24 and fd03::/64 answer"""
        networks = " and ".join(map(str, self.options.networks))
        return f"{networks} {'answers' if len(self.options.networks) == 1 else 'answer'}"


def check_system() -> None:
    """Fail where there is no Linux."""
    if sys.platform != "linux":
        raise Failure(
            f"this command needs a TUN device, which pystack has on Linux only, not on "
            f"{sys.platform}. Use pystack as a library there, with a device of your own",
            USAGE,
        )


@contextmanager
def running_subnet(options: SubnetOptions, fd: int | None = None) -> Iterator[Subnet]:
    """Build what the options describe, with a new TUN device or the one that fd is.

    Whatever goes wrong, and whoever asks to stop, nothing of it is left behind.
    """
    from pystack.device.tun import TunDevice
    from pystack.services import start
    from pystack.stack import Stack

    with ExitStack() as ending:
        signals.check()
        device = TunDevice(
            options.device, mtu=options.mtu, host_addresses=options.host_addresses, fd=fd
        )
        ending.callback(device.close)
        signals.check()
        recorder = Recorder()
        ending.callback(recorder.close)  # after the stack, which says goodbye
        stack = ending.enter_context(Stack(*options.networks, device=device, start=False))
        if options.mirror:
            for network in options.networks:
                stack.set_policy(network, "mirror")
        for service in options.services:
            if options.mirror:
                for network in options.networks:
                    stack.set_policy(network, "accept", service.protocol, service.port)
            running = start(stack, service.name, service.protocol, service.port)
            if running is not None:
                ending.callback(running.close)
        if options.pcap is not None:
            recorder.open(options.pcap, name=device.name)
            stack.capture(recorder)
        stack.start()
        be_silent()  # it answers by now
        signals.check()
        yield Subnet(options, stack, device, recorder)


def be_silent() -> None:
    """We say ourselves what fails."""
    import logging  # slow to import

    logging.getLogger("pystack").addHandler(logging.NullHandler())
