"""Text to tokens, one at a time, since what a character means depends on where the parser is.

Called by: parser.
RFCs: none.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from pystack.script.errors import ScriptError


class Kind(Enum):
    """What a token is."""

    INT = "a number"
    FLOAT = "a number with a fraction"
    STRING = "a string"
    BACKQUOTED = "a command"
    CODE = "a code block"
    OPTION = "an option"
    WORD = "a word"
    ELLIPSIS = "..."
    MARK = "a character"
    END = "the end of the script"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text, from `start` up to `end`."""

    kind: Kind
    text: str  # of strings, commands and code: what is between the marks
    start: int
    end: int

    @property
    def number(self) -> int:
        """Of an INT: decimal, or hexadecimal after 0x."""
        return int(self.text, 16) if self.text[:2] in ("0x", "0X") else int(self.text)

    def __str__(self) -> str:
        if self.kind in (Kind.INT, Kind.FLOAT, Kind.WORD, Kind.MARK):
            return repr(self.text)
        return str(self.kind.value)


BLANK = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
# In the order in which they win when several match the same length.
NUMBERS_AND_WORDS = (
    (Kind.FLOAT, re.compile(r"-?[0-9]*\.[0-9]+")),
    (Kind.INT, re.compile(r"0[xX][0-9a-fA-F]+")),
    (Kind.INT, re.compile(r"-?[0-9]+")),
    (Kind.WORD, re.compile(r"[A-Za-z0-9_]+")),
)
OPTION = re.compile(r"--([A-Za-z0-9_]+)")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
BACKQUOTED = re.compile(r"`([^`]*)`")
CODE = re.compile(r"%\{(.*?)\}%", re.DOTALL)
ESCAPE = re.compile(r'\\(?:x([0-9a-fA-F]{1,2})|([\\"nrtvf]))')
ESCAPED = {"\\": "\\", '"': '"', "n": "\n", "r": "\r", "t": "\t", "v": "\v", "f": "\f"}
MOST_DIGITS = 40
# What C's strtol with base 0 takes: hexadecimal, octal, decimal.
C_INTEGER = re.compile(r"\s*([+-]?)(0[xX][0-9a-fA-F]+|[0-9]+)")


class Lexer:
    """The text of a script, and a place in it."""

    def __init__(
        self, text: str, path: str = "script", symbols: Mapping[str, str] | None = None
    ) -> None:
        """symbols: words that stand for something else, and what."""
        self.text = text
        self.path = path
        self.symbols = dict(symbols or {})
        self.at = 0
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self._peeked: Token | None = None

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of a place in the text, from 1."""
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    def error(
        self, problem: str, offset: int, kind: type[ScriptError] = ScriptError
    ) -> ScriptError:
        return kind(problem, *self.place(offset), self.path)

    # Tokens.

    def peek(self) -> Token:
        """The next token, which stays."""
        if self._peeked is None or self._peeked.start < self.at:
            self._peeked = self._scan(self.skip_blank())
        return self._peeked

    def take(self) -> Token:
        """The next token; the one after it is next."""
        token = self.peek()
        self.at = token.end
        self._peeked = None
        return token

    def go_back(self, offset: int) -> None:
        """To where a token began."""
        self.at = offset
        self._peeked = None

    def skip_blank(self) -> int:
        """Leave blanks and comments behind; return where we are then."""
        match = BLANK.match(self.text, self.at)
        at = match.end() if match else self.at
        if self.text.startswith("/*", at):
            raise self.error("this comment does not end", at)
        if at != self.at:
            self.at = at
        return at

    def raw(self, pattern: re.Pattern[str]) -> str | None:
        """Take what a pattern matches here, after blanks, as no tokens; None if it does not."""
        match = pattern.match(self.text, self.skip_blank())
        if match is None:
            return None
        self.at = match.end()
        self._peeked = None
        return match[0]

    def sees(self, pattern: re.Pattern[str]) -> bool:
        """Whether a pattern matches here, after blanks."""
        return pattern.match(self.text, self.skip_blank()) is not None

    def _scan(self, at: int) -> Token:
        text = self.text
        if at >= len(text):
            return Token(Kind.END, "", at, at)
        if text.startswith("...", at):
            return Token(Kind.ELLIPSIS, "...", at, at + 3)
        if text[at] == '"':
            return self._string(at)
        if text[at] == "`":
            return self._enclosed(Kind.BACKQUOTED, BACKQUOTED, at)
        if text.startswith("%{", at):
            return self._enclosed(Kind.CODE, CODE, at)
        option = OPTION.match(text, at)
        if option:
            return Token(Kind.OPTION, option[1], at, option.end())
        found = None
        for kind, pattern in NUMBERS_AND_WORDS:
            match = pattern.match(text, at)
            if match and (found is None or match.end() > found.end):
                found = Token(kind, match[0], at, match.end())
        if found is None:
            return Token(Kind.MARK, text[at], at, at + 1)
        if found.kind == Kind.INT and len(found.text) > MOST_DIGITS:
            raise self.error(f"a number of {len(found.text)} digits", at)
        if found.kind == Kind.WORD and found.text in self.symbols:
            return self._replaced(found)
        return found

    def _enclosed(self, kind: Kind, pattern: re.Pattern[str], at: int) -> Token:
        match = pattern.match(self.text, at)
        if match is None:
            raise self.error(f"{kind.value} does not end", at)
        return Token(kind, match[1].strip(), at, match.end())

    def _string(self, at: int) -> Token:
        match = STRING.match(self.text, at)
        if match is None:
            raise self.error("this string does not end", at)
        return Token(Kind.STRING, self.unescape(match[1], at + 1), at, match.end())

    def unescape(self, text: str, offset: int) -> str:
        """The characters that a string's text means; offset: where the text begins."""
        pieces = []
        at = 0
        while (backslash := text.find("\\", at)) >= 0:
            match = ESCAPE.match(text, backslash)
            if match is None:
                raise self.error("no such escape sequence", offset + backslash)
            pieces.append(text[at:backslash])
            pieces.append(chr(int(match[1], 16)) if match[1] else ESCAPED[match[2]])
            at = match.end()
        return "".join([*pieces, text[at:]])

    def _replaced(self, word: Token) -> Token:
        """What a symbol stands for, in its place."""
        value = self.symbols[word.text]
        if len(value) >= 2 and value[0] == value[-1] == '"':
            text = self.unescape(value[1:-1], word.start)
            return Token(Kind.STRING, text, word.start, word.end)
        if len(value) >= 2 and value[0] == value[-1] == "`":
            return Token(Kind.BACKQUOTED, value[1:-1].strip(), word.start, word.end)
        number = C_INTEGER.fullmatch(value)
        if number and len(value) <= MOST_DIGITS:
            return Token(Kind.INT, str(c_integer(*number.groups())), word.start, word.end)
        return Token(Kind.WORD, value, word.start, word.end)


def c_integer(sign: str, digits: str) -> int:
    """As strtol with base 0; an 8 or 9 in an octal number makes it decimal."""
    if digits[:2] in ("0x", "0X"):
        value = int(digits, 16)
    elif digits[0] == "0" and digits.strip("01234567") == "":
        value = int(digits, 8)
    else:
        value = int(digits)
    return -value if sign == "-" else value
