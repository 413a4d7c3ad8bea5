"""Closing: half-close, crossing FINs, lost FINs, orphans, linger, unread data, ABORT."""

from __future__ import annotations

import errno

import pytest
from native.core import CallError, Host
from scenario.peer import FULL, PLAIN, SACK, SECOND
from scenario.tcp_states import (
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    STATES,
    SYNCHRONIZED,
    accepted,
    close,
    connected,
    in_state,
    simultaneous,
)
from scenario.tcp_wire import FAMILIES, FLAGS

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
READ, WRITE, ERROR, HANGUP = 1, 2, 4, 8
LINGER = (1, 13)


def failure(call, *args):
    with pytest.raises(CallError) as error:
        call(*args)
    return error.value.errno


# Orderly, from either end


@both
def test_the_host_closes_first(family):
    """RFC 9293 section 3.6, figure 12."""
    peer = accepted(family)
    peer.socket.shutdown(SHUT_WR)
    peer.expect("FA", seq=1, ack=1)
    assert peer.state == "FIN-WAIT-1"
    peer.inject("A")
    assert peer.state == "FIN-WAIT-2"
    peer.inject("FA")
    peer.expect("A", seq=2, ack=2)
    assert peer.state == "TIME-WAIT"
    peer.advance(60 * SECOND)
    peer.expect_nothing()
    assert peer.state == "CLOSED"


@both
def test_the_peer_closes_first(family):
    """RFC 9293 section 3.6, figure 12."""
    peer = accepted(family)
    peer.inject("FA")
    peer.expect("A", seq=1, ack=2)
    assert peer.state == "CLOSE-WAIT"
    assert peer.socket.receive() == b""
    peer.socket.close()
    peer.expect("FA", seq=1, ack=2)
    assert peer.state == "LAST-ACK"
    peer.inject("A")
    peer.expect_nothing()
    assert peer.state == "CLOSED"


@both
def test_both_close_at_once(family):
    """RFC 9293 section 3.6, figure 13."""
    peer = accepted(family)
    peer.socket.shutdown(SHUT_WR)
    peer.expect("FA", seq=1, ack=1)
    peer.inject("FA", ack=1)
    peer.expect("A", seq=2, ack=2)
    assert peer.state == "CLOSING"
    peer.inject("A")
    assert peer.state == "TIME-WAIT"


def test_one_segment_may_acknowledge_our_fin_and_carry_the_peers():
    """RFC 9293 section 3.10.7.4 eighth: FIN-WAIT-1 to TIME-WAIT."""
    peer = in_state("FIN-WAIT-1")
    peer.inject("FA")
    peer.expect("A", ack=2)
    assert peer.state == "TIME-WAIT"


def test_the_fin_follows_everything_that_was_written():
    """RFC 9293 section 3.10.4: CLOSE is "I have no more data to send"."""
    peer = accepted(options={"mss": 100}, initial_window=2)
    peer.socket.send(b"x" * 500)
    peer.socket.close()
    peer.expect_data((1, 101), (101, 201))
    peer.inject("A")
    *before, last = peer.drop()
    assert all("F" not in s.flags for s in before)
    assert ("F" in last.flags, last.end) == (True, 501)


def test_the_last_text_carries_the_fin():
    peer = accepted()
    peer.socket.send(b"bye")
    peer.socket.close()
    assert peer.expect("FA", seq=1).data == b"bye"
    assert peer.state == "FIN-WAIT-1"


# Half-close


def test_after_our_fin_the_peer_goes_on_sending():
    """RFC 9293 section 3.6: the connection is half closed."""
    peer = in_state("FIN-WAIT-2")
    for n in range(5):
        peer.inject("A", data=bytes([n]) * 100)
    assert peer.socket.receive() == b"".join(bytes([n]) * 100 for n in range(5))
    assert peer.drop()[-1].ack == 501
    peer.inject("FA", data=b"end")
    peer.expect("A", ack=505)
    assert peer.socket.receive() == b"end"
    assert peer.socket.receive() == b""


def test_after_the_peers_fin_we_go_on_sending():
    peer = in_state("CLOSE-WAIT")
    peer.socket.send(b"more")
    assert peer.expect("A", seq=1, ack=2).data == b"more"
    peer.inject("A")
    peer.socket.send(b"and more")
    assert peer.expect("A", seq=5).data == b"and more"


def test_nothing_is_sent_after_shutdown():
    peer = in_state("FIN-WAIT-2")
    assert failure(peer.socket.send, b"x") == errno.EPIPE


def test_what_is_acknowledged_in_fin_wait_1_is_not_yet_the_fin():
    """RFC 9293: only the ACK of the FIN itself leads to FIN-WAIT-2."""
    peer = accepted()
    peer.socket.send(b"abc")
    peer.socket.shutdown(SHUT_WR)
    peer.expect("FA", seq=1)
    peer.inject("A", ack=4)
    assert peer.state == "FIN-WAIT-1"
    peer.inject("A", ack=5)
    assert peer.state == "FIN-WAIT-2"


def test_shutdown_of_reading_discards_and_acknowledges():
    """As Linux: the peer is not told."""
    peer = accepted()
    peer.inject("A", data=b"unread")
    peer.expect("A", ack=7)
    peer.socket.shutdown(SHUT_RD)
    peer.inject("A", data=b"unwanted")
    peer.expect("A", ack=15)
    assert peer.socket.receive() == b""
    assert peer.socket.ring_memory == 0


@pytest.mark.parametrize("state", ["FIN-WAIT-1", "FIN-WAIT-2"])
def test_data_after_shutdown_of_both_resets(state):
    """As after a close (RFC 1122 section 4.2.2.13): nobody will ever read it."""
    peer = accepted()
    peer.socket.shutdown(SHUT_RDWR)
    peer.expect("FA")
    if state == "FIN-WAIT-2":
        peer.inject("A")
    peer.inject("A", data=b"lost")
    peer.expect("R", seq=2)
    assert peer.state == "CLOSED"
    assert failure(peer.socket.send, b"more") == errno.ECONNRESET


def test_shutdown_of_both_still_takes_the_peers_fin():
    peer = accepted()
    peer.socket.shutdown(SHUT_RDWR)
    peer.expect("FA")
    peer.inject("A")
    peer.inject("FA")
    peer.expect("A", ack=2)
    assert peer.state == "TIME-WAIT"


def test_shutdown_gives_up_an_attempt_to_connect():
    """As Linux: the connection is no more, and says so once."""
    peer = in_state("SYN-SENT")
    peer.socket.shutdown(SHUT_WR)
    assert peer.state == "CLOSED"
    assert failure(peer.socket.receive) == errno.ECONNRESET
    assert failure(peer.socket.receive) == errno.ENOTCONN
    assert failure(peer.socket.send, b"text") == errno.EPIPE
    peer.inject("SA", seq=0, ack=1)
    peer.expect("R", seq=1)


@pytest.mark.parametrize("state", ["CLOSED", "TIME-WAIT"])
def test_what_is_not_connected_is_not_shut_down(state):
    peer = in_state(state)
    socket = peer.socket or peer.host.tcp()
    assert failure(socket.shutdown, SHUT_WR) == errno.ENOTCONN


def test_a_listener_that_is_shut_down_listens_no_more():
    """As Linux does it; to shut down writing changes nothing for a listener."""
    peer = in_state("LISTEN")
    peer.listener.shutdown(SHUT_WR)
    peer.inject("S")
    peer.expect("SA")
    peer.listener.shutdown(SHUT_RD)
    peer.expect("RA")
    peer.inject("S")
    peer.expect("RA")


def test_close_in_syn_received_waits_for_the_handshake():
    """RFC 9293 section 3.10.4: queue until ESTABLISHED."""
    peer = simultaneous()
    peer.socket.close()
    peer.expect_nothing()
    peer.inject("A", ack=1)
    peer.expect("FA", seq=1)
    assert peer.state == "FIN-WAIT-1"


def test_close_in_syn_sent_says_nothing():
    """RFC 9293 section 3.10.4: delete the TCB."""
    peer = in_state("SYN-SENT")
    peer.socket.close()
    peer.expect_nothing()
    assert peer.host.connections == 0


# Losses


@pytest.mark.parametrize("state", ["FIN-WAIT-1", "CLOSING", "LAST-ACK"])
def test_a_lost_fin_is_repeated(state):
    """RFC 6298 section 5; the FIN occupies a sequence number."""
    peer = in_state(state)
    rto = peer.socket.rto
    peer.advance(rto)
    peer.expect("FA", seq=1, ack=peer.snd_nxt)
    peer.advance(2 * rto)
    peer.expect("FA", seq=1, ack=peer.snd_nxt)
    peer.inject("A")
    after = {"FIN-WAIT-1": "FIN-WAIT-2", "CLOSING": "TIME-WAIT", "LAST-ACK": "CLOSED"}
    assert peer.state == after[state]


@pytest.mark.parametrize("state", ["CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"])
def test_every_repeated_fin_is_acknowledged(state):
    """RFC 9293 section 3.10.7.4 first: our ACK was lost, perhaps more than once."""
    peer = in_state(state)
    for _ in range(5):
        peer.inject("FA", seq=0 + peer.snd_nxt - 1)
        peer.expect("A", ack=2)
    assert peer.state == state


def test_closing_with_a_lost_final_ack_ends_all_the_same():
    """CLOSING: the peer is in TIME-WAIT and answers our repeated FIN."""
    peer = in_state("CLOSING")
    peer.advance(peer.socket.rto)
    peer.expect("FA")
    peer.inject("A")
    assert peer.state == "TIME-WAIT"


@pytest.mark.parametrize("state", ["CLOSING", "LAST-ACK"])
def test_only_the_ack_of_our_fin_ends_the_wait(state):
    """RFC 9293 section 3.10.7.4 fifth: not any ACK."""
    peer = accepted()
    if state == "CLOSING":
        peer.socket.send(b"last words")
        peer.socket.shutdown(SHUT_WR)
        peer.inject("FA", ack=1)
    else:
        peer.inject("FA", ack=1)
        peer.socket.send(b"last words")
        peer.socket.shutdown(SHUT_WR)
    peer.drop()
    for ack in (1, 5, 11):
        peer.inject("A", ack=ack)
        assert peer.state == state
    peer.inject("A", ack=12)
    assert peer.state == ("TIME-WAIT" if state == "CLOSING" else "CLOSED")


@pytest.mark.parametrize(
    ("options", "reported"),
    [(PLAIN, {}), (SACK, {"sack": [(500, 701)]})],
    ids=["plain", "sack"],
)
def test_text_that_was_held_beyond_the_fin_is_forgotten(options, reported):
    """As Linux: the stream ends where the FIN is (RFC 9293 section 3.10.7.4 eighth)."""
    peer = accepted(options=options)
    peer.inject("A", seq=500, data=bytes(500))
    peer.expect("A", ack=1)
    peer.inject("FA", seq=1, data=bytes(700))
    assert peer.expect("A", ack=702).options == reported
    assert peer.state == "CLOSE-WAIT"
    assert len(peer.socket.receive(2000)) == 700
    assert peer.socket.receive() == b""


def test_text_that_was_held_beyond_a_fin_beyond_a_hole_is_forgotten():
    """As Linux: the same when the hole before them is filled."""
    peer = accepted()
    peer.inject("FA", seq=500, data=bytes(100))
    peer.expect("A", ack=1)
    peer.inject("A", seq=600, data=bytes(100))
    peer.expect("A", ack=1)
    peer.inject("A", seq=1, data=bytes(499))
    peer.expect("A", ack=601)
    assert peer.state == "CLOSE-WAIT"
    assert len(peer.socket.receive(2000)) == 599


def test_a_fin_that_overtakes_text_waits_for_it():
    """RFC 9293 section 3.10.7.4 (SHLD-31): held, not dropped."""
    peer = accepted()
    peer.inject("FA", seq=4, data=b"def")
    peer.expect("A", ack=1)
    assert peer.state == "ESTABLISHED"
    peer.inject("A", seq=1, data=b"abc")
    peer.expect("A", ack=8)
    assert peer.state == "CLOSE-WAIT"
    assert peer.socket.receive() == b"abcdef"
    assert peer.socket.receive() == b""


def test_a_bare_fin_that_overtakes_text_waits_for_it():
    peer = accepted()
    peer.inject("FA", seq=4)
    peer.expect("A", ack=1)
    peer.inject("A", seq=1, data=b"abc")
    peer.expect("A", ack=5)
    assert peer.state == "CLOSE-WAIT"


def test_a_fin_partly_known_closes():
    peer = accepted()
    peer.inject("A", data=b"abc")
    peer.expect("A", ack=4)
    peer.inject("FA", seq=1, data=b"abcdef")
    peer.expect("A", ack=8)
    assert peer.state == "CLOSE-WAIT"
    assert peer.socket.receive() == b"abcdef"


# Orphans: nobody holds the connection any more


def test_an_orphan_in_fin_wait_2_does_not_wait_for_ever():
    """As Linux's tcp_fin_timeout."""
    peer = in_state("FIN-WAIT-2")
    peer.socket.close()
    peer.advance(60 * SECOND - 1)
    assert peer.state == "FIN-WAIT-2"
    peer.advance(1)
    assert peer.state == "CLOSED"
    assert peer.host.connections == 1
    peer.inject("FA")
    peer.expect("R")


IPPROTO_TCP, TCP_LINGER2 = 6, 8


@pytest.mark.parametrize(
    ("linger2", "config", "seconds"),
    [
        (0, {"fin_timeout": 5 * SECOND}, 5),
        (7, {}, 7),
        (500, {}, 120),
        (0, {"fin_timeout": 0}, None),
    ],
    ids=["fin_timeout", "TCP_LINGER2", "at most", "at least"],
)
def test_how_long_an_orphan_waits_in_fin_wait_2(linger2, config, seconds):
    """tcp(7): tcp_fin_timeout, TCP_LINGER2; as Linux at least three and a half RTOs."""
    peer = in_state("FIN-WAIT-1", **config)
    peer.socket.set_option(IPPROTO_TCP, TCP_LINGER2, linger2)
    peer.inject("A")
    peer.socket.close()
    wait = peer.tcb.rto * 7 // 2 if seconds is None else seconds * SECOND
    peer.advance(wait - 1)
    assert peer.state == "FIN-WAIT-2"
    peer.advance(1)
    assert peer.state == "CLOSED"


@pytest.mark.parametrize("first", ["FIN-WAIT-1", "FIN-WAIT-2"])
def test_a_negative_linger2_waits_for_no_fin(first):
    """tcp(7)."""
    peer = in_state(first)
    peer.socket.set_option(IPPROTO_TCP, TCP_LINGER2, -1)
    assert peer.socket.get_option(IPPROTO_TCP, TCP_LINGER2) == -1
    peer.socket.close()
    if first == "FIN-WAIT-1":
        peer.expect_nothing()
        peer.inject("A")
    assert "R" in peer.drop()[0].flags
    assert peer.state == "CLOSED"


def test_there_are_at_most_so_many_orphans():
    """As Linux's tcp_max_orphans; design.md, idea 5."""
    peer = accepted(max_orphans=2)
    others = [peer.sibling(port) for port in range(1, 5)]
    for other in others:
        other.handshake()
        other.socket = peer.listener.accept()
        other.socket.close()
    assert [other.drop()[0].flags.replace("P", "") for other in others[:2]] == ["FA", "FA"]
    assert ["R" in other.drop()[0].flags for other in others[2:]] == [True, True]
    assert peer.host.counters["tcp_orphans_aborted"] == 2
    # Room again: one has gone, another is in TIME-WAIT, which has a bound of its own.
    others[0].inject("R", seq=1)
    others[1].inject("FA")
    others[1].drop()
    assert [other.state for other in others] == ["CLOSED", "TIME-WAIT", "CLOSED", "CLOSED"]
    for port in (5, 6):
        other = peer.sibling(port)
        other.handshake()
        other.socket = peer.listener.accept()
        other.socket.close()
        other.expect("FA")


def test_a_held_connection_in_fin_wait_2_waits_as_long_as_the_peer_likes():
    """RFC 9293 section 3.6: a half-closed connection is no error."""
    peer = in_state("FIN-WAIT-2")
    peer.advance(7 * 24 * 3600 * SECOND)
    assert peer.state == "FIN-WAIT-2"
    peer.inject("A", data=b"late")
    peer.advance(SECOND)
    peer.expect("A", ack=5)


def test_a_connection_that_is_closed_after_shutdown_becomes_an_orphan():
    peer = in_state("FIN-WAIT-1")
    peer.socket.close()
    peer.inject("A")
    assert peer.state == "FIN-WAIT-2"
    peer.advance(60 * SECOND)
    assert peer.state == "CLOSED"


@pytest.mark.parametrize("retries", [1, 3])
def test_how_soon_an_orphan_gives_up(retries):
    """As Linux's tcp_orphan_retries."""
    peer = in_state("FIN-WAIT-1", orphan_retries=retries)
    peer.socket.close()
    peer.advance(3600 * SECOND)
    assert len(peer.drop()) == retries
    assert peer.state == "CLOSED"


@pytest.mark.parametrize("state", ["FIN-WAIT-1", "LAST-ACK", "CLOSING"])
def test_an_orphan_gives_up_sooner(state):
    """As Linux's tcp_orphan_retries: nobody waits for the result."""
    peer = in_state(state)
    peer.socket.close()
    peer.advance(3600 * SECOND)
    assert len(peer.drop()) == 8
    assert peer.state == "CLOSED"
    assert peer.host.connections == 1


def test_an_orphan_does_not_wait_for_ever_at_a_closed_window():
    """As Linux: a peer that never opens its window cannot keep memory of ours for ever."""
    peer = accepted()
    peer.inject("A", window=0)
    peer.socket.send(b"x" * 1000)
    peer.socket.close()
    probes = 0
    while peer.state != "CLOSED":
        peer.step()
        probes += len(peer.drop())
        assert probes < 20
        peer.inject("A", window=0)
    assert peer.state == "CLOSED"
    assert peer.host.connections == 1


def test_an_orphan_does_not_repeat_for_ever_what_a_closing_window_left_outside():
    peer = accepted()
    peer.socket.send(b"x" * 1000)
    peer.socket.close()
    repeated = 0
    while peer.state != "CLOSED":
        peer.drop()
        peer.inject("A", ack=1, window=0)
        peer.step()
        repeated += 1
        assert repeated < 30
    assert peer.host.connections == 1


def test_an_orphan_delivers_what_was_written():
    peer = accepted()
    peer.socket.send(b"x" * 3000)
    peer.socket.close()
    peer.expect_data((1, 1001), (1001, 2001), (2001, 3001))
    peer.inject("FA", ack=3002)
    peer.expect("A", ack=2)
    assert peer.state == "TIME-WAIT"


# Data that nobody will read


@both
def test_close_with_unread_data_resets(family):
    """RFC 9293 section 3.6.1 (SHLD-3), RFC 2525 section 2.17."""
    peer = accepted(family)
    peer.inject("A", data=b"unread")
    peer.expect("A", ack=7)
    peer.socket.close()
    peer.expect("RA", seq=1, ack=7)
    assert peer.state == "CLOSED"
    assert peer.host.connections == 1


@pytest.mark.parametrize("state", ["CLOSE-WAIT", "LAST-ACK"])
def test_close_with_unread_data_after_the_peers_fin_resets_too(state):
    """As Linux: the peer must learn that its data was lost, whoever has closed."""
    peer = accepted()
    peer.inject("A", data=b"unread")
    peer.expect("A", ack=7)
    peer.inject("FA")
    peer.expect_delayed("A", ack=8)
    if state == "LAST-ACK":
        peer.socket.shutdown(SHUT_WR)
        peer.expect("FA")
    peer.socket.close()
    peer.expect("RA", ack=8)
    assert peer.state == "CLOSED"


def test_close_without_unread_data_is_orderly():
    peer = accepted()
    peer.inject("A", data=b"read")
    peer.expect("A", ack=5)
    assert peer.socket.receive() == b"read"
    peer.socket.close()
    peer.expect("FA")


@pytest.mark.parametrize("state", ["FIN-WAIT-1", "FIN-WAIT-2"])
def test_data_after_close_resets(state):
    """RFC 9293 section 3.6.1 (SHLD-3): nobody will ever read it."""
    peer = in_state(state)
    peer.socket.close()
    acked = peer.rcv_nxt - (state == "FIN-WAIT-1")
    peer.inject("A", ack=acked, data=b"lost")
    peer.expect("R", seq=acked)
    assert peer.state == "CLOSED"
    assert peer.host.connections == 1


def test_a_retransmission_after_close_does_not_reset():
    """Its data has been read; only our ACK was lost."""
    peer = accepted()
    peer.inject("A", data=b"read")
    peer.expect("A", ack=5)
    peer.socket.receive()
    peer.socket.close()
    peer.expect("FA", seq=1, ack=5)
    peer.inject("A", seq=1, ack=1, data=b"read")
    peer.expect("A", seq=2, ack=5)
    assert peer.state == "FIN-WAIT-1"


def test_unread_data_that_the_peer_ended_stays_readable_in_time_wait():
    peer = in_state("FIN-WAIT-2")
    peer.inject("FA", data=b"answer")
    peer.expect("A", ack=8)
    peer.advance(61 * SECOND)
    assert peer.state == "CLOSED"
    assert peer.socket.receive() == b"answer"
    assert peer.socket.receive() == b""


def test_time_wait_that_nobody_holds_keeps_no_data():
    peer = in_state("FIN-WAIT-2")
    peer.inject("FA", data=b"never read")
    peer.drop()
    peer.socket.close()
    assert peer.state == "TIME-WAIT"
    assert peer.tcb.ring_memory == 0


# ABORT and linger

ABORTED = {
    # RFC 9293 section 3.10.5: what ABORT sends
    "CLOSED": None,
    "LISTEN": None,
    "SYN-SENT": None,
    "SYN-RECEIVED": "RA",
    "ESTABLISHED": "RA",
    "FIN-WAIT-1": "RA",
    "FIN-WAIT-2": "RA",
    "CLOSE-WAIT": "RA",
    "CLOSING": None,
    "LAST-ACK": None,
    "TIME-WAIT": None,
}


@both
@pytest.mark.parametrize("state", STATES)
def test_abort_forgets_the_connection_in_every_state(family, state):
    peer = simultaneous(family) if state == "SYN-RECEIVED" else in_state(state, family)
    socket = peer.socket or peer.listener or peer.host.tcp(family.v6)
    seq = peer.tcb.snd_nxt - peer.irs if peer.irs and peer.tcb else 0
    socket.abort()
    if ABORTED[state]:
        peer.expect(ABORTED[state], seq=seq % 2**32, ack=peer.snd_nxt)
    peer.expect_nothing()
    assert peer.state == "CLOSED"
    held = 1 if peer.listener and socket is not peer.listener else 0
    assert peer.host.connections == held
    peer.advance(300 * SECOND)
    peer.expect_nothing()
    assert peer.host.deadline is None


@pytest.mark.parametrize("state", ["ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT"])
def test_linger_zero_makes_close_an_abort(state):
    """socket(7): SO_LINGER with a time of 0."""
    peer = in_state(state)
    peer.socket.set_option(*LINGER, 0)
    peer.socket.close()
    peer.expect("RA")
    assert peer.state == "CLOSED"


def test_linger_zero_throws_away_what_was_written():
    peer = accepted()
    peer.inject("A", window=0)
    peer.socket.send(b"never sent")
    peer.socket.set_option(*LINGER, 0)
    peer.socket.close()
    peer.expect("RA", seq=1)
    peer.expect_nothing()
    assert peer.host.connections == 1


def test_linger_with_time_is_orderly_on_the_wire():
    """The waiting is the caller's: tcp_drained tells when it is over."""
    peer = accepted()
    peer.socket.set_option(*LINGER, 10)
    peer.socket.close()
    peer.expect("FA")
    assert peer.state == "FIN-WAIT-1"


# Who is told


@pytest.mark.parametrize("state", SYNCHRONIZED[:-1])
def test_a_reset_wakes_the_holder(state):
    peer = in_state(state)
    peer.host.take_ready()
    peer.inject("R")
    ((identity, events),) = peer.host.take_ready()
    assert identity == peer.socket.identity
    assert events & (READ | WRITE | HANGUP) == READ | WRITE | HANGUP
    expected = {"CLOSE-WAIT": errno.EPIPE, "CLOSING": 0, "LAST-ACK": 0}
    assert peer.socket.error == expected.get(state, errno.ECONNRESET)
    assert bool(events & ERROR) == bool(peer.socket.error)


def test_the_end_stays_the_end_when_a_reset_follows():
    """As Linux: who reads learns of the FIN, who writes or asks of the reset."""
    peer = in_state("CLOSE-WAIT")
    peer.inject("R")
    assert peer.socket.receive(1) == b""
    assert peer.socket.error == errno.EPIPE


def test_a_fin_wakes_the_reader():
    peer = accepted()
    peer.host.take_ready()
    peer.inject("FA")
    assert peer.host.take_ready() == [(peer.socket.identity, READ)]


@pytest.mark.parametrize("state", ["FIN-WAIT-1", "FIN-WAIT-2"])
def test_the_second_fin_is_a_hangup(state):
    peer = in_state(state)
    peer.host.take_ready()
    peer.inject("FA")
    ((identity, events),) = peer.host.take_ready()
    assert (identity, events & ~WRITE) == (peer.socket.identity, READ | HANGUP)


def test_the_end_of_time_wait_wakes_the_holder():
    peer = in_state("TIME-WAIT")
    peer.host.take_ready()
    peer.advance(60 * SECOND)
    ((identity, events),) = peer.host.take_ready()
    assert (identity, events & HANGUP) == (peer.socket.identity, HANGUP)
    assert peer.socket.receive() == b""


def test_an_orphan_tells_nobody():
    peer = in_state("FIN-WAIT-1")
    peer.socket.close()
    peer.host.take_ready()
    peer.inject("FA")
    peer.advance(60 * SECOND)
    assert peer.host.take_ready() == []


def test_received_data_survives_a_reset():
    """As Linux: what was acknowledged may be read; then comes the error, then the end."""
    peer = accepted()
    peer.inject("A", data=b"before")
    peer.inject("R")
    assert peer.socket.receive() == b"before"
    assert failure(peer.socket.receive) == errno.ECONNRESET
    assert peer.socket.receive() == b""
    assert failure(peer.socket.send, b"x") == errno.EPIPE


@both
def test_the_whole_stack_goes_down_with_resets(family):
    """RFC 9293 section 3.10.5 for every connection; holders learn ECONNABORTED."""
    for state in SYNCHRONIZED:
        peer = in_state(state, family, options=FULL)
        peer.host.abort_all()
        flags = "".join(s.flags for s in peer.drop())
        assert flags == ("" if state == "TIME-WAIT" else "RA"), state
        assert peer.socket.error == errno.ECONNABORTED
        peer.socket.close()
        peer.listener.close()
        peer.collect()
        assert peer.host.connections == 0


def test_of_many_connections_each_is_reset_once():
    """RFC 9293 section 3.10.5; the table of connections shrinks while they go."""
    host, other = Host("10.0.0.0/24"), Host("10.0.1.0/24")
    other.serve(1, 6, 7)
    held = [host.tcp() for _ in range(300)]
    for socket in held:
        socket.connect("10.0.1.1", 7)
    for _ in range(2):
        for packet in host.take():
            other.input(packet)
        for packet in other.take():
            host.input(packet)
    host.take()
    host.abort_all()
    resets = [packet for packet in host.take() if packet[33] & FLAGS["R"]]
    assert len({packet[20:22] for packet in resets}) == len(resets) == 300
    for socket in held:
        assert socket.error == errno.ECONNABORTED
        socket.close()
    host.take()
    assert host.connections == host.live_packets == 0


def test_close_after_the_connection_is_gone_frees_it():
    peer = connected()
    peer.inject("R")
    assert peer.host.connections == 1
    peer.socket.close()
    peer.collect()
    assert peer.host.connections == 0


def test_closing_twice_over_is_as_good_as_once():
    peer = connected()
    peer.socket.shutdown(SHUT_WR)
    peer.socket.shutdown(SHUT_WR)
    peer.expect("FA", seq=1)
    peer.expect_nothing()
    close(peer, "CLOSED")
    peer.socket.close()
    peer.expect_nothing()
