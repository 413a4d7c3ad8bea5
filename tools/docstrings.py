"""For the documentation site: docstrings, which are plain text, as the Markdown of its pages.

Lines such as `mtu: of a stack without a device` become a list, names of parameters and exceptions
first. An attribute without a docstring has the comment on its line. Of compiled modules, signatures
of classes and docstrings of attributes come from the stubs: Cython's say less.
Called by: mkdocstrings, from mkdocs.yml.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from griffe import Attribute, Class, Docstring, Extension, Module, Object, visit

ITEM = re.compile(r"(\w+): (?=\S)")
EXCEPTION = re.compile(r"[A-Z]\w*(Error|Exception|Deadlock|TimeLimit)$")
COMMENT = re.compile(r"  # (?!noqa|type:)(.+)$")
NOTHING = re.compile(r"Initialize self\.|[\w.]+: '?[\w.]+'?$")  # what Python and Cython say


class Docstrings(Extension):
    def on_class(self, *, cls: Class, **_: Any) -> None:
        stub = stub_of(cls)
        for name in ("__init__",) if stub else ():
            if name in stub.members and name in cls.members:
                cls.members[name].parameters = stub.members[name].parameters

    def on_attribute(self, *, attr: Attribute, **_: Any) -> None:
        stub = stub_of(attr.parent) if isinstance(attr.parent, Class) else None
        if stub and attr.name in stub.members and not has_docstring(attr):
            attr.docstring = stub.members[attr.name].docstring
        elif not has_docstring(attr) and (comment := COMMENT.search(attr.source)):
            attr.docstring = Docstring(comment[1], parent=attr)

    def on_object(self, *, obj: Object, **_: Any) -> None:
        obj.labels.discard("method descriptor")
        if not has_docstring(obj):
            obj.docstring = None
        else:
            obj.docstring.value = markdown(obj.docstring.value, obj.name, parameters(obj))


def has_docstring(obj: Object) -> bool:
    return obj.docstring is not None and not NOTHING.match(obj.docstring.value)


def stub_of(cls: Class) -> Class | None:
    """What the stub of a compiled module says of a class."""
    path = cls.filepath
    if isinstance(path, Path) and path.suffix in (".so", ".pyd", ".pyi"):
        return stubs(path.with_name(path.name.split(".")[0] + ".pyi")).members.get(cls.name)
    return None


@cache
def stubs(path: Path) -> Module:
    return visit(path.stem, filepath=path, code=path.read_text() if path.exists() else "")


def parameters(obj: Object) -> set[str]:
    """Names of what a function, or a class, is called with."""
    function = obj.members.get("__init__") if obj.is_class else obj
    names = {one.name for one in getattr(function, "parameters", ())}
    return names | (set(obj.members) if obj.is_class else set())


def markdown(text: str, name: str, known: set[str]) -> str:
    first, _, rest = text.partition("\n")
    if re.match(rf"([\w.]+\.)?{re.escape(name)}\(.*\)( -> .*)?$", first):  # Cython's signature
        text = rest.lstrip("\n")
    return "\n\n".join(items(paragraph, known) for paragraph in re.split(r"\n\s*\n", text))


def items(paragraph: str, known: set[str]) -> str:
    """A paragraph; its lines from the first that names something on are a list."""
    lines: list[str] = []
    listed = False
    for line in paragraph.splitlines():
        item = ITEM.match(line)
        if item and (item[1] in known or EXCEPTION.match(item[1])):
            if lines and not listed:
                lines.append("")
            listed = True
            lines.append(f"- `{item[1]}`: {line[item.end() :]}")
        else:
            lines.append(f"  {line.strip()}" if listed else line)
    return "\n".join(lines)
