"""The group of commands, and the one place where an exception becomes a line and a status.

Called by: main, tests.
RFCs: none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from pystack import __version__
from pystack.cli.doctor import doctor
from pystack.cli.drill import drill
from pystack.cli.failure import FAILED, Fault, explain, one_line
from pystack.cli.nc import nc
from pystack.cli.ping import ping
from pystack.cli.run import run
from pystack.cli.serve import serve
from pystack.cli.sim import sim


class Commands(click.Group):
    """Commands whose every failure is one line on stderr."""

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run a command and exit; in click's terms always standalone."""
        sys.exit(outcome(lambda: super(Commands, self).main(args, prog_name, None, False, **extra)))


def outcome(command: Callable[[], Any]) -> int:
    """Run a command; say what went wrong, if anything; return the exit status."""
    try:
        return command() or 0
    except click.Abort:
        return 130
    except BrokenPipeError:  # `pystack serve | head -1`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  so that the exit does not flush into it
        return FAILED
    except Exception as problem:
        failure = explain(problem)
        if sys.flags.dev_mode and isinstance(failure, Fault):
            raise
        click.echo(one_line(failure.message), err=True)
        return failure.status


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="pystack", message="%(prog)s %(version)s")
@click.pass_context
def pystack(context: click.Context) -> None:
    """A TCP/IP stack that lives in a process: subnets that answer, without machines behind them.

    \b
    pystack serve --net 10.3.0.0/24                        every address answers (as root)
    pystack run --net 10.3.0.0/24 -- ping -c 1 10.3.0.5    the same for one command, without root
    pystack doctor                                         what this machine allows
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (serve, run, ping, nc, drill, sim, doctor):
    pystack.add_command(command)
