"""What an idle connection costs: no rings, no timer, no packet; and what is left of a dead one."""

from __future__ import annotations

import pytest
from scenario.peer import FULL, MS, PLAIN, SECOND
from scenario.tcp_states import SYNCHRONIZED, accepted, connected, in_state, listening
from scenario.tcp_wire import FAMILIES

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
either = pytest.mark.parametrize("options", [PLAIN, FULL], ids=["plain", "full"])


def is_idle(peer):
    """Nothing is allocated beside the control block, and nothing will happen."""
    peer.advance(300 * SECOND)
    peer.expect_nothing()
    tcb = peer.tcb
    return (tcb.ring_memory, tcb.awake, peer.host.deadline, peer.host.live_packets) == (
        0,
        False,
        None,
        0,
    )


@both
@either
def test_a_new_connection_holds_nothing(family, options):
    assert is_idle(accepted(family, options=options))
    assert is_idle(connected(family, options=options))


@both
@either
def test_after_sending_nothing_is_held(family, options):
    peer = accepted(family, options=options)
    for size in (1, 1000, 9000):
        peer.send(size)
    assert is_idle(peer)


@both
@either
def test_after_receiving_and_reading_nothing_is_held(family, options):
    peer = accepted(family, options=options)
    for size in (1, 1000, 9000):
        peer.inject("A", data=bytes(size))
        peer.advance(100 * MS)
        peer.socket.receive()
        peer.drop()
    assert is_idle(peer)


@either
def test_after_reordering_nothing_is_held(options):
    peer = accepted(options=options)
    for seq in (2001, 1001, 1):
        peer.inject("A", seq=seq, data=bytes(1000))
    assert len(peer.socket.receive()) == 3000
    peer.drop()
    assert is_idle(peer)


@either
def test_after_losses_nothing_is_held(options):
    peer = accepted(options=options, rtt=10 * MS)
    for _ in range(3):
        base = peer.rcv_nxt
        peer.socket.send(bytes(9000))
        peer.drop()
        for n in range(1, 5):
            sack = [(base + 1000, base + 1000 * (n + 1))] if "sack_ok" in options else None
            peer.inject("A", ack=base, sack=sack)
        peer.advance(peer.socket.rto)
        peer.drain()
    assert peer.rcv_nxt == 27_001
    tcb = peer.tcb
    assert (tcb.sacked_out, tcb.lost_out, tcb.retrans_out) == (0, 0, 0)
    assert is_idle(peer)


@pytest.mark.parametrize("state", ["CLOSE-WAIT", "FIN-WAIT-2", "TIME-WAIT"])
def test_a_half_closed_connection_holds_nothing(state):
    peer = in_state(state)
    peer.advance(SECOND)
    assert (peer.tcb.ring_memory, peer.tcb.busy) == (0, False)


def test_after_a_closed_window_nothing_is_held():
    peer = accepted(rtt=10 * MS)
    peer.inject("A", window=0)
    peer.socket.send(bytes(1000))
    peer.step()
    peer.drop()
    peer.inject("A")
    peer.drop()
    peer.inject("A")
    assert is_idle(peer)


def test_ten_thousand_idle_connections_cost_no_wake_up():
    """design.md: an idle connection costs its control block."""
    peer = listening(backlog=4096)
    for port in range(1, 501):
        other = peer.sibling(port)
        other.handshake()
        peer.peers.remove(other)
        assert peer.listener.accept()
    peer.advance(100 * SECOND)
    assert peer.host.deadline is None
    assert peer.host.live_packets == 0
    assert peer.host.connections == 501


@pytest.mark.parametrize("state", SYNCHRONIZED)
def test_timers_never_fire_more_often_than_they_do_something(state):
    """No 1 kHz spin: each wake-up sends, ends something, or moves the timer by a long way."""
    peer = in_state(state)
    if state in ("ESTABLISHED", "CLOSE-WAIT"):
        peer.socket.send(bytes(100))
    peer.socket.close()
    peer.drop()
    wakes = 0
    while peer.host.deadline is not None:
        peer.step()
        wakes += 1
        assert wakes < 40
    assert peer.state == "CLOSED"
    assert wakes <= len(peer.drop()) + 3


@both
def test_a_closed_stack_has_nothing_left(family):
    peer = accepted(family, options=FULL)
    peer.send(5000)
    peer.inject("A", data=bytes(5000))
    peer.socket.receive()
    peer.socket.close()
    peer.drop()
    peer.inject("FA")
    peer.drop()
    peer.listener.close()
    peer.advance(61 * SECOND)
    assert peer.host.connections == 0
    assert peer.host.deadline is None
    assert peer.host.live_packets == 0
