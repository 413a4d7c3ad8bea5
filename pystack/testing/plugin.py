"""The pytest plugin: fixture `net`, its marker and options.

Called by: pytest, in every run of whoever has pystack installed: it imports nothing else.
RFCs: none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pystack.testing.network import VirtualNetwork

MARKER = (
    "net(seed=0, seeds=None, **link): of the fixture `net`: its seed, or over how many seeds the "
    "test is repeated; the other arguments are defaults of links, such as delay='20ms', loss='1%'"
)
KEPT = pytest.StashKey["Run"]()


class Run:
    """The network of one test, and what is to be told of it."""

    def __init__(self, net: VirtualNetwork) -> None:
        self.net = net
        self.captures: dict[str, Any] = {}
        self.failed = False


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("pystack", "virtual networks")
    group.addoption(
        "--net-seed",
        metavar="N",
        help="Seed of all virtual networks, or `random`: of each another.",
    )
    group.addoption(
        "--net-pcap",
        choices=("none", "failed", "all"),
        default="none",
        help="Keep captures of every virtual host, of tests that failed or of all.",
    )
    group.addoption(
        "--net-pcap-dir",
        metavar="DIR",
        default="net-pcap",
        help="Where to; %(default)s by default.",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with seeds=20 is 20 tests, unless the command line says which seed."""
    marker = metafunc.definition.get_closest_marker("net")
    if marker is None or marker.kwargs.get("seeds") is None or "net" not in metafunc.fixturenames:
        return
    first = marker.kwargs.get("seed", 0)
    seeds = list(range(first, first + marker.kwargs["seeds"]))
    if metafunc.config.getoption("--net-seed") is not None:
        seeds = [chosen_seed(metafunc.config, 0)]
    metafunc.fixturenames.append("_net_seed")
    metafunc.parametrize("_net_seed", seeds, ids=[f"seed{seed}" for seed in seeds])


def chosen_seed(config: pytest.Config, otherwise: int) -> int:
    """What --net-seed says."""
    given = config.getoption("--net-seed")
    if given is None:
        return otherwise
    if given == "random":
        import random

        return random.SystemRandom().randrange(1 << 32)
    try:
        return int(given)
    except ValueError:
        raise pytest.UsageError(f"--net-seed={given}: a number or `random`") from None


@pytest.fixture
def net(request: pytest.FixtureRequest) -> Iterator[VirtualNetwork]:
    """A VirtualNetwork of this test; see the marker `net`."""
    from pystack.testing.network import VirtualNetwork

    settings: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("net"))):
        settings |= marker.kwargs
    settings.pop("seeds", None)
    seed = settings.pop("seed", 0)
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and "_net_seed" in callspec.params:
        seed = callspec.params["_net_seed"]
    else:
        seed = chosen_seed(request.config, seed)
    with VirtualNetwork(seed, **settings) as made:
        run = Run(made)
        request.node.stash[KEPT] = run
        if request.config.getoption("--net-pcap") != "none":
            watch(run)
        yield made


def watch(run: Run) -> None:
    """Capture every host from its beginning, into memory."""
    from io import BytesIO

    def begin(host: Any) -> None:
        run.captures[host.name] = BytesIO()
        host.pcap(run.captures[host.name])

    run.net.on_host = begin


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]
    run = item.stash.get(KEPT, None)
    if run is None or call.when == "setup":
        return report  # type: ignore[return-value]
    if call.when == "call" and report.failed:
        again = re.sub(r"\[seed\d+\]$", "", item.nodeid)
        lines = [
            run.net.report(),
            f"repeat with: pytest '{again}' --net-seed={run.net.seed}",
        ]
        if run.captures:
            lines.append(f"captures: {directory_of(item)}")
        report.sections.append(("virtual network", "\n".join(lines)))
        run.failed = True
    if call.when == "teardown" and run.captures:
        keep = item.config.getoption("--net-pcap")
        if keep == "all" or (keep == "failed" and run.failed):
            save(item, run)
    return report  # type: ignore[return-value]


def directory_of(item: pytest.Item) -> Any:
    from pathlib import Path

    from pystack.testing.network import file_name

    return Path(item.config.getoption("--net-pcap-dir")) / file_name(item.nodeid)


def save(item: pytest.Item, run: Run) -> None:
    """Write the captures of a test, which has closed its network."""
    from pystack.testing.network import file_name

    directory = directory_of(item)
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in run.captures.items():
        (directory / f"{file_name(name)}.pcapng").write_bytes(data.getvalue())
