"""The user timeout option: told, heard, adopted within limits (RFC 5482)."""

from __future__ import annotations

import struct

import pytest
from scenario.peer import FULL, MS, SECOND
from scenario.tcp_states import accepted, alone, connected, connecting, listening
from scenario.tcp_wire import FAMILIES, IPV4

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
IPPROTO_TCP, TCP_USER_TIMEOUT = 6, 18
MINUTES = 0x8000
ON = {"user_timeout_option": True}


def option(value: int) -> dict[str, object]:
    return {"raw": struct.pack("!BBH", 28, 4, value)}


def told(segment) -> int | None:
    value = segment.options.get("28")
    return None if value is None else struct.unpack("!H", value)[0]


def heard(value, **config):
    """The user timeout (s) of a connection whose peer has told its own."""
    peer = accepted(**(ON | config))
    peer.inject("A", options=option(value))
    return peer.tcb.user_timeout_ms / 1000


# Sending


@both
def test_the_syn_and_the_first_segment_after_it_tell_our_timeout(family):
    """Section 3.2: twice, because with SYN cookies the first is lost."""
    peer = connecting(family, options=FULL, **ON)
    syn = peer.expect_syn()
    assert told(syn) == 300
    peer.inject("SA", seq=0, ack=1, options=peer.syn_options())
    peer.timestamps = True
    assert told(peer.expect("A")) == 300
    peer.socket.send(b"x")
    assert told(peer.expect("A")) is None


def test_a_listener_tells_it_too():
    peer = listening(**ON)
    assert told(peer.open()) == 300
    peer.inject("A", data=b"x")
    peer.advance(40 * MS)
    assert told(peer.expect("A", ack=2)) == 300


def test_nothing_is_told_or_heard_by_default():
    """As Linux."""
    peer = connecting()
    assert told(peer.expect_syn()) is None
    peer = accepted()
    peer.inject("A", options=option(200))
    assert peer.tcb.user_timeout_ms == 0


@pytest.mark.parametrize(
    ("ms", "value"),
    [(1, 1), (1000, 1), (1001, 2), (32767_000, 32767), (32768_000, MINUTES | 547)],
)
def test_who_has_set_a_timeout_tells_that(ms, value):
    """Sections 3.1 and 3.3: ADV_UTO; in seconds if they fit, never zero."""
    peer = alone(**ON)
    peer.socket = peer.host.tcp()
    peer.socket.set_option(IPPROTO_TCP, TCP_USER_TIMEOUT, ms)
    peer.socket.connect(peer.remote, peer.port)
    assert told(peer.expect_syn()) == value


def test_a_change_is_told_with_the_next_segment():
    """Section 3.2."""
    peer = connected(**ON)
    peer.socket.set_option(IPPROTO_TCP, TCP_USER_TIMEOUT, 5000)
    peer.expect_nothing()
    peer.socket.send(bytes(1500))
    first, second = peer.drop()
    assert told(first) == 5
    assert first.length <= 996  # RFC 6691 section 2: options make room
    assert told(second) in (None, 5)


# Receiving


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (200, 300),  # ours is longer
        (1000, 1000),
        (MINUTES | 20, 1200),
        (32767, 3600),  # the upper limit
        (MINUTES | 0x7FFF, 3600),
    ],
)
def test_the_longer_of_both_is_adopted_within_limits(value, seconds):
    """Section 3.1: USER_TIMEOUT = min(U_LIMIT, max(ADV_UTO, REMOTE_UTO, L_LIMIT))."""
    assert heard(value) == seconds


def test_the_limits_are_configured():
    short = {"user_timeout_advertised": SECOND}
    assert heard(2, **short) == 100
    assert heard(2, **short, user_timeout_least=SECOND) == 2
    assert heard(2, **short, user_timeout_least=SECOND, user_timeout_most=SECOND) == 1


@pytest.mark.parametrize("value", [0, MINUTES])
def test_zero_is_reserved(value):
    """Section 3.4."""
    assert heard(value) == 0


def test_the_applications_choice_stands():
    """Section 3.1: CHANGEABLE is false; until it is taken back."""
    peer = accepted(**ON)
    peer.socket.set_option(IPPROTO_TCP, TCP_USER_TIMEOUT, 5000)
    peer.inject("A", options=option(1000))
    assert peer.tcb.user_timeout_ms == 5000
    peer.socket.set_option(IPPROTO_TCP, TCP_USER_TIMEOUT, 0)
    peer.inject("A", options=option(1000))
    assert peer.tcb.user_timeout_ms == 1_000_000


def test_a_later_option_replaces_an_earlier_one():
    peer = accepted(**ON)
    for value in (1000, 500):
        peer.inject("A", options=option(value))
    assert peer.tcb.user_timeout_ms == 500_000


def test_an_option_of_a_syn_counts():
    """Section 3.2."""
    peer = listening(**ON)
    peer.options = peer.options | option(900)
    peer.handshake()
    assert peer.tcb.user_timeout_ms == 900_000


def test_an_option_out_of_the_window_does_not():
    """Section 5: an attacker must hit the window, as with everything."""
    peer = accepted(**ON)
    peer.inject("A", seq=1_000_000, options=option(1000))
    assert peer.tcb.user_timeout_ms == 0


def test_what_was_adopted_decides_when_a_connection_ends():
    """Section 3.1, RFC 9293 section 3.8.3: it takes the place of R2."""
    peer = accepted(IPV4, user_timeout_advertised=SECOND, user_timeout_least=SECOND, **ON)
    peer.inject("A", options=option(30))
    peer.socket.send(b"x")
    peer.advance(29 * SECOND)
    assert peer.state == "ESTABLISHED"
    peer.advance(2 * SECOND)
    assert peer.state == "CLOSED"
    peer.drop()
