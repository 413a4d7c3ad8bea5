"""The group of commands, and the one place where an exception becomes a line and a status.

Called by: main, tests.
RFCs: none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from pystack import __version__
from pystack.cli.failure import FAILED, Fault, explain, one_line

COMMANDS = ("doctor", "drill", "nc", "ping", "run", "serve", "sim")


class Commands(click.Group):
    """Commands whose every failure is one line on stderr; each a module, imported when wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"pystack.cli.{cmd_name}"), cmd_name)
        return command

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
