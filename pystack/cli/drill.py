"""`pystack drill`: packet scripts against pystack in virtual time, or against the kernel.

Called by: command.
RFCs: none.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import closing

import click

from pystack.cli.failure import FAILED, USAGE
from pystack.cli.signals import interruptible

RESULTS = ("pass", "fail", "unsupported", "invalid")
RELAXATIONS = ("psh", "win", "options")


def parse_defines(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """NAME=VALUE or NAME each."""
    found = {}
    for value in values:
        name, _, text = value.partition("=")
        if not name.isidentifier():
            raise click.BadParameter(f"{value!r} is not NAME=VALUE")
        found[name] = text
    return found


def parse_relax(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> frozenset[str]:
    words = frozenset(word.strip() for word in value.split(",")) if value else frozenset()
    unknown = sorted(words - set(RELAXATIONS))
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(RELAXATIONS)}")
    return words


@click.command(context_settings={"ignore_unknown_options": False})
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per script and line.")
@click.option(
    "--against",
    type=click.Choice(["pystack", "kernel"]),
    default="pystack",
    show_default=True,
    help="What to test; the kernel in real time, in network namespaces of its own.",
)
@click.option(
    "--dialect",
    type=click.Choice(["google", "nplab"]),
    help="The language of the scripts; by default google, or as a script says of itself.",
)
@click.option(
    "--ip",
    type=click.Choice(["v4", "v6", "mapped"]),
    help="IP version; by default what the script says, or v4.",
)
@click.option(
    "-D",
    "--define",
    "defines",
    multiple=True,
    metavar="N=V",
    callback=parse_defines,
    help="Let the word N of scripts mean V.",
)
@click.option(
    "--relax",
    metavar="psh,win,options",
    callback=parse_relax,
    help="Don't compare PSH of data; windows other than 0; order and padding of options.",
)
@click.option("--strict-tail", is_flag=True, help="Packets after the last expected one are faults.")
@click.option(
    "--pcap-dir", type=click.Path(file_okay=False), help="Write a capture of each script here."
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 1024),
    help="Processes; by default as many as there are processors.",
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
def drill(
    as_json: bool,
    against: str,
    dialect: str | None,
    ip: str | None,
    defines: dict[str, str],
    relax: frozenset[str],
    strict_tail: bool,
    pcap_dir: str | None,
    jobs: int | None,
    paths: tuple[str, ...],
) -> int:
    """Run packet scripts: PATHs are files, or folders with *.pkt files.

    One line per script says pass, fail or unsupported. The exit status is 0 only if all pass.
    Code blocks are Python and are executed: run only scripts that you trust. Shell commands are
    never executed, but mapped to the configuration of the stack.

    \b
    pystack drill tests/scripts/
    pystack drill --ip v6 --json handshake.pkt
    """
    from pystack.script import report
    from pystack.script.drill import Plan, find_scripts, run_all

    if against == "kernel":
        from pystack.cli.subnet import check_system

        check_system()
    scripts = find_scripts(paths)
    plan = Plan(against, dialect, ip, defines, relax, strict_tail, pcap_dir)
    count: Counter[str] = Counter()
    # A script may take as long as it likes, and a call of the kernel's may block.
    with closing(run_all(scripts, plan, jobs or os.cpu_count() or 1)) as outcomes, interruptible():
        for outcome in outcomes:
            count[outcome.result] += 1
            if as_json:
                click.echo(report.as_json(outcome))
            if outcome.result == "invalid":
                click.echo(f"pystack: {outcome.problem}", err=True)
            elif not as_json:
                click.echo(report.text(outcome))
    if not as_json and len(scripts) > 1:
        click.echo(", ".join(f"{count[name]} {name}" for name in RESULTS if count[name]))
    if count["invalid"]:
        return USAGE
    if len(scripts) == count["pass"]:
        return 0
    return FAILED
