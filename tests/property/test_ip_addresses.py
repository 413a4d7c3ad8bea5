"""Whatever came before: a packet's addresses are judged as if it were the first."""

from __future__ import annotations

from effort import some
from hypothesis import example, given, settings
from hypothesis import strategies as st
from native.ip import IpHost
from scenario.ip_wire import IPV4, IPV6, TCP, UDP, packet, udp

NETWORKS = ("10.3.0.0/24", "fd03::/64")
OTHERS = ("10.4.0.0/24", "fd04::/64")  # perhaps added later
MAPPED = "::ffff:"  # on no wire, but how IPv4 is held within
SOURCES = {
    IPV4: (IPV4.peer, IPV4.second, IPV4.excluded, "10.4.0.9", "127.0.0.1", "0.0.0.0"),
    IPV6: (IPV6.peer, IPV6.second, IPV6.excluded, "fd04::9", "::", MAPPED + IPV4.peer),
}
DESTINATIONS = {
    IPV4: (IPV4.ours, "10.4.0.7", "10.3.0.255", "224.0.0.1", IPV4.excluded),
    IPV6: (IPV6.ours, "fd04::7", "ff02::1", MAPPED + IPV4.ours, IPV6.excluded),
}

families = st.sampled_from([IPV4, IPV6])
pairs = families.flatmap(
    lambda family: st.tuples(
        st.just(family), st.sampled_from(SOURCES[family]), st.sampled_from(DESTINATIONS[family])
    )
)
added = st.tuples(st.just("add"), st.sampled_from(OTHERS))
excluded = st.tuples(st.just("exclude"), st.sampled_from([IPV4.ours, IPV6.ours, "10.4.0.7"]))


@st.composite
def stories(draw):
    """What happens, and then a packet with addresses that have perhaps been seen before."""
    known = st.sampled_from(draw(st.lists(pairs, min_size=1, max_size=2)))
    protocols = st.sampled_from([UDP, TCP])
    arrived = st.tuples(st.just("packet"), known, protocols)
    looped = st.tuples(st.just("loop"), known)
    steps = draw(st.lists(st.one_of(arrived, looped, added, excluded), max_size=5))
    return steps, (draw(known), draw(protocols))


class Host:
    """An IP layer, and what would make another one like it."""

    def __init__(self, networks=NETWORKS, addresses=()):
        self.networks, self.addresses = list(networks), list(addresses)
        self.native = IpHost(*networks, exclude=addresses)

    def add(self, network):
        if network not in self.networks:
            self.networks.append(network)
            self.native.add_network(network)

    def exclude(self, address):
        self.addresses.append(address)
        self.native.exclude(address)

    def loop(self, pair):
        """A packet to ourselves, if it is one."""
        source, destination = pair[1:]
        payload = bytes(udp()) + bytes(20)
        if (
            self.native.is_local(source)
            and self.native.is_local(destination)
            and not destination.startswith(MAPPED)
        ):
            assert self.native.send(source, destination, UDP, payload) == 0
            assert [got.source for got in self.native.loop()] == [source]

    def packet(self, pair, protocol):
        """What becomes of it: who gets it, what was counted."""
        family, source, destination = pair
        payload = bytes(udp()) + bytes(20)
        before = self.native.counters
        got = self.native.receive(packet(family, protocol, payload, source, destination))
        after = self.native.counters
        counted = {name: after[name] - before.get(name, 0) for name in after}
        return got, {name: count for name, count in counted.items() if count}

    def close(self):
        assert self.native.close() == 0


def twice(pair, *between, before="packet"):
    """A story: the same packet again, but from a device and of TCP."""
    first = (before, pair, UDP) if before == "packet" else (before, pair)
    return [first, *between], (pair, TCP)


@settings(max_examples=some(400))
@given(stories())
@example(twice((IPV4, IPV4.second, IPV4.ours), before="loop"))
@example(twice((IPV6, IPV6.second, IPV6.ours), before="loop"))
@example(twice((IPV4, IPV4.peer, "10.3.0.255")))
@example(twice((IPV4, IPV4.peer, IPV4.ours), ("exclude", IPV4.ours)))
@example(twice((IPV6, IPV6.peer, IPV6.ours), ("exclude", IPV6.ours)))
@example(twice((IPV4, "10.4.0.9", IPV4.ours), ("add", "10.4.0.0/24")))
@example(
    (
        [("packet", (IPV4, IPV4.peer, IPV4.ours), UDP)],
        ((IPV6, MAPPED + IPV4.peer, MAPPED + IPV4.ours), UDP),
    )
)
def test_an_address_is_judged_alike_whatever_came_before(story):
    steps, last = story
    host = Host()
    for name, *what in steps:
        getattr(host, name)(*what)
    fresh = Host(host.networks, host.addresses)
    assert host.packet(*last) == fresh.packet(*last)
    host.close()
    fresh.close()
