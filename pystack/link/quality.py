"""Quality: what a wire does to packets, in the words of a user, as settings of a Way.

Called by: pystack.testing, the command line.
RFCs: 3168 (mark); Gilbert 1960, Elliott 1963 (bursts of loss).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

from pystack.link.units import Quantity, chance, duration_ns, rate_bps, size_bytes
from pystack.link.way import Way

UNLIMITED = (1 << 64) - 1
DEFAULT_QUEUE = 1000  # packets, as a Linux interface has
SHORTEST_MTU = 68  # RFC 791
LEAST_HOLD_NS = 1_000_000


@dataclass(frozen=True)
class GilbertElliott:
    """Loss in bursts: a wire that is now good, now bad; asked anew for every packet."""

    good_to_bad: Quantity  # chance that it becomes bad
    bad_to_good: Quantity
    bad: Quantity = 1.0  # loss while it is bad
    good: Quantity = 0.0

    def words(self) -> tuple[float, float, float, float]:
        """Its four chances, from 0 to 1, as a link has them."""
        return (
            chance(self.good),
            chance(self.bad),
            chance(self.good_to_bad),
            chance(self.bad_to_good),
        )


class Quality(TypedDict, total=False):
    """Settings of one direction of a link."""

    delay: Quantity
    jitter: Quantity
    rate: Quantity | None
    queue: int | str | None
    mark: int | None
    loss: Quantity | GilbertElliott
    burst: float
    reorder: Quantity
    reorder_by: Quantity | None
    duplicate: Quantity
    corrupt: Quantity
    mtu: int | None
    oversize: str
    filter: Callable[[bytes], bool] | None


DEFAULTS: Quality = {
    "delay": 0,
    "jitter": 0,
    "rate": None,
    "queue": DEFAULT_QUEUE,
    "mark": None,
    "loss": 0,
    "burst": 1,
    "reorder": 0,
    "reorder_by": None,
    "duplicate": 0,
    "corrupt": 0,
    "mtu": None,
    "oversize": "report",
    "filter": None,
}


def check_names(quality: dict[str, Any]) -> None:
    """TypeError for a setting that no link has."""
    unknown = sorted(set(quality) - set(DEFAULTS))
    if unknown:
        raise TypeError(f"a link has no {unknown[0]!r}; it has {', '.join(DEFAULTS)}")


def apply(way: Way, quality: Quality) -> None:
    """Set a direction of a link; all settings are given."""
    packets, size = queue_limits(quality["queue"])
    delay = duration_ns(quality["delay"])
    hold = quality["reorder_by"]
    oversize = quality["oversize"]
    if oversize not in ("report", "drop"):
        raise ValueError(f"oversize {oversize!r}: not one of report, drop")
    mtu = quality["mtu"] or 0
    if mtu and not SHORTEST_MTU <= mtu <= 65535:
        raise ValueError(f"mtu {mtu} is not within {SHORTEST_MTU} and 65535")
    rate = quality["rate"]
    if rate is not None and not rate_bps(rate):
        raise ValueError("a rate of 0 carries nothing; None is no limit, partition() carries none")
    way.set(
        delay=delay,
        jitter=duration_ns(quality["jitter"]),
        rate=0.0 if rate is None else rate_bps(rate),
        queue_packets=packets,
        queue_bytes=size,
        mark=quality["mark"] or 0,
        loss=loss_words(quality["loss"], quality["burst"]),
        reorder=chance(quality["reorder"]),
        reorder_by=max(delay // 2, LEAST_HOLD_NS) if hold is None else duration_ns(hold),
        duplicate=chance(quality["duplicate"]),
        corrupt=chance(quality["corrupt"]),
        mtu=mtu,
        black_hole=oversize == "drop",
        filter=quality["filter"],
    )


def queue_limits(queue: int | str | None) -> tuple[int, int]:
    """(packets, bytes): a number is packets, text with a unit is bytes, None is no limit."""
    if queue is None:
        return UNLIMITED, UNLIMITED
    if isinstance(queue, str) and not queue.strip().isdigit():
        return UNLIMITED, size_bytes(queue)
    packets = int(queue)
    if packets < 0:
        raise ValueError(f"a queue of {packets} packets: not less than 0")
    return packets, UNLIMITED


def loss_words(loss: Quantity | GilbertElliott, burst: float) -> tuple[float, float, float, float]:
    """Loss when good and when bad, good to bad, bad to good."""
    if isinstance(loss, GilbertElliott):
        return loss.words()
    share = chance(loss)
    if burst < 1:
        raise ValueError(f"burst {burst}: a burst of loss is 1 packet at least")
    if burst == 1 or share in (0, 1):
        return share, 0.0, 0.0, 0.0
    leave = 1 / burst
    enter = leave * share / (1 - share)
    if enter > 1:
        raise ValueError(f"no bursts of {burst:g} packets make a loss of {share:.0%}")
    return 0.0, 1.0, enter, leave
