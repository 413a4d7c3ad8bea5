"""The lines of packets, from `<` or `>` on.

Called by: parser.
RFCs: 9293 section 3.1 (flags); draft-ietf-tcpm-accurate-ecn (AE); 2474 and 8622 (code points).
"""

from __future__ import annotations

import re

from pystack.script.errors import UnsupportedSyntax
from pystack.script.nodes import Icmp, IpInfo, Packet, Quote, Tcp, Udp
from pystack.script.parse_options import parse_tcp_options
from pystack.script.tokens import Tokens

FLAG_BITS = {
    "F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, ".": 0x10, "U": 0x20, "E": 0x40, "W": 0x80,
    "A": 0x100,
}  # fmt: skip
ACE_BITS = (0x40, 0x80, 0x100)  # of the three bits of an ACE digit, the lowest first
FLAGS = re.compile(r"[FSRPUEWA.0-9]+|-")
PORTS = re.compile(r"[0-9]+\s*>\s*[0-9]+")
SEQUENCE = re.compile(r"[0-9]+\s*:")
UNCHECKED = re.compile(r"\.\.\.\s*\(")
SUFFIX = re.compile(r"/\s*udp\b")

ECN = {"noecn": 0, "ect1": 1, "ect0": 2, "ce": 3}
DSCP = {
    "default": 0, "be": 0, "le": 1, "va": 44, "ef": 46,
    **{f"cs{n}": 8 * n for n in range(8)},
    **{f"af{n}{m}": 8 * n + 2 * m for n in range(1, 5) for m in range(1, 4)},
}  # fmt: skip
ENCAPSULATIONS = ("ipv4", "ipv6", "gre", "mpls")
OTHER_PROTOCOLS = ("sctp", "udplite")


def parse_packet(tokens: Tokens, dialect: str) -> Packet:
    """A packet, its direction first."""
    inbound = tokens.take().text == "<"
    start = tokens.peek()
    if start.text in ENCAPSULATIONS:
        raise tokens.error(f"{start.text} encapsulation is not supported", start, UnsupportedSyntax)
    ip = parse_ip_info(tokens) if start.text in ("(", "[") else IpInfo()
    word = tokens.peek().text
    if word in OTHER_PROTOCOLS:
        raise tokens.error(f"{word} is not supported", tokens.peek(), UnsupportedSyntax)
    if word == "udp":
        return Packet(inbound, ip, parse_udp(tokens))
    if word == "icmp":
        return Packet(inbound, ip, parse_icmp(tokens))
    return Packet(inbound, ip, parse_tcp(tokens, inbound, dialect))


def parse_ip_info(tokens: Tokens) -> IpInfo:
    """`[ect0, ttl 5]` or the same in round brackets."""
    closing = ")" if tokens.take().text == "(" else "]"
    found: dict[str, int | bool] = {}
    while True:
        item = tokens.word("something of the IP header, such as ect0 or ttl")
        name = item.text
        if name in ECN:
            found["ecn"] = ECN[name]
        elif name == "ect01":
            found["either_ect"] = True
        elif name == "ecn":
            value = tokens.word("noecn, ect0, ect1 or ce")
            if value.text not in ECN:
                raise tokens.error(f"{value} is none of noecn, ect0, ect1, ce", value)
            found["ecn"] = ECN[value.text]
        elif name == "dscp":
            found["dscp"] = parse_dscp(tokens)
        elif name in ("tos", "class"):
            found["tos"] = tokens.integer(name, 0, 0xFF)
        elif name in ("ttl", "hlim"):
            found["ttl"] = tokens.integer(name, 0, 0xFF)
        elif name == "flowlabel":
            found["flow_label"] = tokens.integer(name, 0, 0xFFFFF)
        else:
            raise tokens.error(f"{item} is nothing of the IP header", item)
        if not tokens.accept(","):
            break
    tokens.expect(closing)
    return IpInfo(**found)  # type: ignore[arg-type]


def parse_dscp(tokens: Tokens) -> int:
    token = tokens.peek()
    if token.text[:1].isdigit():
        return tokens.integer("dscp", 0, 63)
    name = tokens.word("a code point").text
    if name not in DSCP:
        raise tokens.error(f"{token} is no name of a DSCP", token)
    return DSCP[name]


def parse_ports(tokens: Tokens) -> tuple[int, int] | None:
    """`source > destination`, if that is what comes."""
    if not tokens.lexer.sees(PORTS):
        return None
    source = tokens.integer("a port", 0, 0xFFFF)
    tokens.expect(">")
    return source, tokens.integer("a port", 0, 0xFFFF)


def parse_flags(tokens: Tokens) -> int:
    """`S.`, `P.5`, `-` ...: one word, whatever tokens it would be."""
    at = tokens.peek()
    text = tokens.lexer.raw(FLAGS)
    if text is None:
        raise tokens.error(f"{at} instead of TCP flags", at)
    digits = [character for character in text if character.isdigit()]
    if len(digits) > 1 or any(digit > "7" for digit in digits):
        raise tokens.error(f"flags {text!r}: one digit from 0 to 7 at most", at)
    if digits and set(text) & set("EWA"):
        raise tokens.error(f"flags {text!r}: E, W and A are bits of the digit", at)
    bits = 0
    for character in text.replace("-", ""):
        if character.isdigit():
            bits |= sum(bit for n, bit in enumerate(ACE_BITS) if int(character) >> n & 1)
        else:
            bits |= FLAG_BITS[character]
    return bits


def parse_sequence(tokens: Tokens, dialect: str) -> tuple[int | None, int, bool]:
    """`start:end(payload)`: start or None for not checked, payload, raw."""
    if dialect == "nplab" and tokens.lexer.sees(UNCHECKED):
        tokens.take()
        return None, parse_length(tokens), False
    at = tokens.peek()
    start = tokens.integer("a sequence number", 0, 0xFFFFFFFF)
    tokens.expect(":")
    end = tokens.integer("the end of the sequence", 0, 0xFFFFFFFF)
    payload = parse_length(tokens)
    if (start + payload) & 0xFFFFFFFF != end:
        raise tokens.error(f"{start}:{end}({payload}): the end must be start + payload", at)
    return start, payload, dialect == "nplab" and tokens.accept("!")


def parse_length(tokens: Tokens) -> int:
    """`(n)`."""
    tokens.expect("(")
    length = tokens.integer("a length", 0, 0xFFFF)
    tokens.expect(")")
    return length


def parse_tcp(tokens: Tokens, inbound: bool, dialect: str) -> Tcp:
    ports = parse_ports(tokens)
    flags = parse_flags(tokens)
    seq, payload, raw_seq = parse_sequence(tokens, dialect)
    fields: dict[str, int | None] = {"ack": None, "win": None, "urg": None}
    raw_ack = False
    for name, most in (("ack", 0xFFFFFFFF), ("win", 0xFFFF), ("urg", 0xFFFF)):
        if tokens.accept(name):
            fields[name] = tokens.integer(name, 0, most)
            if name == "ack" and dialect == "nplab":
                raw_ack = tokens.accept("!")
    if inbound and fields["win"] is None:
        raise tokens.error(f"{tokens.peek()} instead of win, which <-packets need", tokens.peek())
    options = parse_tcp_options(tokens, inbound, dialect) if tokens.sees("<") else ()
    if dialect == "nplab" and tokens.accept("{"):
        while not tokens.accept("}"):  # what a RST may carry for its reader
            tokens.expect_any("} that ends the diagnostic payload")
    return Tcp(
        flags=flags,
        seq=seq,
        payload=payload,
        ack=fields["ack"],
        window=fields["win"],
        urgent=fields["urg"],
        options=options,
        ports=ports,
        raw_seq=raw_seq,
        raw_ack=raw_ack,
        encapsulation=parse_udp_suffix(tokens) if dialect == "nplab" else None,
    )


def parse_udp_suffix(tokens: Tokens) -> tuple[int, int] | None:
    """`/udp(source > destination)`."""
    if not tokens.lexer.sees(SUFFIX):
        return None
    tokens.take()
    tokens.take()
    tokens.expect("(")
    at = tokens.peek()
    ports = parse_ports(tokens)
    if ports is None:
        raise tokens.error(f"{at} instead of two ports", at)
    tokens.expect(")")
    return ports


def parse_udp(tokens: Tokens) -> Udp:
    tokens.take()
    ports = parse_ports(tokens)
    return Udp(parse_length(tokens), ports)


def parse_icmp(tokens: Tokens) -> Icmp:
    tokens.take()
    kind = tokens.word("a type of ICMP").text
    code = None
    if tokens.peek_word() not in (None, "mtu", "id"):
        code = tokens.word("a code").text
    mtu = tokens.integer("mtu", 0, 0xFFFFFFFF) if tokens.accept("mtu") else None
    number = tokens.integer("id", 0, 0xFFFF) if tokens.accept("id") else None
    quote = parse_quote(tokens) if tokens.accept("[") else None
    return Icmp(kind, code, mtu, number, quote)


def parse_quote(tokens: Tokens) -> Quote:
    """What is quoted, after the bracket."""
    word = tokens.peek_word()
    raw = False
    if word in ("udp", "raw"):
        tokens.take()
        seq, payload = 0, parse_length(tokens)
    else:
        word = "tcp"
        found, payload, raw = parse_sequence(tokens, "google")
        seq = found or 0
        raw = tokens.accept("!")
    tokens.expect("]")
    return Quote(word or "tcp", seq, payload, raw)
