"""What every part of the parser asks of the tokens that come.

Called by: parser and its parts.
RFCs: none.
"""

from __future__ import annotations

from pystack.script.errors import ScriptError
from pystack.script.lexer import Kind, Lexer, Token


class Tokens:
    """The tokens of a text, with the questions that a recursive descent has."""

    def __init__(self, lexer: Lexer) -> None:
        self.lexer = lexer
        self.peek = lexer.peek
        self.take = lexer.take

    def error(
        self, problem: str, token: Token | None = None, kind: type[ScriptError] = ScriptError
    ) -> ScriptError:
        """To be raised; token: the one to blame, by default the next."""
        return self.lexer.error(problem, (token or self.peek()).start, kind)

    def sees(self, text: str) -> bool:
        """Whether a word or mark comes next."""
        token = self.peek()
        return token.text == text and token.kind in (Kind.MARK, Kind.WORD, Kind.ELLIPSIS)

    def accept(self, text: str) -> bool:
        """Take a word or mark if it comes next."""
        if not self.sees(text):
            return False
        self.take()
        return True

    def expect(self, text: str) -> Token:
        """Take a word or mark, which must come."""
        if not self.sees(text):
            raise self.error(f"{self.peek()} instead of {text!r}")
        return self.take()

    def expect_any(self, what: str) -> Token:
        """Take whatever comes, but the end."""
        if self.peek().kind == Kind.END:
            raise self.error(f"{self.peek()} instead of {what}")
        return self.take()

    def peek_word(self) -> str | None:
        """The next token's text if it is a word."""
        token = self.peek()
        return token.text if token.kind == Kind.WORD else None

    def word(self, what: str) -> Token:
        """Take a word."""
        if self.peek().kind != Kind.WORD:
            raise self.error(f"{self.peek()} instead of {what}")
        return self.take()

    def integer(self, what: str, least: int | None = None, most: int | None = None) -> int:
        """Take a whole number within bounds."""
        token = self.peek()
        if token.kind != Kind.INT:
            raise self.error(f"{token} instead of {what}, a whole number")
        value = token.number
        if (least is not None and value < least) or (most is not None and value > most):
            raise self.error(f"{what} {value} is not within {least} and {most}")
        self.take()
        return value
