"""TCP options as scripts write them, to the bytes that they are on the wire.

Called by: parse_packet; report, for the way back.
RFCs: 9293 section 3.2, 7323, 2018, 2385, 7413, 6994; draft-ietf-tcpm-accurate-ecn.
"""

from __future__ import annotations

import re
import struct

from pystack.script.lexer import Kind
from pystack.script.nodes import TcpOption
from pystack.script.tokens import Tokens

EOL, NOP, MSS, WSCALE, SACK_OK, SACK, TS, MD5, FO, EXP = 0, 1, 2, 3, 4, 5, 8, 19, 34, 254
ACC_ECN_0, ACC_ECN_1 = 172, 174
FO_MAGIC = 0xF989
MOST_OPTIONS = 40  # bytes: what the header has room for

WORD = re.compile(r"[A-Za-z0-9_]+")
HEX = re.compile(r"(?:0x)?([0-9a-fA-F]+)")
COUNTERS = {"e0b": ("e0b", "ceb", "e1b"), "e1b": ("e1b", "ceb", "e0b")}


def option(kind: int, value: bytes, numbers: tuple[int, ...] = (), raw: bool = False) -> TcpOption:
    """An option with its kind and length in front."""
    return TcpOption(kind, bytes([kind, len(value) + 2]) + value, numbers, raw)


def timestamps(val: int, ecr: int, raw: bool = False) -> TcpOption:
    return option(TS, struct.pack("!II", val, ecr), (val, ecr), raw)


def sack(edges: tuple[int, ...], raw: bool = False) -> TcpOption:
    return option(SACK, struct.pack(f"!{len(edges)}I", *edges), edges, raw)


def parse_tcp_options(tokens: Tokens, inbound: bool, dialect: str) -> tuple[TcpOption, ...] | None:
    """`<...>` (None) or `<mss 1460,nop,...>`."""
    start = tokens.expect("<")
    if tokens.sees("...") and not inbound:
        tokens.take()
        tokens.expect(">")
        return None
    found: list[TcpOption] = []
    while not tokens.sees(">") or found:
        found.append(parse_option(tokens, inbound, dialect))
        if not tokens.accept(","):
            break
    tokens.expect(">")
    length = sum(len(one.wire) for one in found)
    if length % 4:
        raise tokens.error(f"{length} bytes of TCP options: not a multiple of 4, add nop", start)
    if length > MOST_OPTIONS:
        raise tokens.error(f"{length} bytes of TCP options, {MOST_OPTIONS} at most", start)
    return tuple(found)


def parse_option(tokens: Tokens, inbound: bool, dialect: str) -> TcpOption:
    at = tokens.word("a TCP option")
    name = at.text
    if name in ("nop", "eol"):
        kind = NOP if name == "nop" else EOL
        return TcpOption(kind, bytes([kind]))
    if name == "mss":
        return option(MSS, struct.pack("!H", tokens.integer("mss", 0, 0xFFFF)))
    if name == "wscale":
        return option(WSCALE, bytes([tokens.integer("wscale", 0, 0xFF)]))
    if name == "sackOK":
        return option(SACK_OK, b"")
    if name == "sack":
        return parse_sack(tokens, dialect)
    if name == "TS":
        return parse_timestamps(tokens, inbound, dialect)
    if name == "md5":
        return option(MD5, parse_hex(tokens))
    if name == "FO":
        return option(FO, parse_hex(tokens))
    if name == "FOEXP":
        return option(EXP, struct.pack("!H", FO_MAGIC) + parse_hex(tokens))
    if name == "ECN":
        return parse_acc_ecn(tokens)
    raise tokens.error(f"{at} is no TCP option", at)


def parse_sack(tokens: Tokens, dialect: str) -> TcpOption:
    edges: list[int] = []
    while tokens.peek().kind == Kind.INT:
        edges.append(tokens.integer("a left edge", 0, 0xFFFFFFFF))
        tokens.expect(":")
        edges.append(tokens.integer("a right edge", 0, 0xFFFFFFFF))
    return sack(tuple(edges), dialect == "nplab" and tokens.accept("!"))


def parse_timestamps(tokens: Tokens, inbound: bool, dialect: str) -> TcpOption:
    """nplab: `val ...` is not looked at, `ecr N!` not translated."""
    tokens.expect("val")
    if dialect == "nplab" and not inbound and tokens.accept("..."):
        val, unknown = 0, True
    else:
        val, unknown = tokens.integer("val", 0, 0xFFFFFFFF), False
    tokens.expect("ecr")
    if dialect == "nplab" and not inbound and tokens.accept("..."):
        return TcpOption(TS, timestamps(val, 0).wire, () if unknown else (val,), False)
    ecr = tokens.integer("ecr", 0, 0xFFFFFFFF)
    raw = dialect == "nplab" and tokens.accept("!")
    if unknown:
        return TcpOption(TS, timestamps(val, ecr).wire, (), raw)
    return timestamps(val, ecr, raw)


def parse_hex(tokens: Tokens) -> bytes:
    """Bytes, or none."""
    at = tokens.peek()
    if at.text in (",", ">"):
        return b""
    word = tokens.lexer.raw(WORD) or ""
    found = HEX.fullmatch(tokens.lexer.symbols.get(word, word))
    if found is None:
        raise tokens.error(f"{at} instead of hexadecimal digits", at)
    digits = found[1]
    if len(digits) % 2:
        raise tokens.error(f"{len(digits)} hexadecimal digits: an odd number", at)
    if len(digits) > 2 * MOST_OPTIONS:
        raise tokens.error(f"{len(digits) // 2} bytes in a TCP option", at)
    return bytes.fromhex(digits)


def parse_acc_ecn(tokens: Tokens) -> TcpOption:
    """`ECN e0b A ceb B e1b C`: the first counter decides the order of all."""
    at = tokens.word("e0b or e1b")
    if at.text not in COUNTERS:
        raise tokens.error(f"{at} instead of e0b or e1b", at)
    kind = ACC_ECN_0 if at.text == "e0b" else ACC_ECN_1
    value = tokens.integer(at.text, 0, 0xFFFFFF).to_bytes(3, "big")
    for name in COUNTERS[at.text][1:]:
        if not tokens.accept(name):
            break
        value += tokens.integer(name, 0, 0xFFFFFF).to_bytes(3, "big")
    return option(kind, value)
