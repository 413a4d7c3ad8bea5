"""The documentation's pages: links lead somewhere, the site has all pages, its API all names."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
from pathlib import Path

import pytest

import pystack
import pystack.aio
import pystack.testing

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
NAMES = [
    f"{module.__name__}.{name}"
    for module in (pystack, pystack.aio, pystack.testing)
    for name in module.__all__
    if name != "__version__"
]


TRIO = ROOT / "pystack/trio"  # is read, not imported: trio may not be there


def names_of_trio() -> list[str]:
    """Its __all__."""
    for node in ast.parse((TRIO / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    raise LookupError("pystack.trio has no __all__")


def value_of(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr({"pystack": pystack}.get(module) or getattr(pystack, module[8:]), attribute)


def undocumented(of: type) -> list[str]:
    """Public methods and properties that nothing is said about, here or where they come from.

    What is called as a call of event loops does what that does.
    """
    return [
        name
        for name, member in vars(of).items()
        if not name.startswith("_")
        and not hasattr(asyncio.AbstractEventLoop, name)
        and (inspect.isroutine(member) or isinstance(member, property))
        and not inspect.getdoc(getattr(of, name))
    ]


def test_links_lead_to_files():
    lost = [
        f"{page.relative_to(ROOT)}: {to}"
        for page in PAGES
        for to in LINK.findall(page.read_text())
        if not (page.parent / to).exists()
    ]
    assert lost == []


def test_the_site_leads_to_every_page():
    """The indexes of rfc/ and decisions/ lead to what is in them."""
    listed = set(re.findall(r"- ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    indexed = {"rfc", "decisions"}
    found = {str(page.relative_to(DOCS)) for page in PAGES[1:] if page.parent.name not in indexed}
    assert found == {page for page in listed if page.split("/")[0] not in indexed}


@pytest.mark.parametrize("name", names_of_trio())
def test_a_public_name_of_trio_is_in_the_api_and_documented(name):
    page = (DOCS / "api/trio.md").read_text()
    place = f"{name}.{name}" if (TRIO / f"{name}.py").exists() else name
    assert len(re.findall(rf"^::: pystack\.trio\.{place}$", page, re.MULTILINE)) == 1
    found = [
        node
        for file in TRIO.glob("*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, (ast.AsyncFunctionDef, ast.ClassDef, ast.FunctionDef))
        and node.name == name
    ]
    assert found
    assert all(map(ast.get_docstring, found))


def test_the_page_on_trio_has_nothing_else():
    page = (DOCS / "api/trio.md").read_text()
    named = re.findall(r"^::: pystack\.trio\.(?:\w+\.)?(\w+)$", page, re.MULTILINE)
    assert sorted(named) == sorted(names_of_trio())


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_in_the_api_and_documented(name):
    pages = "\n".join(page.read_text() for page in sorted((DOCS / "api").glob("*.md")))
    value = value_of(name)
    if name in sys.modules:  # a module has its name
        name += "." + name.rpartition(".")[2]
    assert len(re.findall(rf"^::: {re.escape(name)}$", pages, re.MULTILINE)) == 1
    assert inspect.getdoc(value)
    if isinstance(value, type):
        assert undocumented(value) == []
