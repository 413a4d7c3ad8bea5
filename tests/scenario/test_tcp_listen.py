"""Listening: half-open connections and their bound, SYN cookies, the accept queue, closing."""

from __future__ import annotations

import pytest
from native.core import CallError
from scenario.peer import FULL, PLAIN, SECOND, TIMESTAMPS
from scenario.tcp_states import listening
from scenario.tcp_wire import FAMILIES

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def flood(peer, count, first=1024):
    """SYNs from many ports that never go on; the answers' peers."""
    peers = [peer.sibling(port) for port in range(first, first + count)]
    for other in peers:
        other.inject("S", seq=0, options=other.syn_options())
    return peers


def flooded(family=FAMILIES[0], **config):
    """A listener whose queue of half-open connections is full."""
    peer = listening(family, max_syn_backlog=8, **config)
    for other in flood(peer, 8):
        other.expect("SA")
    assert "tcp_syn_cookies_sent" not in peer.host.counters
    return peer


# Half-open connections


@both
def test_half_open_connections_are_bounded(family):
    """RFC 4987 section 3: a flood costs a known amount of memory, and nobody is turned away."""
    peer = flooded(family)
    for other in flood(peer, 500, first=2000):
        other.expect("SA", ack=1)
    assert peer.host.connections == 1 + 8
    assert peer.host.counters["tcp_syn_cookies_sent"] == 500


def test_without_cookies_a_full_queue_drops_the_syn():
    peer = flooded(syn_cookies=False)
    peer.inject("S", seq=0)
    peer.expect_nothing()
    assert peer.host.counters["tcp_drop_backlog_full"] == 1


def test_a_small_backlog_bounds_the_half_open_too():
    """As Linux: a listener's SYN queue is no longer than its accept queue, but for a few."""
    peer = listening(backlog=1)
    flood(peer, 20)
    peer.collect()
    assert peer.host.connections == 1 + 8


def test_half_open_connections_make_room_when_they_time_out():
    """Seconds after the flood the listener keeps state again."""
    peer = flooded()
    peer.advance(100 * SECOND)
    peer.open()
    assert peer.state == "SYN-RECEIVED"
    assert peer.host.connections == 2


def test_a_reset_takes_a_half_open_connection_back():
    """RFC 9293 section 3.10.7.4 second: to LISTEN, and nobody is told."""
    peer = listening()
    peer.open()
    peer.host.take_ready()
    peer.inject("R", seq=1)
    peer.expect_nothing()
    assert peer.host.connections == 1
    assert peer.host.take_ready() == []
    assert peer.listener.accept() is None


# SYN cookies


@both
@pytest.mark.parametrize("options", [PLAIN, FULL, TIMESTAMPS], ids=["plain", "full", "timestamps"])
def test_a_cookie_becomes_a_connection(family, options):
    """RFC 4987 section 3.6."""
    peer = flooded(family, options=options)
    peer.handshake()
    assert peer.host.counters["tcp_syn_cookies_accepted"] == 1
    peer.socket = peer.listener.accept()
    peer.inject("A", data=b"hello")
    peer.expect("A", seq=1, ack=6)
    assert peer.socket.receive() == b"hello"
    peer.socket.send(b"world")
    assert peer.expect("A", seq=1).data == b"world"


def test_the_last_ack_may_carry_text_and_fin_to_a_cookie():
    peer = flooded()
    peer.open()
    peer.inject("FA", data=b"GET /")
    peer.expect_delayed("A", ack=7)
    assert peer.listener.accept().receive() == b"GET /"
    assert peer.state == "CLOSE-WAIT"


def test_options_travel_through_the_timestamp():
    """As in Linux: nothing else of the SYN is remembered."""
    peer = flooded(options=FULL)
    peer.handshake()
    socket = peer.listener.accept()
    assert (socket.snd_scale, socket.rcv_scale) == (7, 7)
    assert socket.sack_ok
    assert socket.timestamps_ok
    peer = flooded(options={"mss": 1000, "ts": True})
    peer.handshake()
    socket = peer.listener.accept()
    assert (socket.snd_scale, socket.rcv_scale, socket.sack_ok) == (0, 0, False)
    assert socket.timestamps_ok


def test_timestamps_go_on_where_the_cookie_began():
    """RFC 7323 section 5.4: they never go back within a connection."""
    peer = flooded(options=FULL)
    peer.advance(63_000_000)
    cookie = peer.open()
    assert cookie.ts[1] == peer.ts_val
    peer.inject("A", data=b"x")
    assert 0 <= peer.expect("A").ts[0] - cookie.ts[0] <= 64


def test_without_timestamps_a_cookie_offers_no_other_options():
    peer = flooded(options={"mss": 1000, "sack_ok": True, "wscale": 7})
    assert list(peer.open().options) == ["mss"]
    peer.inject("A")
    socket = peer.listener.accept()
    assert (socket.snd_scale, socket.rcv_scale, socket.sack_ok) == (0, 0, False)


@pytest.mark.parametrize(
    ("mss", "remembered"), [(100, 536), (536, 536), (1300, 1220), (1450, 1440), (9000, 1460)]
)
def test_a_cookie_remembers_the_mss_roughly(mss, remembered):
    peer = flooded(options={"mss": mss})
    peer.handshake()
    assert peer.listener.accept().smss == remembered


def test_a_forged_cookie_is_rejected():
    """RFC 4987 section 3.6: without the SYN-ACK nobody gets in."""
    peer = flooded()
    for other in flood(peer, 2, first=2000):
        other.drop()
    for guess in range(1, 200):
        peer.inject("A", seq=1, ack=guess * 20_000_003)
        peer.expect("R", seq=guess * 20_000_003 % 2**32)
    assert peer.host.counters["tcp_drop_bad_cookie"] == 199
    assert peer.host.connections == 9


@both
def test_a_cookie_serves_only_the_four_tuple_and_isn_that_it_was_made_for(family):
    peer = flooded(family)
    peer.open()
    thief = peer.sibling(port=55555)
    thief.irs = peer.irs
    thief.inject("A", seq=1, ack=1)
    thief.expect("R")
    peer.inject("A", seq=2, ack=1)
    peer.expect("R")
    peer.inject("A", seq=1, ack=1)
    peer.expect_nothing()
    assert peer.state == "ESTABLISHED"


@pytest.mark.parametrize(("seconds", "accepted"), [(60, True), (200, False)])
def test_a_cookie_is_valid_for_a_minute_or_two(seconds, accepted):
    peer = flooded()
    peer.open()
    peer.advance(seconds * SECOND)
    peer.inject("A", seq=1, ack=1)
    assert (peer.state == "ESTABLISHED") == accepted


def test_who_never_sent_cookies_believes_none():
    """No hash is computed for stray ACKs unless a flood has been on."""
    peer = listening()
    peer.inject("A", seq=1, ack=12345)
    peer.expect("R", seq=12345)
    assert "tcp_drop_bad_cookie" not in peer.host.counters


def test_during_a_flood_established_connections_go_on():
    peer = listening(max_syn_backlog=8)
    peer.handshake()
    peer.socket = peer.listener.accept()
    flood(peer, 100)
    peer.inject("A", data=b"still here")
    peer.expect("A", ack=11)
    assert peer.socket.receive() == b"still here"


def test_a_cookie_for_a_full_accept_queue_is_refused():
    peer = flooded(backlog=8)
    waiting = [peer.sibling(port) for port in range(3000, 3009)]
    for other in waiting:
        other.handshake()
    late = peer.sibling(port=3100)
    late.inject("S", seq=0)
    late.expect_nothing()
    assert peer.host.counters["tcp_drop_backlog_full"] == 1


@both
def test_a_cookie_that_comes_to_a_full_accept_queue_is_taken_later(family):
    """As Linux: whoever sends it is connected already, so it is dropped, not reset."""
    peer = flooded(family, backlog=8)
    others = [peer.sibling(port) for port in range(3000, 3010)]
    for other in others:
        other.open()
    for other in others:
        other.inject("A")
        other.expect_nothing()
    late = others[-1]
    late.inject("A", data=b"hello")
    late.expect_nothing()
    assert late.state == "CLOSED"
    assert peer.host.counters["tcp_drop_backlog_full"] == 2
    assert peer.listener.accept() is not None
    late.inject("A", seq=1, data=b"hello")
    late.expect("A", ack=6)
    assert late.state == "ESTABLISHED"


def test_cookies_can_be_all_that_there_is():
    """tcp_syncookies = 2: nothing is kept of any SYN, however few there are."""
    peer = listening(syn_cookies=2)
    answer = peer.open()
    assert peer.host.connections == 1
    peer.advance(10 * SECOND)
    peer.expect_nothing()  # what nothing is kept of cannot be repeated
    peer.inject("A", data=b"hello")
    peer.expect("A", ack=6)
    assert answer.options.keys() == {"mss"}
    assert peer.listener.accept().receive() == b"hello"


def test_who_returns_from_time_wait_needs_no_cookie():
    """As Linux with tcp_syncookies = 2: the peer is known."""
    peer = listening(syn_cookies=2)
    peer.handshake()
    peer.socket = peer.listener.accept()
    peer.socket.shutdown(1)
    peer.expect("FA")
    peer.inject("FA")
    peer.expect("A")
    assert peer.state == "TIME-WAIT"
    peer.inject("S", seq=100_000, options=PLAIN)
    peer.expect("SA")
    assert peer.state == "SYN-RECEIVED"
    assert peer.host.counters["tcp_syn_cookies_sent"] == 1


def test_a_cookie_announces_what_a_listener_without_cookies_does():
    """RFC 9293 section 3.7.1."""
    peer = listening(syn_cookies=2, advertised_mss=900)
    assert peer.open().options["mss"] == 900


# The accept queue


def test_connections_are_accepted_in_the_order_of_their_completion():
    peer = listening()
    first, second = peer.sibling(1), peer.sibling(2)
    first.open()
    second.handshake()
    first.inject("A")
    accepted = [peer.listener.accept(), peer.listener.accept()]
    assert [socket.irs for socket in accepted] == [second.iss, first.iss]
    ports = [peer.host.find(p.local, 80, p.remote, p.port).identity for p in (second, first)]
    assert [socket.identity for socket in accepted] == ports


def test_a_full_accept_queue_drops_the_last_ack_and_takes_it_later():
    """As Linux: backlog + 1 wait; the SYN-ACK is repeated, and so is the ACK."""
    peer = listening(backlog=1)
    others = [peer.sibling(port) for port in (1, 2, 3)]
    for other in others:
        other.open()
    for other in others:
        other.inject("A")
    assert [other.state for other in others] == ["ESTABLISHED", "ESTABLISHED", "SYN-RECEIVED"]
    assert peer.listener.accept() is not None
    late = others[2]
    late.advance(1 * SECOND)
    late.expect("SA")
    late.inject("A")
    assert late.state == "ESTABLISHED"


def test_a_full_accept_queue_may_reset():
    """tcp_abort_on_overflow: the peer learns that nobody has time."""
    peer = listening(backlog=0, abort_on_overflow=True)
    others = [peer.sibling(port) for port in (1, 2)]
    for other in others:
        other.open()
    for other in others:
        other.inject("A")
    others[0].expect_nothing()
    others[1].expect("R", seq=1)
    assert [other.state for other in others] == ["ESTABLISHED", "CLOSED"]


def test_a_deferred_accept_gives_up_silently():
    """TCP_DEFER_ACCEPT without an answer to the last SYN-ACKs: as any half-open connection."""
    peer = listening(synack_retries=1)
    peer.listener.set_option(6, 9, 1)
    peer.open()
    peer.inject("A")
    assert peer.state == "SYN-RECEIVED"
    peer.advance(10 * SECOND)
    assert [segment.flags for segment in peer.drop()] == ["SA"]
    assert peer.state == "CLOSED"


@pytest.mark.parametrize(("least", "smss"), [(48, 60), (500, 500)])
def test_a_peer_cannot_ask_for_segments_below_a_least(least, smss):
    """tcp_min_snd_mss: small segments only serve to exhaust us."""
    peer = listening(min_snd_mss=least, options={"mss": 60})
    peer.handshake()
    peer.socket = peer.listener.accept()
    peer.socket.send(bytes(1000))
    assert peer.drop()[0].length == smss


def test_a_full_accept_queue_drops_syns():
    """As Linux: the client tries again."""
    peer = listening(backlog=0)
    peer.sibling(1).handshake()
    peer.inject("S", seq=0)
    peer.expect_nothing()
    peer.listener.accept()
    peer.inject("S", seq=0)
    peer.expect("SA")


def test_text_that_came_before_accept_is_there():
    peer = listening()
    peer.handshake()
    peer.inject("A", data=b"early")
    peer.expect("A", ack=6)
    assert peer.listener.accept().receive() == b"early"


@both
def test_a_connection_that_died_in_the_queue_is_never_accepted(family):
    peer = listening(family)
    dead, alive = peer.sibling(1), peer.sibling(2)
    dead.handshake()
    alive.handshake()
    dead.inject("R")
    dead.expect_nothing()
    assert peer.host.connections == 2
    socket = peer.listener.accept()
    assert socket.identity == alive.tcb.identity
    assert peer.listener.accept() is None
    assert not peer.listener.poll()


def test_a_connection_that_the_peer_has_closed_is_still_accepted():
    """Its text and its end are there to be read."""
    peer = listening()
    peer.handshake()
    peer.inject("FA", data=b"last words")
    socket = peer.listener.accept()
    assert socket.receive() == b"last words"
    assert socket.receive() == b""


# Settings and the end


def test_children_inherit_the_listeners_settings():
    """As Linux: what was set before accept holds from the first segment."""
    peer = listening()
    for level, option, value in ((6, 1, 1), (6, 4, 33), (1, 9, 1), (1, 13, 5), (6, 18, 7000)):
        peer.listener.set_option(level, option, value)
    peer.handshake()
    socket = peer.listener.accept()
    assert [socket.get_option(*o) for o in ((6, 1), (6, 4), (1, 9), (1, 13), (6, 18))] == [
        1, 33, 1, 5, 7000,
    ]  # fmt: skip


@both
def test_closing_a_listener_resets_its_children(family):
    """RFC 9293 section 3.10.4; as Linux what nobody has accepted is reset."""
    peer = listening(family)
    half_open, waiting, accepted = peer.sibling(1), peer.sibling(2), peer.sibling(3)
    accepted.handshake()
    socket = peer.listener.accept()
    half_open.open()
    waiting.handshake()
    peer.listener.close()
    half_open.expect("RA", seq=1, ack=1)
    waiting.expect("RA", seq=1, ack=1)
    accepted.expect_nothing()
    assert socket.state == "ESTABLISHED"
    assert peer.host.connections == 1
    peer.inject("S", seq=0)
    peer.expect("RA", ack=1)


def test_a_second_listen_changes_the_backlog():
    peer = listening(backlog=0)
    peer.listener.listen(5)
    for port in range(1, 5):
        peer.sibling(port).handshake()
    assert peer.host.connections == 5


def test_two_cannot_listen_at_one_address_and_port():
    peer = listening()
    second = peer.host.tcp()
    with pytest.raises(CallError):
        second.bind(peer.local, 80)


def test_the_exact_address_wins_over_the_wildcard():
    peer = listening()
    peer.listener.set_option(1, 2, 1)
    everywhere = peer.host.tcp()
    everywhere.set_option(1, 2, 1)
    everywhere.bind("0.0.0.0", 80)
    everywhere.listen(5)
    peer.handshake()
    other = peer.sibling(5)
    other.local = "10.0.0.9"
    other.handshake()
    assert peer.listener.accept() is not None
    assert everywhere.accept().local == "10.0.0.9"


def test_a_listener_of_all_addresses_of_ipv6_takes_ipv4_too():
    """RFC 3493 sections 3.7 and 5.3, unless V6ONLY."""
    peer = listening(FAMILIES[1])
    both = peer.host.tcp(True)
    both.bind("::", 8080)
    both.listen(5)
    peer.host.add_network("10.0.0.0/24")
    other = peer.sibling(5, FAMILIES[0], local_port=8080)
    other.handshake()
    assert both.accept() is not None
