"""What can end a script other than passing.

Called by: the rest of script/; the command line.
RFCs: none.
"""

from __future__ import annotations


class ScriptError(ValueError):
    """The text is no script; line and column, from 1, say where."""

    def __init__(self, problem: str, line: int, column: int, path: str = "script") -> None:
        super().__init__(f"{path}:{line}:{column}: {problem}")
        self.problem = problem
        self.line = line
        self.column = column
        self.path = path

    def __reduce__(self) -> tuple[type[ScriptError], tuple[str, int, int, str]]:
        return type(self), (self.problem, self.line, self.column, self.path)


class UnsupportedSyntax(ScriptError):
    """A script that is well written, with what this runner does not know."""


class Unsupported(Exception):
    """What the script asks of its stack cannot be honoured; the text says what."""


class Mismatch(Exception):
    """An event did not go as it is written.

    expected and seen, if given, are two texts to be shown side by side.
    """

    def __init__(self, problem: str, expected: str = "", seen: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.expected = expected
        self.seen = seen
