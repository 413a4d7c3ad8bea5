"""Quantities as people write them: "20ms", "10Mbit/s", "2%", "5MB"; or plain numbers.

Called by: pystack.link, pystack.testing, the command line.
RFCs: none.
"""

from __future__ import annotations

import math
import re

Quantity = str | int | float

QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\d\s].*?)?\s*")

SECONDS = {
    "": 1, "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "sec": 1, "min": 60, "m": 60,
    "h": 3600, "d": 86400,
}  # fmt: skip
DECIMAL = {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
BINARY = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
SIZES = {
    **{prefix + unit: factor for prefix, factor in DECIMAL.items() for unit in ("", "B")},
    **{prefix + unit: factor for prefix, factor in BINARY.items() for unit in ("", "B")},
}
RATES = {
    **{
        prefix + unit: factor
        for prefix, factor in DECIMAL.items()
        for unit in ("", "bit/s", "bit", "bps")
    },
    **{prefix + "B/s": 8 * factor for prefix, factor in (DECIMAL | BINARY).items()},
}


def parse(given: Quantity, units: dict[str, float], what: str, example: str) -> float:
    """The number in base units; ValueError says what is expected."""
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        value = float(given)
    else:
        match = QUANTITY.fullmatch(given) if isinstance(given, str) else None
        if match is None or (match[2] or "") not in units:
            raise ValueError(f"{given!r} is no {what}; write it as {example}")
        value = float(match[1]) * units[match[2] or ""]
    if not 0 <= value < math.inf:
        raise ValueError(f"{given!r} is no {what}: it must not be negative, nor infinite")
    return value


def duration_ns(given: Quantity) -> int:
    """A duration in ns; numbers are seconds."""
    return round(parse(given, SECONDS, "duration", "'20ms' or 0.02") * 1e9)


def rate_bps(given: Quantity) -> float:
    """A rate in bit/s."""
    return parse(given, RATES, "rate", "'10Mbit/s' or 10e6")


def size_bytes(given: Quantity) -> int:
    """A size in bytes; k, M, G are powers of 1000, Ki, Mi, Gi of 1024."""
    return round(parse(given, SIZES, "size", "'64KB', '1MiB' or 65536"))


def chance(given: Quantity) -> float:
    """A probability."""
    value = parse(given, {"": 1, "%": 0.01}, "probability", "'2%' or 0.02")
    if value > 1:
        raise ValueError(f"{given!r} is no probability: it is more than 1; write '2%' or 0.02")
    return value
