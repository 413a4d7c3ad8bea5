"""Scripts to nodes, by recursive descent; every mistake is a ScriptError with its place.

Called by: the runner, tests.
RFCs: none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from decimal import Decimal

from pystack.script.lexer import Kind, Lexer, Token
from pystack.script.nodes import (
    Anything,
    Assign,
    Call,
    Code,
    Command,
    Either,
    Event,
    Expression,
    Function,
    Integer,
    List,
    Option,
    Script,
    String,
    Struct,
    When,
    Word,
)
from pystack.script.parse_packet import parse_packet
from pystack.script.tokens import Tokens

DIALECTS = ("google", "nplab")
LONGEST_TIME = 10**9  # seconds
DEEPEST = 50  # brackets within brackets
OPTION_VALUE = re.compile(r'[^\s"`]+')
SYMBOL = re.compile(r"[A-Za-z0-9_]+\s*=")
PARENTHESES = re.compile(r"[()]")
IF_LINE = re.compile(r"^[ \t]*#(ifdef|endif)\b[ \t]*([A-Za-z0-9_]*)[^\n]*$", re.MULTILINE)


def parse(
    text: str,
    path: str = "script",
    dialect: str = "google",
    defines: Mapping[str, str] | None = None,
) -> Script:
    """Understand a script; ScriptError if it is none.

    defines: symbols of the command line, which come before those of the script.
    """
    if dialect == "nplab":
        text = conditional(text, path, defines or {})
    return ScriptParser(text, path, dialect, dict(defines or {})).script()


def conditional(text: str, path: str, defined: Collection[str]) -> str:
    """nplab's #ifdef: what is not defined becomes blank, so that places stay."""
    pieces = []
    at = 0
    open_at: re.Match[str] | None = None
    lexer = Lexer(text, path)
    for match in IF_LINE.finditer(text):
        if (match[1] == "ifdef") == (open_at is not None):
            raise lexer.error(f"#{match[1]} within or without #ifdef", match.start())
        if open_at is None and not match[2]:
            raise lexer.error("#ifdef needs a name", match.start())
        body = text[at : match.start()]
        pieces.append(body if open_at is None or open_at[2] in defined else blank(body))
        pieces.append(blank(match[0]))
        at = match.end()
        open_at = match if match[1] == "ifdef" else None
    if open_at is not None:
        raise lexer.error("this #ifdef has no #endif", open_at.start())
    return "".join([*pieces, text[at:]])


def blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def nanoseconds(tokens: Tokens) -> int:
    """Take a time in seconds."""
    token = tokens.peek()
    if token.kind not in (Kind.INT, Kind.FLOAT) or token.text[:2] in ("0x", "0X"):
        raise tokens.error(f"{token} instead of a time in seconds")
    value = Decimal(token.text)
    if not 0 <= value <= LONGEST_TIME:
        raise tokens.error(f"{token.text} s is no time, 0 to {LONGEST_TIME} s are")
    tokens.take()
    return int(value * 10**9)


class ScriptParser:
    """One script's text."""

    def __init__(self, text: str, path: str, dialect: str, symbols: dict[str, str]) -> None:
        self.lexer = Lexer(text, path, symbols)
        self.tokens = Tokens(self.lexer)
        self.path = path
        self.dialect = dialect
        self.given = frozenset(symbols)  # on the command line
        self.depth = 0

    def script(self) -> Script:
        tokens = self.tokens
        options = []
        while tokens.peek().kind == Kind.OPTION:
            options.append(self.option())
        init = self.command() if tokens.peek().kind == Kind.BACKQUOTED else None
        events: list[Event] = []
        while tokens.peek().kind not in (Kind.END, Kind.BACKQUOTED):
            events.append(self.event(events[-1] if events else None))
        if not events:
            raise tokens.error(f"{tokens.peek()} instead of an event")
        cleanup = self.command() if tokens.peek().kind == Kind.BACKQUOTED else None
        if tokens.peek().kind != Kind.END:
            raise tokens.error(f"{tokens.peek()} after the cleanup command")
        return Script(
            self.path, tuple(options), init, tuple(events), cleanup, self.dialect,
            dict(self.lexer.symbols),
        )  # fmt: skip

    def option(self) -> Option:
        token = self.tokens.take()
        line, column = self.lexer.place(token.start)
        value = None
        if self.tokens.accept("="):
            value = self.symbol() if token.text == "define" else self.option_value()
        return Option(token.text, value, line, column)

    def option_value(self) -> str:
        token = self.tokens.peek()
        if token.kind in (Kind.STRING, Kind.BACKQUOTED):
            return self.tokens.take().text
        text = self.lexer.raw(OPTION_VALUE)
        if text is None:
            raise self.tokens.error(f"{token} instead of the option's value")
        return text

    def symbol(self) -> str:
        """`NAME=value` of --define; the command line's value stays."""
        at = self.tokens.peek()
        text = self.lexer.raw(SYMBOL)
        if text is None:
            raise self.tokens.error(f"{at} instead of NAME=value", at)
        name = text[:-1].strip()
        token = self.tokens.peek()
        if token.kind in (Kind.STRING, Kind.BACKQUOTED):
            self.tokens.take()
            value = self.lexer.text[token.start : token.end]
        else:
            value = self.option_value()
        if name not in self.given:
            self.lexer.symbols[name] = value
        return f"{name}={value}"

    def command(self) -> Command:
        return Command(self.tokens.take().text)

    # Events.

    def event(self, previous: Event | None) -> Event:
        start = self.tokens.peek()
        when = self.when()
        action: Call | Command | Code
        token = self.tokens.peek()
        if token.text in ("<", ">") and token.kind == Kind.MARK:
            packet = parse_packet(self.tokens, self.dialect)
            self.check_when(when, start, packet.inbound)
            return self.made(when, packet, start, previous)
        if token.kind == Kind.BACKQUOTED:
            action = self.command()
        elif token.kind == Kind.CODE:
            action = Code(self.tokens.take().text)
        elif token.kind in (Kind.WORD, Kind.ELLIPSIS):
            action = self.call(when.relative)
        else:
            raise self.tokens.error(f"{token} instead of a packet, a call, a command or code")
        self.check_when(when, start, True)
        return self.made(when, action, start, previous)

    def made(self, when: When, action: object, start: Token, previous: Event | None) -> Event:
        line, column = self.lexer.place(start.start)
        if (
            previous is not None
            and not (when.relative or when.anytime)
            and not (previous.when.relative or previous.when.anytime)
            and when.at < previous.when.at
        ):
            raise self.tokens.error("this time is before that of the event before", start)
        if previous is None and (when.at or when.anytime or when.until):
            raise self.tokens.error("the first event must be at time 0", start)
        text = " ".join(self.lexer.text[start.start : self.lexer.at].split())
        return Event(when, action, line, column, text)  # type: ignore[arg-type]

    def check_when(self, when: When, start: Token, waits: bool) -> None:
        if waits and (when.anytime or when.until is not None):
            raise self.tokens.error(
                "only packets that are expected (>) may have such a time", start
            )

    def when(self) -> When:
        """`t`, `+t`, `*`, `t~t`, `+t~+t`."""
        tokens = self.tokens
        if tokens.accept("*"):
            return When(anytime=True)
        relative = tokens.accept("+")
        at = nanoseconds(tokens)
        if not tokens.accept("~"):
            return When(at, None, relative)
        if relative:
            tokens.expect("+")
        start = tokens.peek()
        until = nanoseconds(tokens)
        if until < at:
            raise tokens.error("this window ends before it begins", start)
        return When(at, until, relative)

    # Calls.

    def call(self, relative: bool) -> Call:
        tokens = self.tokens
        returns_at = None
        if tokens.accept("..."):
            tokens.accept("+")
            returns_at = nanoseconds(tokens)
        name = tokens.word("a system call").text
        arguments = self.arguments()
        tokens.expect("=")
        result = self.expression()
        errno = self.tokens.take().text if tokens.peek_word() is not None else None
        while tokens.sees("("):
            self.skip_parentheses()
        return Call(name, arguments, result, errno, returns_at, relative)

    def arguments(self) -> tuple[Expression, ...]:
        """`(a, b)`."""
        self.tokens.expect("(")
        return self.items(")")

    def items(self, closing: str) -> tuple[Expression, ...]:
        """What is between brackets, up to and with the closing one."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.tokens.error(f"brackets within brackets, more than {DEEPEST} deep")
        found: list[Expression] = []
        if not self.tokens.accept(closing):
            found.append(self.item())
            while self.tokens.accept(","):
                if self.tokens.sees(closing):
                    break
                found.append(self.item())
            self.tokens.expect(closing)
        self.depth -= 1
        return tuple(found)

    def item(self) -> Expression:
        """An expression, or `name=expression`."""
        start = self.tokens.peek()
        value = self.expression()
        if not self.tokens.sees("="):
            return value
        if isinstance(value, Word):
            name, arguments = value.name, None
        elif isinstance(value, Function):
            name, arguments = value.name, value.arguments
        else:
            raise self.tokens.error("this has no name that could be given a value", start)
        self.tokens.take()
        return Assign(name, arguments, self.expression())

    def expression(self) -> Expression:
        first = self.term()
        if not self.tokens.sees("|"):
            return first
        parts = [first]
        while self.tokens.accept("|"):
            parts.append(self.term())
        return Either(tuple(parts))

    def term(self) -> Expression:
        tokens = self.tokens
        token = tokens.peek()
        if token.kind == Kind.ELLIPSIS:
            tokens.take()
            return Anything()
        if token.kind == Kind.INT:
            tokens.take()
            return Integer(token.number)
        if token.kind == Kind.STRING:
            return self.string()
        if token.kind == Kind.WORD:
            tokens.take()
            if tokens.sees("("):
                return Function(token.text, self.arguments())
            return Word(token.text)
        if tokens.accept("["):
            return List(self.items("]"))
        if tokens.accept("{"):
            return Struct(self.items("}"))
        raise tokens.error(f"{token} instead of a value")

    def string(self) -> String:
        text = ""
        while self.tokens.peek().kind == Kind.STRING:  # adjacent ones join
            text += self.tokens.take().text
        return String(text, self.tokens.accept("..."))

    def skip_parentheses(self) -> None:
        """A comment in parentheses: any text, in which parentheses are paired."""
        start = self.tokens.peek()
        depth, at = 0, start.start
        while True:
            match = PARENTHESES.search(self.lexer.text, at)
            if match is None:
                raise self.tokens.error("this parenthesis is not closed", start)
            depth += 1 if match[0] == "(" else -1
            at = match.end()
            if depth == 0:
                self.lexer.go_back(at)
                return
