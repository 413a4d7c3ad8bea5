"""The language of packet scripts: tokens, places, nodes, and every mistake a ScriptError."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.script.errors import ScriptError, UnsupportedSyntax
from pystack.script.lexer import Kind, Lexer
from pystack.script.nodes import (
    Anything,
    Assign,
    Call,
    Code,
    Command,
    Either,
    Icmp,
    Integer,
    List,
    Packet,
    Quote,
    String,
    Struct,
    Tcp,
    Udp,
    When,
    Word,
)
from pystack.script.parser import parse

PIECES = [
    "0", "+0", "+.1", "*", "~", "...", "<", ">", "S", "S.", "P.5", ".", "-", "1:1001(1000)",
    "0:0(0)", "ack 1", "win 5", "urg 3", "<mss 1460,nop>", "<...>", "sack 1:2 3:4",
    "TS val 1 ecr 2", "(", ")", "[", "]", "{", "}", "=", ",", "|", "udp (5)", "icmp unreachable",
    "[ect0,ttl 5]", "`true`", "%{", "}%", "socket(..., SOCK_STREAM, 0) = 3", "read(3, ..., 5)",
    "= -1 EAGAIN (x)", '"a"', "--mtu=1500", "//", "/*", "*/", "\n", "\\", "0x", "1e9",
    "--define=A=3", "A", "#ifdef X", "#endif", "!", "\x00", "é",
]  # fmt: skip


def tokens(text: str, **symbols: str) -> list[tuple[Kind, str]]:
    lexer = Lexer(text, symbols=symbols)
    found = []
    while (token := lexer.take()).kind != Kind.END:
        found.append((token.kind, token.text))
    return found


def event(line: str, dialect: str = "google"):
    return parse(f"0 `true`\n{line}", dialect=dialect).events[1]


def packet(line: str, dialect: str = "google") -> Packet:
    action = event(line, dialect).action
    assert isinstance(action, Packet)
    return action


def tcp(line: str, dialect: str = "google") -> Tcp:
    body = packet(line, dialect).body
    assert isinstance(body, Tcp)
    return body


def call(text: str) -> Call:
    action = event(f"+0 {text}").action
    assert isinstance(action, Call)
    return action


# Tokens.


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("17", Kind.INT), ("-1", Kind.INT), ("0x1F", Kind.INT), (".25", Kind.FLOAT),
        ("-1.5", Kind.FLOAT), ("0.004", Kind.FLOAT), ("...", Kind.ELLIPSIS),
        ("SOCK_STREAM", Kind.WORD),
        ("100ms", Kind.WORD), ("1a", Kind.WORD), ("+", Kind.MARK), (":", Kind.MARK),
    ],
)  # fmt: skip
def test_the_longest_match_is_a_token(text, kind):
    assert tokens(text) == [(kind, text)]


def test_a_sequence_is_no_ipv6_address():
    kinds = [text for _, text in tokens("1:1001(1000)")]
    assert kinds == ["1", ":", "1001", "(", "1000", ")"]


def test_an_ellipsis_wins_over_fractions():
    assert [text for _, text in tokens("0...0.2")] == ["0", "...", "0.2"]
    assert [text for _, text in tokens("0....2")] == ["0", "...", ".2"]


def test_comments_and_blanks_mean_nothing():
    assert tokens("1 // 2\n /* 3 \n 4 */ 5") == [(Kind.INT, "1"), (Kind.INT, "5")]


def test_strings_know_escapes():
    assert tokens(r'"a\n\"\x41\\"') == [(Kind.STRING, 'a\n"A\\')]


def test_commands_and_code_span_lines_without_outer_blanks():
    assert tokens("` a\n b `") == [(Kind.BACKQUOTED, "a\n b")]
    assert tokens("%{ x = {}\n }%") == [(Kind.CODE, "x = {}")]


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ('"text"', (Kind.STRING, "text")), ("`run`", (Kind.BACKQUOTED, "run")),
        ("0x10", (Kind.INT, "16")), ("010", (Kind.INT, "8")), ("-5", (Kind.INT, "-5")),
        ("OTHER", (Kind.WORD, "OTHER")),
    ],
)  # fmt: skip
def test_a_symbol_stands_for_its_value(value, token):
    assert tokens("NAME NAMES", NAME=value) == [token, (Kind.WORD, "NAMES")]


# Events.


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("+.5", When(500_000_000)),
        ("1", When(1_000_000_000, relative=False)),
        ("*", When(anytime=True)),
        ("1~2.5", When(1_000_000_000, 2_500_000_000, relative=False)),
        ("+0~+.000000001", When(0, 1)),
    ],
)
def test_times(text, when):
    assert event(f"{text} > . 1:1(0) ack 1").when == when


def test_a_blocking_call_has_the_time_of_its_return():
    action = event("+.1...0.35 accept(3, ..., ...) = 4").action
    assert action.returns_at == 350_000_000


def test_options_init_and_cleanup_stand_around_the_events():
    script = parse('--mtu=1000 --define=X="a b"\n`before`\n0 %{ pass }%\n`after`')
    assert [(one.name, one.value) for one in script.options] == [
        ("mtu", "1000"),
        ("define", 'X="a b"'),
    ]
    assert script.init == Command("before")
    assert script.cleanup == Command("after")
    assert script.events[0].action == Code("pass")


def test_the_command_line_defines_before_the_script():
    script = parse("--define=N=3\n0 close(N) = 0", defines={"N": "7"})
    assert script.events[0].action.arguments == (Integer(7),)


# Packets.


def test_a_segment():
    assert tcp("+0 > P. 1:1001(1000) ack 5 win 7 urg 2 <nop,wscale 7>") == Tcp(
        flags=0x18,
        seq=1,
        payload=1000,
        ack=5,
        window=7,
        urgent=2,
        options=tcp("+0 > . 0:0(0) <nop,wscale 7>").options,
    )


@pytest.mark.parametrize(
    ("flags", "bits"),
    [
        ("S", 2), (".", 0x10), ("F.", 0x11), (".F", 0x11), ("R.", 0x14), ("FPU.", 0x39), ("-", 0),
        ("SEW", 0xC2), ("SEWA", 0x1C2), ("P.5", 0x18 | 0x40 | 0x100), (".2", 0x90), ("S0.", 0x12),
    ],
)  # fmt: skip
def test_flags(flags, bits):
    assert tcp(f"+0 > {flags} 0:0(0)").flags == bits


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("mss 1460,nop,wscale 8", "020405b4 01 030308"),
        ("sackOK,eol,nop", "0402 00 01"),
        ("nop,nop,sack 1:2 3:4", "01 01 0512 00000001 00000002 00000003 00000004"),
        ("TS val 5 ecr 6,nop,nop", "080a 00000005 00000006 01 01"),
        ("FO 1234abcd,nop,nop", "2206 1234abcd 01 01"),
        ("FO,nop,nop", "2202 01 01"),
        ("FOEXP 11223344", "fe08 f989 11223344"),
        ("FOEXP", "fe04 f989"),
        ("md5 0011223344556677,nop,nop", "130a 0011223344556677 0101"),
        ("ECN e1b 1 ceb 2 e0b 3,nop", "ae0b 000001 000002 000003 01"),
        ("ECN e0b 258,nop,nop,nop", "ac05 000102 01 01 01"),
    ],
)  # fmt: skip
def test_options_are_what_lies_on_the_wire(text, wire):
    options = tcp(f"+0 > . 0:0(0) <{text}>").options
    assert b"".join(one.wire for one in options) == bytes.fromhex(wire)


def test_options_may_be_left_open():
    assert tcp("+0 > . 0:0(0) <...>").options is None
    assert tcp("+0 > . 0:0(0)").options == ()


def test_ports_are_of_foreign_packets():
    assert tcp("+0 < 99 > 80 S 0:0(0) win 1").ports == (99, 80)
    assert packet("+0 < udp 7 > 8 (9)").body == Udp(9, (7, 8))


def test_ip_info():
    info = packet("+0 > [ect1,ttl 9,flowlabel 0x7] . 0:0(0)").ip
    assert (info.ecn, info.ttl, info.flow_label) == (1, 9, 7)
    assert packet("+0 > (tos 0x1c) . 0:0(0)").ip.tos == 0x1C
    assert packet("+0 > [ect01] . 0:0(0)").ip.either_ect


def test_icmp_with_what_it_quotes():
    body = packet("+0 < icmp unreachable frag_needed mtu 1200 [5:105(100)]").body
    assert body == Icmp("unreachable", "frag_needed", 1200, None, Quote("tcp", 5, 100))
    assert packet("+0 < icmp echo_request id 3").body == Icmp("echo_request", None, None, 3)
    assert packet("+0 < icmp unreachable [udp (9)]").body.quote == Quote("udp", 0, 9)


# Calls.


def test_expressions():
    made = call('f(..., A|B, [1, 2], {fd=3, events=E}, "x" "y", g(n)=5) = -1 EAGAIN (Some (text))')
    assert made.arguments == (
        Anything(),
        Either((Word("A"), Word("B"))),
        List((Integer(1), Integer(2))),
        Struct((Assign("fd", None, Integer(3)), Assign("events", None, Word("E")))),
        String("xy"),
        Assign("g", (Word("n"),), Integer(5)),
    )
    assert (made.result, made.errno) == (Integer(-1), "EAGAIN")


def test_a_comment_after_the_result_is_any_text():
    assert call("fcntl(3, F_GETFL) = 0x2 (flags O_RDWR, + `stuff`)").result == Integer(2)


# nplab.


def test_ifdef_keeps_lines_only_if_the_name_is_defined():
    text = "0 `a`\n#ifdef X\n+0 `b`\n#endif\n+0 `c`\n"

    def commands(**defines):
        script = parse(text, dialect="nplab", defines=defines)
        return [(one.action.text, one.line) for one in script.events]

    assert commands() == [("a", 1), ("c", 5)]
    assert commands(X="1") == [("a", 1), ("b", 3), ("c", 5)]


def test_nplab_says_what_is_not_to_be_translated_or_looked_at():
    assert tcp("+0 > R 5:5(0)! ack 7!", "nplab").raw_seq
    assert tcp("+0 > ...(100) ack 1".replace("> ", "> . "), "nplab").seq is None
    option = tcp("+0 > . 0:0(0) <nop,nop,TS val ... ecr 9!>", "nplab").options[2]
    assert (option.numbers, option.raw) == ((), True)
    info = packet("+0 > [hlim 3, class 0x8, ecn ce] . 0:0(0)", "nplab").ip
    assert (info.ttl, info.tos, info.ecn) == (3, 8, 3)
    assert packet("+0 > [dscp af11] . 0:0(0)", "nplab").ip.dscp == 10
    assert tcp("+0 > R 0:0(0) {diagnosis}", "nplab").payload == 0
    assert tcp("+0 > R 0:0(0)/udp(1 > 2)", "nplab").encapsulation == (1, 2)


# Mistakes.


@pytest.mark.parametrize(
    ("text", "line", "column", "problem"),
    [
        ("", 1, 1, "instead of an event"),
        ("1 `x`", 1, 1, "first event must be at time 0"),
        ("0 `x`\n+0 < S 0:0(0)", 2, 14, "instead of win"),
        ("0 `x`\n+0 > S 0:5(0)", 2, 8, "end must be start"),
        ("0 `x`\n+0 > SX 0:0(0)", 2, 7, "instead of a sequence number"),
        ("0 `x`\n+0 > P.8 0:0(0)", 2, 6, "one digit"),
        ("0 `x`\n+0 > P.E5 0:0(0)", 2, 6, "bits of the digit"),
        ("0 `x`\n+0 > . 0:0(0) <nop>", 2, 15, "multiple of 4"),
        ("0 `x`\n+0 > . 0:0(0) <mss 70000>", 2, 20, "not within"),
        ("0 `x`\n+0 > . 0:0(0) <foo>", 2, 16, "no TCP option"),
        ("0 `x`\n* < S 0:0(0) win 1", 2, 1, "only packets that are expected"),
        ("2 `x`\n", 1, 1, "first event"),
        ("0 `x`\n3 `x`\n2 `y`", 3, 1, "before that of the event before"),
        ("0 `x`\n2~1 > . 0:0(0)", 2, 3, "ends before it begins"),
        ("0 `x", 1, 3, "does not end"),
        ('0 f("x) = 0', 1, 5, "string does not end"),
        ("0 f(%{ x) = 0", 1, 5, "does not end"),
        ("/* x", 1, 1, "comment does not end"),
        ("0 f(1 = 0", 1, 5, "no name"),
        ("0 f(1) = 0 (x", 1, 12, "not closed"),
        ("0 f(1)", 1, 7, "instead of '='"),
        ("0 `x`\n+0 [", 2, 4, "instead of a packet"),
        ("0 f(" + "[" * 100, 1, 55, "deep"),
        ("0 f(" + "9" * 50 + ") = 0", 1, 5, "digits"),
        ("0 `a` `b` `c`", 1, 11, "after the cleanup"),
    ],
)
def test_a_mistake_is_told_with_its_place(text, line, column, problem):
    with pytest.raises(ScriptError) as caught:
        parse(text, "a.pkt")
    assert problem in str(caught.value)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert str(caught.value).startswith(f"a.pkt:{line}:{column}: ")


@pytest.mark.parametrize(
    "text", ["+0 > ipv4 1.2.3.4 > 1.2.3.5: . 0:0(0)", "+0 < sctp: DATA", "+0 > gre:"]
)
def test_what_is_known_but_not_supported_is_told_apart(text):
    with pytest.raises(UnsupportedSyntax):
        event(text)


def place_of_mistake(text: str, dialect: str) -> tuple[int, int]:
    """Line and column; far away if there is no mistake."""
    try:
        parse(text, "any", dialect, {"A": "3"})
    except ScriptError as problem:
        return problem.line, problem.column
    return (1 << 30, 1)


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=25), st.booleans())
def test_any_text_is_a_script_or_a_script_error(pieces, nplab):
    dialect = "nplab" if nplab else "google"
    for text in ("".join(pieces), " ".join(pieces), "0 `x`\n+0 " + " ".join(pieces)):
        assert place_of_mistake(text, dialect) >= (1, 1)
