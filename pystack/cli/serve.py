"""`pystack serve`: a subnet that answers, until somebody stops it.

Called by: command.
RFCs: none.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress

import click

from pystack.cli import signals
from pystack.cli.failure import Failure
from pystack.cli.options import SubnetOptions, subnet_options
from pystack.cli.report import Json, Report, Text
from pystack.cli.sample import Sample, look
from pystack.cli.subnet import Subnet, check_system, running_subnet

SAMPLE_SECONDS = 1.0


@click.command()
@subnet_options
@click.option("--json", is_flag=True, help="One JSON object a line on stdout; text on stderr.")
@click.option("-v", "--verbose", is_flag=True, help="Also each connection that comes and goes.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing but errors, and --json.")
@click.option(
    "--rootless", is_flag=True, help="Open a shell in which the subnet is there; needs no root."
)
def serve(subnet: SubnetOptions, json: bool, verbose: bool, quiet: bool, rootless: bool) -> int:
    """Answer at every address of a network, until Ctrl-C or SIGTERM.

    \b
    pystack serve --net 10.3.0.0/24 --net fd03::/64
    pystack serve --net 10.3.0.0/24 --no-services --service tcp/8080=http
    pystack serve --net 10.3.0.0/24 --mirror
    """
    if verbose and quiet:
        raise click.UsageError("-v and -q exclude each other")
    if rootless and json:
        raise click.UsageError("--rootless and --json exclude each other: the shell has the stdout")
    check_system()
    if rootless:
        return shell(subnet, quiet)
    report = None
    with suppress(signals.Stop), running_subnet(subnet) as running:
        report = report_for(look(running.shards), json, verbose, quiet)
        watch(running, report)
    if report is not None:
        report.summary()
    return 0


def watch(subnet: Subnet, report: Report) -> None:
    """Report until Stop."""
    try:
        report.ready(subnet)
        while True:
            signals.sleep(SAMPLE_SECONDS)
            report.sample(check(subnet))
            subnet.recorder.flush()
    except signals.Stop:
        report.last = look(subnet.shards)
        raise
    finally:
        report.close()


def check(subnet: Subnet) -> Sample:
    """A look at the subnet; a failure if its device is gone."""
    try:
        return look(subnet.shards)
    except OSError as problem:
        if problem.errno == errno.ENETDOWN:
            raise Failure(f"interface {subnet.device.name} is gone, somebody removed it") from None
        raise


def report_for(first: Sample, json: bool, verbose: bool, quiet: bool) -> Report:
    if json:
        return Json(first, quiet=quiet)
    if quiet:
        return Report(first)
    if sys.stdout.isatty():
        from pystack.cli.live import Live

        return Live(first, verbose=verbose)
    return Text(first, verbose=verbose)


def shell(subnet: SubnetOptions, quiet: bool) -> int:
    """Run the user's shell where the subnet is; its status is ours."""
    from pystack.cli.run import run_command

    return run_command(subnet, [os.environ.get("SHELL") or "/bin/sh"], say_ready=not quiet)
