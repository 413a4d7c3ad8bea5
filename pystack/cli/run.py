"""`pystack run`: one command, in a network namespace of its own where the subnet is.

Called by: command; serve, for --rootless.
RFCs: none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pystack.cli import signals
from pystack.cli.failure import Failure
from pystack.cli.options import SubnetOptions, subnet_options
from pystack.cli.subnet import check_system, open_devices, running_subnet

if TYPE_CHECKING:
    from pystack.device.tun import TunDevice

NOT_FOUND = 127  # a shell's status for a command that does not exist
NOT_EXECUTABLE = 126


@click.command(context_settings={"allow_interspersed_args": False})
@subnet_options
@click.option("-v", "--verbose", is_flag=True, help="Say on stderr what answers where.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(subnet: SubnetOptions, verbose: bool, command: tuple[str, ...]) -> int:
    """Run COMMAND where every address of a network answers; no root.

    COMMAND has a network of its own: the loopback interface and the subnet. Its exit status is
    that of pystack, 128 + N if signal N ended it.

    \b
    pystack run --net 10.3.0.0/24 -- curl http://10.3.0.7/
    pystack run --net fd03::/64 -- sh -c 'ping -c 1 fd03::9 && nc fd03::9 13'
    """
    check_system()
    return run_command(subnet, list(command), say_ready=verbose)


def run_command(subnet: SubnetOptions, command: list[str], say_ready: bool) -> int:
    """Run a command in a namespace with the subnet; return its status."""
    from pystack.device.namespace import spawn_in_namespace

    def make_tuns() -> list[TunDevice]:
        devices = open_devices(subnet)
        devices[0].configure(subnet.networks)
        return devices

    signals.check()
    with (
        spawn_in_namespace(command, make_tuns) as child,
        running_subnet(subnet, fds=child.fds) as running,
    ):
        if say_ready:
            click.echo(f"pystack: {running.answers} here; try: ping {running.example}", err=True)
        try:
            child.start()
        except FileNotFoundError:
            raise Failure(f"{command[0]}: no such command", NOT_FOUND) from None
        except PermissionError:
            raise Failure(f"{command[0]}: not executable", NOT_EXECUTABLE) from None
        return child.wait(lambda: signals.asked_by)  # asked after the last look
