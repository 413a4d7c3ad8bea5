"""What is remembered of destinations (RFC 9040), as Linux's tcp_metrics."""

from __future__ import annotations

from scenario.peer import MS, PLAIN, SACK, SECOND
from scenario.tcp_states import accepted, alone, listening

HOUR = 3600 * SECOND
DAY = 24 * HOUR


def finish(peer, rtt=0) -> None:
    """An orderly end, in which the host closes first."""
    peer.socket.shutdown(1)
    peer.drop()
    peer.advance(rtt)
    peer.inject("A")
    peer.inject("FA")
    peer.drop()


def passed(rtt, **config):
    """A connection that has ended, of a path with this round trip."""
    peer = accepted(rtt=rtt, **config)
    finish(peer, rtt)
    assert peer.state == "TIME-WAIT"
    return peer


def again(peer, port, rtt):
    """Another connection of the same two addresses."""
    other = peer.sibling(port)
    other.handshake(rtt)
    other.socket = peer.listener.accept()
    return other


def test_a_longer_round_trip_makes_the_first_rto_of_the_next_connection():
    """RFC 9040 section 8.1; srtt is not seeded, as Linux."""
    peer = passed(200 * MS)
    other = again(peer, 40001, 20 * MS)
    assert other.socket.srtt == 20 * MS
    assert other.socket.rto == 600 * MS


def test_a_shorter_round_trip_counts_by_an_eighth():
    peer = passed(200 * MS)
    finish(again(peer, 40001, 40 * MS), 40 * MS)
    assert peer.host.remembered(peer.socket)["rtt"] == 180 * MS


def test_measurements_are_forgotten_after_an_hour():
    """RFC 9040 section 5: networks change."""
    peer = passed(200 * MS)
    peer.advance(HOUR - MS)
    assert peer.host.remembered(peer.socket)["rtt"] == 200 * MS
    peer.advance(MS)
    assert peer.host.remembered(peer.socket)["rtt"] == 0


def test_a_cookie_is_kept_for_longer():
    """RFC 7413 section 4.1.3: until the server gives another."""
    peer = alone(fastopen=1)
    peer.socket = peer.host.tcp()
    peer.socket.fast_open(peer.remote, peer.port, b"")
    peer.expect_syn()
    peer.inject("SA", seq=0, ack=1, options=PLAIN | {"raw": b"\x22\x0a" + bytes(range(8))})
    peer.expect("A")
    peer.advance(DAY)
    known = peer.host.remembered(peer.socket)
    assert (known["cookie"], known["mss"]) == (bytes(range(8)), 1000)


def test_a_connection_that_ends_in_a_reset_leaves_nothing_behind():
    peer = accepted(rtt=200 * MS)
    peer.inject("RA")
    assert peer.host.metrics == 0


def test_nothing_is_saved_if_that_is_switched_off():
    """TcpConfig.metrics, Linux's tcp_no_metrics_save."""
    assert passed(200 * MS, metrics=False).host.metrics == 0


def test_ssthresh_is_remembered_only_if_asked_for():
    """TcpConfig.metrics_ssthresh, Linux's tcp_no_ssthresh_metrics_save."""
    for asked in (False, True):
        peer = accepted(metrics_ssthresh=asked)
        peer.socket.reduce()
        peer.socket.send(bytes(1000))
        peer.drop()
        peer.inject("A")
        finish(peer)
        assert bool(peer.host.remembered(peer.socket)["ssthresh"]) == asked
        other = again(peer, 40001, 0)
        assert (other.socket.ssthresh < 1 << 30) == asked


def test_reordering_that_was_seen_is_expected():
    """RFC 9040 section 8.1; as Linux, saved by a connection that has not regained its window."""
    peer = accepted(options=SACK, rtt=20 * MS)
    peer.send(10_000, ack=False)
    peer.drop()
    peer.inject("A", ack=1, sack=[(5001, 6001)])
    peer.advance(MS)
    peer.inject("A")
    seen = peer.socket.reordering
    assert seen > 3
    peer.send(1000, ack=False)
    peer.advance(2 * SECOND)  # a timeout: slow start begins anew
    peer.drop()
    peer.inject("A")
    finish(peer, 20 * MS)
    assert peer.host.remembered(peer.socket)["reordering"] == seen
    assert again(peer, 40001, 20 * MS).socket.reordering == seen


def test_what_is_remembered_is_bounded():
    """The least recently used goes: a peer with many addresses cannot grow it."""
    peer = listening(time_wait=MS)
    for i in range(1100):
        other = peer.sibling(40000)
        other.remote = f"198.18.{i // 250}.{i % 250 + 1}"
        other.handshake(MS)
        other.socket = peer.listener.accept()
        finish(other)
        other.socket.close()
        peer.peers.remove(other)
    peer.advance(SECOND)
    assert peer.host.metrics == 1024
