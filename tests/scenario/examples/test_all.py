"""Examples are short, and each has its page."""

from __future__ import annotations

import re

import pytest
from scenario.examples.conftest import EXAMPLES

LONGEST = 79  # lines
FILES = sorted(EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_an_example_is_short_and_has_a_page_and_a_test(path):
    text = path.read_text()
    assert text.count("\n") <= LONGEST
    (page,) = re.findall(r"docs/how-to/[\w-]+\.md", text)
    assert f"examples/{path.name}" in (EXAMPLES.parent / page).read_text()
    tests = EXAMPLES.parent.glob("tests/*/examples/test_*.py")
    assert any(f'EXAMPLE = "{path.stem}"' in one.read_text() for one in tests)
