"""For the documentation site: docstrings, which are plain text, as the Markdown of its pages.

Lines such as `mtu: of a stack without a device` become a list, names of parameters and exceptions
first. The signature with which Cython begins docstrings is left out; the page has a better one.
Called by: mkdocstrings, from mkdocs.yml.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

ITEM = re.compile(r"(\w+): (?=\S)")
EXCEPTION = re.compile(r"[A-Z]\w*(Error|Exception|Deadlock|TimeLimit)$")


class Docstrings(Extension):
    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value, obj.name, parameters(obj))


def parameters(obj: Object) -> set[str]:
    """Names of what a function, or a class, is called with."""
    function = obj.members.get("__init__") if obj.is_class else obj
    names = {one.name for one in getattr(function, "parameters", ())}
    return names | (set(obj.members) if obj.is_class else set())


def markdown(text: str, name: str, known: set[str]) -> str:
    first, _, rest = text.partition("\n")
    if re.match(rf"([\w.]+\.)?{re.escape(name)}\(.*\)( -> .*)?$", first):
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
            lines.append(f"- `{item[1]}`: {line[item.end():]}")
        else:
            lines.append(f"  {line.strip()}" if listed else line)
    return "\n".join(lines)
