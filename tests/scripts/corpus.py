"""The corpus: all *.pkt below this folder, and what the first two lines of each say.

    // What it tests, with the clause of the RFC.
    // kernel: same
or
    // kernel: differs: why this machine's kernel does something else

`// dialect: nplab` in a line of its own says that it is not of the google dialect.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLAIM = re.compile(r"^// kernel: (same|differs: \S.*)$", re.MULTILINE)
VERSION = re.compile(r"^--ip_version=(\S+)", re.MULTILINE)
VERSIONS = {"ipv4": ["v4"], "ipv6": ["v6"], "ipv4-mapped-ipv6": ["mapped"]}


@dataclass(frozen=True)
class CorpusScript:
    """A script of the corpus."""

    path: Path
    claim: str  # "same", "differs: why", or "" if neither is said
    versions: tuple[str, ...]  # that it is to be run in

    @property
    def name(self) -> str:
        return self.path.relative_to(HERE).as_posix()


def read(path: Path) -> CorpusScript:
    text = path.read_text()
    claim = CLAIM.search("\n".join(text.split("\n")[:2]))
    version = VERSION.search(text)
    return CorpusScript(
        path,
        claim[1] if claim else "",
        tuple(VERSIONS[version[1]] if version else ["v4", "v6"]),
    )


def corpus(below: Path = HERE) -> list[CorpusScript]:
    return [read(path) for path in sorted(below.rglob("*.pkt"))]
