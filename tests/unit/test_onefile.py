"""The one file in which a release build has the compiled modules."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pystack.core.ip.input
import pystack.core.tcp.input
import pytest

PACKAGE = Path(pystack.__file__).parent
NOTE = PACKAGE.parent / "build" / f"inplace-{sys.implementation.cache_tag}"
if os.name != "posix" or (NOTE.exists() and NOTE.read_text() not in ("release", "profile")):
    pytest.skip("a build with a file for each module", allow_module_level=True)
compiled = importlib.import_module("pystack.compiled")


def test_every_module_is_in_it():
    ours = {path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.pyx")}
    if sys.platform != "linux":
        ours = {path for path in ours if not path.match("device/tun*")}
    assert sorted(compiled.names()) == sorted(".".join(path.with_suffix("").parts) for path in ours)


def test_modules_of_one_name_are_apart():
    ip, tcp = pystack.core.ip.input, pystack.core.tcp.input
    assert (ip.__name__, tcp.__name__) == ("pystack.core.ip.input", "pystack.core.tcp.input")
    assert ip.__spec__.origin == tcp.__file__ == compiled.__file__
    assert vars(ip)["__pyx_capi__"].keys() != vars(tcp)["__pyx_capi__"].keys()


def test_nothing_else_is_in_it():
    [finder] = [one for one in sys.meta_path if type(one).__module__ == "pystack.onefile"]
    assert finder.find_spec("pystack.core") is None
    assert finder.find_spec("json") is None
    with pytest.raises(ImportError, match=r"pystack has no compiled module 'pystack\.nothing'"):
        compiled.create(ModuleSpec("pystack.nothing", finder))
    with pytest.raises(AttributeError):
        compiled.create(None)
    for other in (None, ModuleType("other")):
        with pytest.raises(TypeError):
            compiled.execute(other)
