"""The house of docs/architecture.md: a room imports only from itself and the rooms above it."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# From the top of the house down; each room with the files that are in it, below pystack/.
ROOMS = {
    "core/wire": ["core/wire/**"],
    "core/memory": ["core/memory/**"],
    "core": ["core/*"],
    "core/ip": ["core/ip/**"],
    "core/udp": ["core/udp/**"],
    "core/tcp": ["core/tcp/**"],
    "core/service": ["core/service.*", "core/service/**"],
    "core/stack": ["core/stack.*", "core/stack/**"],
    "device": ["device/**"],
    "engine": ["engine/**"],
    "link": ["link/**"],
    "application": ["*"],
    "aio": ["aio/**"],
    "trio": ["trio/**"],
    "services": ["services/**"],
    "script": ["script/**"],
    "testing": ["testing/**", "pytest_plugin.*"],
    "cli": ["cli/**", "__main__.*"],
}
ORDER = list(ROOMS)
SUFFIXES = {".py", ".pyx", ".pxd", ".pyi"}
# What pystack/core may take from outside itself; a stub may import anything, it never runs.
CORE_MAY_IMPORT = ("cython", "libc")

TRIPLE_QUOTED = re.compile(r'("""|\'\'\').*?\1', re.DOTALL)
IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<package>[.\w]+)[ \t]+c?import[ \t]*(?P<names>\([^)]*\)|[^\n#]+)"
    r"|c?import[ \t]+(?P<modules>[\w., \t]+))",
    re.MULTILINE,
)


def room_of(file: str) -> str:
    """The room of a file, given by its path below pystack/: the longest pattern that fits."""
    fitting = [
        (len(pattern), room)
        for room, patterns in ROOMS.items()
        for pattern in patterns
        if fnmatch(file, pattern) and (pattern.endswith("**") or same_depth(file, pattern))
    ]
    assert fitting, f"pystack/{file} is in no room of the house"
    return max(fitting)[1]


def same_depth(file: str, pattern: str) -> bool:
    return file.count("/") == pattern.count("/")


def imports(text: str) -> list[tuple[int, str, list[str]]]:
    """(line, text of the statement, the dotted names that it may mean) of each import."""
    text = TRIPLE_QUOTED.sub(lambda match: "\n" * match[0].count("\n"), text)
    found = []
    for match in IMPORT.finditer(text):
        if match["modules"]:
            names = [part.split()[0] for part in match["modules"].split(",") if part.strip()]
        else:
            parts = re.sub(r"#[^\n]*|[()\\]", " ", match["names"]).split(",")
            imported = [part.split()[0] for part in parts if part.strip()]
            separator = "" if match["package"].endswith(".") else "."
            names = [f"{match['package']}{separator}{name}" for name in imported]
        line = text.count("\n", 0, match.start()) + 1
        found.append((line, " ".join(match[0].split()), names))
    return found


def absolute(name: str, package: str) -> str:
    """Resolve leading dots against the package of the importing file."""
    relative = name.lstrip(".")
    levels = len(name) - len(relative)
    if not levels:
        return name
    base = package.split(".")
    return ".".join([*base[: len(base) - levels + 1], relative])


def target_file(name: str, root: Path) -> str:
    """The file below pystack/ that a dotted name lives in: a module, or a package's __init__."""
    parts = name.split(".")[1:]
    while parts:
        path = root / "pystack" / Path(*parts)
        if any(path.with_suffix(suffix).exists() for suffix in SUFFIXES):
            return "/".join(parts) + ".py"
        if path.is_dir():
            return "/".join(parts) + "/__init__.py"
        parts.pop()
    return "__init__.py"


def faults(root: Path) -> list[str]:
    """Every import below root/pystack that points the wrong way."""
    found = []
    for path in sorted((root / "pystack").rglob("*")):
        if path.suffix not in SUFFIXES:
            continue
        file = path.relative_to(root / "pystack").as_posix()
        package = ".".join(path.relative_to(root).parent.parts)
        room = room_of(file)
        for line, text, names in imports(path.read_text()):
            for name in (absolute(name, package) for name in names):
                where = f"pystack/{file}:{line}: {text}"
                if name.split(".")[0] == "pystack":
                    target = room_of(target_file(name, root))
                    if ORDER.index(target) > ORDER.index(room):
                        found.append(f"{where}  [{room} must not import {target}]")
                elif (
                    file.startswith("core/")
                    and path.suffix != ".pyi"
                    and name.split(".")[0] not in CORE_MAY_IMPORT
                ):
                    found.append(f"{where}  [core must import nothing but core and libc]")
    return list(dict.fromkeys(found))


def test_every_import_points_to_the_same_room_or_one_above():
    found = faults(ROOT)
    assert not found, "\n" + "\n".join(found)


HOUSE = {
    "__init__.py": "",
    "core/counters.pxd": "",
    "core/stack.pyx": "from pystack.core.tcp cimport tcb\n",
    "core/tcp/__init__.py": "",
    "core/tcp/tcb.pxd": "from libc.stdint cimport uint32_t\n",
    "core/wire/tcp.pxd": "cimport cython\n",
    "device/tun.pyx": "import os\nfrom pystack.core.stack import Stack\n",
    "socket.py": "from .device import tun\n",
}


def test_a_house_in_order_has_no_faults(tmp_path):
    assert faults_of(tmp_path, {}) == []


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("core/wire/tcp.pyx", "\nfrom pystack.core.tcp.tcb cimport Tcb", "core/wire/tcp.pyx:2"),
        ("core/wire/ip.pyx", "from ..tcp cimport tcb", "core/wire must not import core/tcp"),
        ("core/wire/ip.pyx", "from pystack.core cimport counters", "must not import core]"),
        ("core/wire/ip.pyx", "from pystack.core cimport (  # why\n  tcp,\n)", "core/tcp"),
        ("core/tcp/tcb.pyx", "cimport pystack.core.stack as s", "core/tcp must not import core/"),
        ("core/tcp/rtt.pyx", "def f():\n    import time", "core must import nothing but core"),
        ("core/counters.pyx", "from cpython.mem cimport PyMem_Malloc", "nothing but core"),
        ("core/stack.pyx", "import cython, struct", "core must import nothing but core"),
        ("device/pipe.py", "from pystack import Stack", "device must not import application"),
        ("device/pipe.py", "from pystack.socket import Socket", "must not import application"),
        ("socket.py", "import pystack.cli.main", "application must not import cli"),
        ("services/echo.pyi", "from pystack.testing import net", "services must not import test"),
    ],
)
def test_an_import_that_points_down_is_shown_with_its_line(tmp_path, file, text, fault):
    (tmp_path / "pystack" / "cli").mkdir(parents=True)
    (tmp_path / "pystack" / "testing").mkdir()
    found = faults_of(tmp_path, {file: text})
    assert len(found) == 1
    assert fault in found[0]


def test_a_directory_without_a_room_is_a_fault(tmp_path):
    with pytest.raises(AssertionError, match=r"pystack/attic/old\.py is in no room"):
        faults_of(tmp_path, {"attic/old.py": ""})


def test_an_import_in_a_docstring_is_no_import(tmp_path):
    assert faults_of(tmp_path, {"core/wire/ip.pyx": '"""\nimport pystack\n"""\n'}) == []


def faults_of(root: Path, changes: dict[str, str]) -> list[str]:
    """The faults of the small house above with some files changed or added."""
    for file, text in {**HOUSE, **changes}.items():
        path = root / "pystack" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return faults(root)
