"""Fuzzing guided by coverage: what takes a branch that nothing before has taken is changed further.

A target is a function of bytes that raises, or ends the process, if there is a finding. Called by:
tools/fuzz, which also keeps the input that was the last one.
"""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

Mutator = Callable[[random.Random, bytes, list[bytes]], bytes]
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # so that the same inputs make the same archive


class Branches:
    """Of the core, compiled with PYSTACK_BUILD=fuzz."""

    def __init__(self, directory: Path) -> None:
        """Make and load what the core's modules call; they must not have been loaded yet."""
        library = directory / "coverage.so"
        source = Path(__file__).with_name("coverage.c")
        command = ["cc", "-O2", "-shared", "-fPIC", str(source), "-o", str(library)]
        subprocess.run(command, check=True, env={k: v for k, v in os.environ.items()
                                                 if k != "LD_PRELOAD"})  # fmt: skip
        self.library = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)

    def run(self, target: Callable[[bytes], object], data: bytes) -> int:
        """How much was new."""
        self.library.coverage_begin()
        target(data)
        return int(self.library.coverage_news())

    def forget(self) -> None:
        self.library.coverage_forget()

    @property
    def total(self) -> int:
        return int(self.library.coverage_total())


class Lines:
    """Pairs of lines of Python files, by their beginning."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.seen: set[tuple[str, int, int]] = set()
        self.taken: set[tuple[str, int, int]] = set()

    def enter(self, frame: FrameType, event: str, argument: object) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(self.prefix):
            return None
        before = 0

        def line(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal before
            if event == "line":
                self.taken.add((name, before, frame.f_lineno))
                before = frame.f_lineno
            return line

        return line

    def run(self, target: Callable[[bytes], object], data: bytes) -> int:
        self.taken.clear()
        sys.settrace(self.enter)
        try:
            target(data)
        finally:
            sys.settrace(None)
        news = self.taken - self.seen
        self.seen |= news
        return len(news)

    def forget(self) -> None:
        self.seen.clear()

    @property
    def total(self) -> int:
        return len(self.seen)


Meter = Branches | Lines


@dataclass
class Entry:
    data: bytes
    news: int
    tries: int = 0


class Campaign:
    """Inputs that were worth keeping, and the search for more."""

    def __init__(
        self, target: Callable[[bytes], object], meter: Meter, mutate: Mutator,
        before: Callable[[bytes], object], seed: int,
    ) -> None:  # fmt: skip
        """before: is told each input before it is tried."""
        self.target, self.meter, self.mutate, self.before = target, meter, mutate, before
        self.rng = random.Random(seed)
        self.entries: list[Entry] = []
        self.pool: list[bytes] = []
        self.runs = 0

    def attempt(self, data: bytes) -> bool:
        self.before(data)
        self.runs += 1
        news = self.meter.run(self.target, data)
        if news:
            self.entries.append(Entry(data, news))
            self.pool.append(data)
        return news > 0

    def choose(self) -> Entry:
        """Rather what is new, short, and has not been tried often."""
        few = self.rng.sample(self.entries, min(4, len(self.entries)))
        few.append(self.entries[-1 - min(len(self.entries) - 1, int(self.rng.expovariate(0.05)))])
        return min(few, key=lambda entry: (entry.tries + 1) * (len(entry.data) + 200))

    def run(self, corpus: Iterable[bytes], seconds: float, say: Callable[[str], object]) -> None:
        end = time.monotonic() + seconds
        for data in corpus:
            self.attempt(data)
        if not self.entries:
            self.attempt(b"")
        say(self.summary())
        next_word = time.monotonic() + 60
        while (now := time.monotonic()) < end:
            entry = self.choose()
            entry.tries += 1
            self.attempt(self.mutate(self.rng, entry.data, self.pool))
            if now > next_word:
                say(self.summary())
                next_word = now + 60

    def summary(self) -> str:
        return f"{self.runs} inputs, {len(self.entries)} kept, {self.meter.total} branches"

    def smallest(self, most: int) -> list[bytes]:
        """Of what was kept: enough for all branches, short ones first, `most` bytes in all."""
        self.meter.forget()
        chosen: list[bytes] = []
        for entry in sorted(self.entries, key=lambda entry: (len(entry.data), entry.data)):
            if sum(map(len, chosen)) + len(entry.data) > most:
                break
            self.before(entry.data)
            if self.meter.run(self.target, entry.data):
                chosen.append(entry.data)
        return chosen


def read_corpus(path: Path) -> list[bytes]:
    if not path.exists():
        return []
    with zipfile.ZipFile(path) as archive:
        return [archive.read(name) for name in sorted(archive.namelist())]


def write_corpus(path: Path, inputs: list[bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number, data in enumerate(inputs):
            archive.writestr(zipfile.ZipInfo(f"{number:05}", LONG_AGO), data,
                             zipfile.ZIP_DEFLATED)  # fmt: skip
