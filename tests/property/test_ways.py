"""A wire of which somebody hears each departure, and one that reckons them when it has to.

Departures are events only if they have to be (pystack/link/way.pyx); nobody may be able to tell.
"""

from __future__ import annotations

import socket
from functools import partial
from random import Random

from effort import some
from hypothesis import given, settings
from hypothesis import strategies as st

from pystack.testing import VirtualNetwork

A, B = ("10.0.0.1", 9), ("10.0.0.2", 9)
LOOKS = {
    "counters": lambda link: link.there.counters,
    "queued": lambda link: link.there.way.queued,
    "flying": lambda link: link.there.way.flying_packets,
}
CHANGES = ("set", *LOOKS, "partition", "heal", "hold", "release")


def draw_quality(random):
    """Settings of a wire that is mostly busy."""
    return {
        "delay": random.choice([0, "1ms", "7ms", "20ms"]),
        "jitter": random.choice([0, 0, "2ms", "30ms"]),
        "rate": random.choice([None, "1Mbit/s", "8Mbit/s", "100Mbit/s"]),
        "queue": random.choice([3, 50, "3KB"]),
        "mark": random.choice([None, 2]),
        "loss": random.choice([0, "20%"]),
        "burst": random.choice([1, 3]),
        "reorder": random.choice([0, 0, "30%", 1]),
        "reorder_by": random.choice([None, "5ms", "50ms"]),
        "duplicate": random.choice([0, 0, "20%"]),
        "corrupt": random.choice([0, 0, "20%"]),
    }


def draw_change(random):
    name = random.choice(CHANGES)
    return random.uniform(0, 0.1), name, draw_quality(random) if name == "set" else None


def history(heard, quality, changes, sendings, seed):
    """All that can be seen: what arrives and when, and the counters at any time."""
    seen = []
    with VirtualNetwork(seed) as net:
        a, b = net.host(A[0]), net.host(B[0])
        link = net.link(a, b, **quality)
        way = link.there.way
        if heard:
            way.on_depart = lambda packet, now, fate: None
        way.on_arrive = lambda packet, now, fate: seen.append((now, packet))

        def look(name):
            seen.append((net.now_ns, name, LOOKS[name](link)))

        for when, name, argument in changes:
            if name in LOOKS:
                net.at(when, partial(look, name))
            elif name == "set":
                net.at(when, partial(link.there.set, **argument))
            else:
                net.at(when, getattr(link.there, name))
        net.at(1, link.there.heal)
        net.at(1, link.there.release)
        with a.socket(type=socket.SOCK_DGRAM) as source:
            for when, count, size in sorted(sendings):
                net.sleep(max(when - net.now, 0))
                for _ in range(count):
                    source.sendto(bytes(size), B)
            net.settle("1h")
        for name in LOOKS:
            look(name)
    return seen


@settings(max_examples=some(1000))
@given(seed=st.integers(0, 1 << 32))
def test_nobody_can_tell_when_departures_are_reckoned(seed):
    random = Random(seed)
    quality = draw_quality(random)
    changes = [draw_change(random) for _ in range(random.randrange(20))]
    sendings = [
        (
            random.choice([0, random.uniform(0, 0.1)]),
            random.randrange(1, 20),
            random.randrange(1400),
        )
        for _ in range(random.randrange(1, 6))
    ]
    assert history(False, quality, changes, sendings, seed) == history(
        True, quality, changes, sendings, seed
    )
