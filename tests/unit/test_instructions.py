"""What tools/instructions counts is whole, and what it makes of the counts."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest
from native.instructions import PATHS, take

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool():
    loader = SourceFileLoader("instructions", str(ROOT / "tools" / "instructions"))
    spec = spec_from_loader(loader.name, loader)
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", PATHS)
def test_a_path_brings_everything_to_where_it_should_be(path):
    take(path, 40)


def test_only_a_growth_of_more_than_5_percent_fails_a_check(tool):
    before = {"a": 1000, "b": 1000, "gone": 1000}
    assert tool.grown(before, {"a": 1049, "b": 1051, "new": 1}) == ["b", "new"]


@pytest.mark.parametrize("path", ["tcp-holes", "tcp-block"])
def test_what_an_ack_costs_in_recovery_does_not_grow_with_what_is_outstanding(tool, path):
    """CI counts again what is kept: 60 times as much outstanding, at most a fifth more."""
    kept = tool.kept()
    assert kept[f"{path}-many"] <= 1.2 * kept[path]


def test_the_second_of_two_parts_is_counted(tool, tmp_path):
    for part, total in enumerate((70, 1000, 60, 500), 1):
        (tmp_path / f"part.{part}").write_text(f"events: Ir\nfn=x\n1 {total}\ntotals: {total}\n")
    assert tool.counts(tmp_path, ["a-b", "c-d"], 10) == {"a-b": 100, "c-d": 50}
    (tmp_path / "part.4").write_text("events: Ir\ntotals: 0\n")
    with pytest.raises(tool.Failed, match="counted nothing on the path c-d"):
        tool.counts(tmp_path, ["a-b", "c-d"], 10)


def test_the_table_has_each_path_and_is_read_as_it_is_written(tool, tmp_path, monkeypatch):
    assert set(tool.kept()) == set(PATHS)
    monkeypatch.setattr(tool, "TABLE", tmp_path / "table")
    counts = {path: 1000 * number + 1 for number, path in enumerate(PATHS)}
    (tmp_path / "table").write_text(tool.table(counts))
    assert tool.kept() == counts
