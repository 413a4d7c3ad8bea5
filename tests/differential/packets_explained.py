"""Differences in answers to packets that docs/reference/differences-from-linux.md explains."""

from __future__ import annotations

import re
from collections.abc import Callable

from differential.exchange import Hit

TOS = re.compile(" TOS 0x[0-9a-f]+,")
SIZE = re.compile(" [0-9]+ bytes")
QUOTED = 100  # characters of a line


def explanation(hits: list[Hit]) -> str:
    """Why the last hit differs, as a heading of the page; empty: nobody knows."""
    for heading, applies in EXPLANATIONS.items():
        if applies(hits[-1], hits):
            return heading
    return ""


def has_options(last: Hit, hits: list[Hit]) -> bool:
    """Also where the header only claims to be longer."""
    header = last.shot.packet[0]
    return header >> 4 == 4 and header & 15 > 5


def empty_fragment(last: Hit, hits: list[Hit]) -> bool:
    return any(", empty" in hit.shot.words for hit in hits)


def traffic_class(last: Hit, hits: list[Hit]) -> bool:
    """Of an ICMP message, which is the same otherwise."""
    both = [[TOS.sub("", line) for line in each] for each in (last.kernel, last.virtual)]
    return both[0] == both[1] and last.shot.packet[1] != 0


def quoted_less(last: Hit, hits: list[Hit]) -> bool:
    """Of a datagram that claims to be shorter than it is."""
    both = [
        [SIZE.sub("", TOS.sub("", line))[:QUOTED] for line in each]
        for each in (last.kernel, last.virtual)
    ]
    return both[0] == both[1] and "datagram" in last.shot.words and ", length" in last.shot.words


def timestamp_request(last: Hit, hits: list[Hit]) -> bool:
    return last.shot.words.startswith("ICMP 13/")


def nested_fragments(last: Hit, hits: list[Hit]) -> bool:
    return last.shot.words.count("fragment") > 1


def wrong_twice(last: Hit, hits: list[Hit]) -> bool:
    """The first fragment has not all headers, and is no multiple of 8 either."""
    return last.shot.packet[0] >> 4 == 6 and ", fragment 0:5+, odd" in last.shot.words


def missing_header(last: Hit, hits: list[Hit]) -> bool:
    short = re.search(r", length [08]\b|, cut to", last.shot.words)
    return last.shot.packet[0] >> 4 == 6 and short is not None


def about_a_redirect(last: Hit, hits: list[Hit]) -> bool:
    return last.shot.words.startswith("ICMP 137/") and not last.virtual


def overlap(last: Hit, hits: list[Hit]) -> bool:
    return ", overlap" in last.shot.words


EXPLANATIONS: dict[str, Callable[[Hit, list[Hit]], bool]] = {
    "Options of IPv4": has_options,
    "Empty fragments": empty_fragment,
    "The traffic class of ICMP messages": traffic_class,
    "What an ICMP error quotes": quoted_less,
    "ICMP timestamps": timestamp_request,
    "Fragments in fragments": nested_fragments,
    "A first fragment that is wrong twice": wrong_twice,
    "A header that is not there": missing_header,
    "Overlapping fragments": overlap,
    "Errors about redirects": about_a_redirect,
}
