"""A subnet as the options describe it: device, stack, policy, services, capture; gone at the end.

Called by: serve, run, ping, nc.
RFCs: none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pystack.cli import signals
from pystack.cli.failure import USAGE, Failure
from pystack.cli.options import Address, SubnetOptions, address_in
from pystack.cli.recording import Recorder

if TYPE_CHECKING:
    from pystack.device.tun import TunDevice
    from pystack.services import Running
    from pystack.shards import Shards
    from pystack.stack import Stack


@dataclass(frozen=True)
class Subnet:
    """A subnet that answers."""

    options: SubnetOptions
    shards: Shards
    device: TunDevice
    recorder: Recorder

    @property
    def stack(self) -> Stack:
        """For a client."""
        return self.shards.stacks[0]

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
def running_subnet(options: SubnetOptions, fds: Sequence[int] = ()) -> Iterator[Subnet]:
    """Build what the options describe, with a new TUN device or the one whose queues the fds are.

    Whatever goes wrong, and whoever asks to stop, nothing of it is left behind.
    """
    from pystack.shards import Shards

    with ExitStack() as ending:
        signals.check()
        raise_file_limit()
        devices = open_devices(options, fds)
        for device in devices:
            ending.callback(device.close)
        signals.check()
        recorder = Recorder()
        ending.callback(recorder.close)  # after the stack, which says goodbye
        shards = ending.enter_context(Shards(*options.networks, devices=devices, start=False))
        ending.enter_context(running_services(options, shards))
        if options.pcap is not None:
            recorder.open(options.pcap, name=devices[0].name)
            shards.capture(recorder)
        shards.start()
        be_silent()  # it answers by now
        signals.check()
        yield Subnet(options, shards, devices[0], recorder)


def raise_file_limit() -> None:
    """Open as many files as we may: each worker needs several."""
    import resource  # on Linux only

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def open_devices(options: SubnetOptions, fds: Sequence[int] = ()) -> list[TunDevice]:
    """A device for each worker: new ones, or those that the fds are."""
    from pystack.device.tun import TunDevice

    addresses = options.host_addresses
    if fds:
        return [TunDevice(mtu=options.mtu, host_addresses=addresses, fd=fd) for fd in fds]
    return TunDevice.queues(
        options.workers, options.device, mtu=options.mtu, host_addresses=addresses
    )


@contextmanager
def running_services(options: SubnetOptions, shards: Shards) -> Iterator[None]:
    """All services, in every shard; beside a mirror their ports are no mirror's."""
    from pystack.services import start

    running = []
    try:
        for network in options.networks if options.mirror else ():
            shards.set_policy(network, "mirror")
            for service in options.services:
                shards.set_policy(network, "accept", service.protocol, service.port)
        for service in options.services:
            for stack in shards:
                running.append(start(stack, service.name, service.protocol, service.port))
        yield
    finally:
        close_together([service for service in running if service is not None])


def close_together(services: Sequence[Running]) -> None:
    """Each takes a moment."""
    from concurrent.futures import ThreadPoolExecutor  # slow to import

    with ThreadPoolExecutor(len(services) or 1) as threads:
        for closed in [threads.submit(service.close) for service in services]:
            closed.result()


def be_silent() -> None:
    """We say ourselves what fails."""
    import logging  # slow to import

    logging.getLogger("pystack").addHandler(logging.NullHandler())
