"""Path MTU found by sending: black holes, and paths that have become wider (RFC 4821)."""

from __future__ import annotations

from collections import Counter

import pytest
from scenario.peer import FULL, MS, SECOND, TIMESTAMPS
from scenario.tcp_states import accepted, connected
from scenario.tcp_wire import FAMILIES, IPV4, IPV6

from pystack import TcpConfig
from pystack.testing import VirtualNetwork

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
LARGE = {"mss": 1460}
LARGE_SACK = {"mss": 1460, "sack_ok": True}


def transfer(size, config, *, at=None, **link):
    """Send through a link; (how long it took, the host's largest segment, its counters)."""
    with VirtualNetwork(seed=3, limit="1h") as net:
        a = net.host("10.0.0.1", tcp=config)
        b = net.host("10.0.9.1", tcp=TcpConfig(receive_buffer=(4096, 262144, 262144)))
        near, far = net.router("10.0.5.1"), net.router("10.0.6.1")
        net.link(a, near, delay="2ms")
        wire = net.link(near, far, **({"delay": "5ms", "rate": "50Mbit/s"} | link))
        net.link(far, b, delay="2ms")
        if at is not None:
            net.at(at[0], lambda: wire.set(**at[1]))

        def receive():
            with b.create_server(("10.0.9.1", 80)) as listener:
                connection, _ = listener.accept()
                got = 0
                while data := connection.recv(1 << 20):
                    got += len(data)
                connection.close()
                return got

        server = net.spawn(receive)
        net.sleep(0)
        with a.create_connection(("10.0.9.1", 80)) as client:
            client.sendall(bytes(size))
            client.shutdown(1)
            assert server.result() == size
            return net.now, client.tcp_info().snd_mss, Counter(a.counters())


# Black holes


def stalled(**config):
    """A connection whose text is not acknowledged any more."""
    peer = accepted(rtt=10 * MS, options=LARGE, **config)
    peer.socket.send(bytes(1460))
    peer.drop()
    return peer


def sizes_sent(peer, seconds):
    """Lengths of segments in that time, without repetition."""
    sizes = []
    end = peer.host.now + seconds * SECOND
    while peer.state != "CLOSED" and peer.host.deadline is not None and peer.host.deadline <= end:
        peer.step()
        sizes += [s.length for s in peer.drop()]
    return [size for at, size in enumerate(sizes) if at == 0 or sizes[at - 1] != size]


def test_repeated_timeouts_make_segments_smaller():
    """RFC 4821 section 7.7, as Linux: first base_mss, then a half each time, down to the floor."""
    peer = stalled(mtu_probing=1, mtu_probe_floor=100)
    assert sizes_sent(peer, 600) == [1460, 1024, 512, 256, 128, 100]
    assert peer.host.counters["tcp_black_holes"] > 4


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        ({"mtu_probing": 0}, [1460]),
        ({"mtu_probing": 1, "base_mss": 700}, [1460, 700, 350, 175, 87, 48]),
        ({"mtu_probing": 1, "min_snd_mss": 600}, [1460, 1024, 600]),
        ({"mtu_probing": 2, "mtu_probe_floor": 300}, [1460, 512, 300]),
    ],
)
def test_the_steps_are_configured(config, sizes):
    """As Linux's tcp_base_mss, tcp_min_snd_mss, tcp_mtu_probe_floor."""
    assert sizes_sent(stalled(**config), 600) == sizes


def test_a_few_timeouts_are_no_black_hole():
    """RFC 1122 section 4.2.3.5: not before R1; as Linux, three seconds with tcp_retries1 of 3."""
    peer = stalled(mtu_probing=1)
    peer.advance(3 * SECOND)
    assert "tcp_black_holes" not in peer.host.counters
    peer.advance(5 * SECOND)
    assert peer.host.counters["tcp_black_holes"] == 1


def test_what_a_smaller_peer_takes_is_never_exceeded():
    peer = accepted(rtt=10 * MS, options={"mss": 600}, mtu_probing=2)
    peer.socket.send(bytes(100_000))
    peer.advance(10 * SECOND)
    assert max(s.length for s in peer.drop()) == 600


@pytest.mark.parametrize("mode", [1, 2])
@pytest.mark.parametrize("mtu", [1400, 900, 576])
def test_a_transfer_through_a_black_hole_ends(mode, mtu):
    """RFC 4821 section 1: no message ever says that the packets are too large."""
    took, mss, _ = transfer(300_000, TcpConfig(mtu_probing=mode), mtu=mtu, oversize="drop")
    assert took < 40
    assert mss <= mtu - 52
    if mtu == 1400:
        # It has gone up again, as far as the path goes.
        assert took < 10
        assert mss >= mtu - 52 - 8 - 40


def test_a_path_that_becomes_a_black_hole_is_survived():
    took, mss, counters = transfer(
        20_000_000, TcpConfig(mtu_probing=1), at=(1.0, {"mtu": 1300, "oversize": "drop"})
    )
    assert took < 20
    assert counters["tcp_black_holes"] == 1
    assert 1200 < mss <= 1248


# The search


def test_the_search_grows_to_the_path():
    """RFC 4821 section 7.3: by halves, until the bounds are within probe_threshold."""
    _, mss, counters = transfer(2_000_000, TcpConfig(mtu_probing=2))
    assert 1440 <= mss <= 1448
    assert 4 <= counters["tcp_mtu_probes"] <= 10
    assert counters["tcp_mtu_probes_failed"] == 0
    assert counters["tcp_retransmitted_segments"] == 0


def test_a_probe_that_is_lost_costs_nothing_but_itself():
    """RFC 4821 section 7.6.2: no congestion."""
    took, mss, counters = transfer(2_000_000, TcpConfig(mtu_probing=2), mtu=1300, oversize="drop")
    assert 1240 <= mss <= 1248
    assert counters["tcp_mtu_probes_failed"] > 0
    assert counters["tcp_timeouts"] == counters["tcp_recoveries"] == 0
    assert took < 2


def test_a_path_that_has_become_wider_is_found():
    """RFC 4821 section 7.3: after probe_interval the search begins again, not before."""
    narrow = {"mtu": 1300, "oversize": "drop"}
    for interval, least, most in ((0.7, 1440, 1448), (600, 1240, 1248)):
        config = TcpConfig(mtu_probing=2, probe_interval=interval)
        _, mss, _ = transfer(8_000_000, config, at=(0.4, {"mtu": 1500}), **narrow)
        assert least <= mss <= most


def test_probe_threshold_ends_the_search():
    """As Linux's tcp_probe_threshold."""
    _, mss, counters = transfer(2_000_000, TcpConfig(mtu_probing=2, probe_threshold=300))
    assert counters["tcp_mtu_probes"] == 1
    assert 1200 < mss < 1300


def probing(family=IPV4, options=LARGE_SACK, window=60000, **config):
    """Opened by the host with a window large enough to probe; text waits to be sent."""
    config = {"mtu_probing": 2, "initial_window": 12} | config
    peer = connected(family, rtt=10 * MS, options=options, **config)
    peer.window = window
    peer.inject("A")
    return peer


@both
@pytest.mark.parametrize("options", [LARGE, LARGE | {"ts": True}], ids=["plain", "timestamps"])
def test_a_probe_is_half_way_between_what_arrives_and_what_is_allowed(family, options):
    """RFC 4821 section 7.5.1 and Linux's tcp_mtu_probe; base_mss counts text only."""
    peer = probing(family, options)
    peer.socket.send(bytes(30_000))
    first, second = peer.drop()[:2]
    fixed = (60 if family is IPV6 else 40) + (12 if "ts" in options else 0)
    most = min(1460 + fixed - (12 if "ts" in options else 0), 1500)
    assert first.length == (1024 + fixed + most) // 2 - fixed
    assert second.length == 1024


@pytest.mark.parametrize(
    ("config", "size", "window"),
    [
        ({"initial_window": 10}, 30_000, 60_000),  # the window is small
        ({}, 5000, 60_000),  # too little text to notice a loss
        ({}, 30_000, 5000),  # the peer's window has no room for it
        ({"mtu_probing": 1}, 30_000, 60_000),  # nothing is wrong
    ],
)
def test_only_in_good_times_is_a_probe_sent(config, size, window):
    """RFC 4821 section 7.4."""
    peer = probing(window=window, **config)
    peer.socket.send(bytes(size))
    peer.drop()
    assert "tcp_mtu_probes" not in peer.host.counters


def test_no_probe_during_recovery():
    """RFC 4821 section 7.4: nothing else must be wrong."""
    peer = probing(options=LARGE_SACK)
    peer.socket.send(bytes(5 * 1024))
    peer.drop()
    peer.inject("A", ack=1, sack=[(1025, 5121)])
    peer.socket.send(bytes(30_000))
    peer.drop()
    assert "tcp_mtu_probes" not in peer.host.counters


@pytest.mark.parametrize("options", [LARGE, LARGE_SACK], ids=["plain", "sack"])
def test_a_lost_probe_is_sent_again_in_parts_and_the_window_stays(options):
    """RFC 4821 section 7.6.2."""
    peer = probing(options=options)
    before = peer.tcb.cwnd
    peer.socket.send(bytes(30_000))
    probe, *others = peer.drop()
    for segment in others[:4]:
        peer.advance(MS)
        if "sack_ok" in options:
            peer.inject("A", ack=1, sack=[(others[0].seq, segment.end)])
        else:
            peer.inject("A", ack=1)
    peer.advance(5 * MS)
    again = [s for s in peer.drop() if s.seq < probe.end]
    assert [s.length for s in again] == [1024, probe.length - 1024]
    assert peer.tcb.cwnd == before
    assert peer.host.counters["tcp_mtu_probes_failed"] == 1
    assert "tcp_recoveries" not in peer.host.counters


def test_a_probe_that_is_sent_again_proves_nothing():
    """As Linux: after a timeout the probe is inconclusive."""
    peer = probing()
    peer.socket.send(bytes(30_000))
    probe = peer.drop()[0]
    peer.advance(SECOND)
    peer.drop()
    peer.inject("A", ack=probe.end)
    assert peer.tcb.smss == 1024


def test_a_router_that_names_the_mtu_ends_the_search_above_it():
    """RFC 4821 section 7.6.2 with RFC 1191: a message is believed if it is there."""
    peer = probing(options=LARGE_SACK)
    peer.socket.send(bytes(30_000))
    probe = peer.drop()[0]
    assert probe.length == 1242
    peer.error("too big", probe, mtu=1200)
    again = peer.drop()
    assert [s.length for s in again[:2]] == [1024, probe.length - 1024]
    assert peer.tcb.smss == 1024
    peer.inject("A")
    peer.drain()
    peer.socket.send(bytes(60_000))
    peer.drain()
    assert 1024 < peer.tcb.smss <= 1160


def test_trains_and_probes_go_together():
    """What follows the probe leaves as trains of the old size."""
    peer = probing()
    peer.socket.send(bytes(30_000))
    peer.host.take(cut=False)
    assert peer.host.counters["tcp_mtu_probes"] == 1


def test_a_connection_that_does_not_search_has_no_state_for_it():
    peer = accepted(options=FULL)
    assert not peer.tcb.searching
    assert accepted(options=TIMESTAMPS, mtu_probing=2).tcb.searching
