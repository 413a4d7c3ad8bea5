"""TCP Fast Open (RFC 7413): what packet scripts (tests/scripts/tfo) do not reach."""

from __future__ import annotations

import errno

import pytest
from native.core import CallError
from scenario.peer import FULL, MS, PLAIN, SECOND
from scenario.tcp_states import alone, listening
from scenario.tcp_wire import FAMILIES, IPV4

TCP, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT = 6, 23, 30
CLIENT, SERVER, WITHOUT_COOKIES = 0x5, 0x2, 0x202

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def serving(family=IPV4, *, queue=5, options=None, **config):
    """A listener that takes data of SYNs without cookies."""
    peer = listening(family, options=options, fastopen=WITHOUT_COOKIES, **config)
    peer.listener.set_option(TCP, TCP_FASTOPEN, queue)
    return peer


def early(peer, size=100):
    """A SYN with data, and its SYN-ACK; what the data was."""
    data = bytes(i % 251 for i in range(size))
    peer.inject("S", seq=0, data=data, options=peer.syn_options())
    peer.timestamps = "ts" in peer.expect("SA", ack=1 + size).options
    return data


def opening(family=IPV4, size=500, **config):
    """A client whose SYN carries data."""
    peer = alone(family, fastopen=CLIENT, **config)
    peer.socket = peer.host.tcp(family.v6)
    assert peer.socket.fast_open(family.theirs, peer.port, bytes(size)) == size
    syn = peer.expect_syn()
    assert syn.length == size
    return peer


# --- the server


@both
def test_data_of_a_syn_is_read_and_answered_before_the_handshake_ends(family):
    """RFC 7413 section 4.2.2."""
    peer = serving(family, options=FULL)
    data = early(peer)
    peer.socket = peer.listener.accept()
    assert peer.socket.receive() == data
    assert peer.socket.state == "SYN-RECEIVED"
    peer.socket.send(b"answer")
    assert peer.expect("A", seq=1, ack=101).data == b"answer"
    peer.inject("A")
    assert peer.state == "ESTABLISHED"
    assert peer.socket.snd_una == peer.socket.snd_nxt
    peer.advance(10 * SECOND)
    peer.expect_nothing()


def test_an_early_answer_keeps_to_the_window_of_the_syn():
    """RFC 7323 section 2.2: that window is not scaled."""
    peer = serving(options=FULL)
    peer.window = 1500
    early(peer)
    peer.socket = peer.listener.accept()
    peer.socket.send(bytes(5000))
    assert sum(segment.length for segment in peer.drop()) <= 1500


def test_an_early_answer_that_is_lost_is_sent_again_once_the_handshake_is_over():
    """RFC 7413 section 4.2.2; until then the timer is the SYN-ACK's."""
    peer = serving()
    early(peer)
    peer.socket = peer.listener.accept()
    peer.socket.send(bytes(300))
    peer.expect("A", seq=1)
    peer.advance(SECOND)
    peer.expect("SA", ack=101)
    peer.expect_nothing()
    peer.inject("A", ack=1)
    peer.advance(SECOND)
    assert not peer.drop()  # RFC 6298 section 5.7: the SYN-ACK was repeated, 3 s
    peer.advance(3 * SECOND)
    peer.expect("A", seq=1)


def test_a_handshake_that_is_never_completed_ends_the_early_connection():
    """RFC 1122 section 4.2.3.5; as Linux, after one repetition more than others."""
    peer = serving(synack_retries=2)
    early(peer)
    peer.socket = peer.listener.accept()
    times = []
    while peer.socket.state != "CLOSED":
        peer.step()
        times += [segment.at // SECOND for segment in peer.drop()]
    assert times == [2, 4, 8]
    with pytest.raises(CallError) as raised:
        peer.socket.receive(200) and peer.socket.receive(200)
    assert raised.value.errno == errno.ETIMEDOUT


def test_who_accepts_an_early_connection_that_was_reset_hears_of_it():
    """As Linux: the listener has announced it."""
    peer = serving()
    data = early(peer)
    peer.inject("RA")
    peer.socket = peer.listener.accept()
    assert peer.socket.receive() == data
    with pytest.raises(CallError) as raised:
        peer.socket.receive()
    assert raised.value.errno == errno.ECONNRESET
    peer.socket.close()
    peer.listener.close()
    peer.host.take()
    assert peer.host.connections == 0


def test_early_connections_that_nobody_accepts_go_with_their_listener():
    """RFC 9293 section 3.10.4, LISTEN: one is reset, one had been by its peer."""
    peer = serving()
    early(peer)
    other = peer.sibling(40001)
    early(other)
    other.inject("RA")
    peer.listener.close()
    peer.expect("RA")
    other.expect_nothing()
    assert peer.host.connections == 0


def test_an_early_connection_that_was_accepted_outlives_its_listener():
    peer = serving()
    early(peer)
    peer.socket = peer.listener.accept()
    peer.listener.close()
    peer.expect_nothing()
    peer.inject("A")
    assert peer.state == "ESTABLISHED"


def test_a_stack_is_released_with_early_connections_in_every_place():
    """Whether accepted or not, reset or not: nothing is left, nothing freed twice."""
    peer = serving()
    peers = [peer, *(peer.sibling(40001 + i) for i in range(3))]
    for one in peers:
        early(one)
    accepted = peer.listener.accept()
    peers[2].inject("RA")
    peer.host.abort_all() if accepted is None else peer.host.take()


def test_resets_count_for_a_minute():
    """RFC 7413 section 5.1."""
    peer = serving(queue=1)
    early(peer)
    held = peer.listener.accept()
    peer.inject("RA")
    refused = peer.sibling(40001)
    refused.inject("S", seq=0, data=bytes(100))
    refused.expect("SA", ack=1)
    peer.advance(60 * SECOND)
    refused.drop()
    later = peer.sibling(40002)
    early(later)
    assert held.state == "CLOSED"
    assert peer.host.counters["tcp_fast_open_queue_full"] == 1


def test_under_a_flood_there_is_no_fast_open():
    """RFC 4987 section 3.6: a SYN cookie keeps nothing, so that data is not taken."""
    peer = serving(max_syn_backlog=1)
    first = peer.sibling(40001)
    first.inject("S", seq=0)
    first.expect("SA")
    peer.inject("S", seq=0, data=bytes(100))
    peer.expect("SA", ack=1)
    assert peer.host.counters["tcp_syn_cookies_sent"] == 1


def test_an_icmp_error_does_not_end_an_early_connection_that_is_in_use():
    """RFC 5927: as Linux, accepted it counts as a connection, before that as an open."""
    peer = serving()
    peer.inject("S", seq=0, data=bytes(100))
    answer = peer.expect("SA")
    peer.socket = peer.listener.accept()
    peer.error("host unreachable", answer)
    assert peer.socket.state == "SYN-RECEIVED"
    other = peer.sibling(40001)
    other.inject("S", seq=0, data=bytes(100))
    other.error("host unreachable", other.expect("SA"))
    assert other.state == "CLOSED"


def test_a_stray_syn_resets_its_sender_and_not_the_early_connection():
    peer = serving()
    early(peer)
    peer.socket = peer.listener.accept()
    peer.inject("S", seq=200)
    peer.expect("RA")
    peer.inject("A", seq=101)
    assert peer.state == "ESTABLISHED"


# --- the client


@both
def test_data_that_a_crossing_syn_does_not_acknowledge_goes_again(family):
    """RFC 9293 figure 8 with RFC 7413: the simultaneous open of a client whose SYN has data."""
    peer = opening(family)
    peer.inject("S", seq=0, options={"mss": 1000})
    peer.expect("SA", seq=0, ack=1)
    peer.inject("A", ack=1)
    assert peer.state == "ESTABLISHED"
    peer.expect("A", seq=1)
    peer.inject("A", ack=501)
    assert peer.socket.snd_una == peer.socket.snd_nxt


def test_a_client_that_closes_at_once_has_sent_its_syn_as_it_was():
    """The text of a SYN does not lie in the send buffer any more."""
    peer = alone(fastopen=CLIENT)
    peer.socket = peer.host.tcp()
    data = bytes(range(200))
    peer.socket.fast_open(IPV4.theirs, peer.port, data)
    peer.socket.close()
    assert peer.expect_syn().data == data
    assert peer.host.connections == 0


def test_the_data_of_a_syn_needs_no_scoreboard_once_it_is_acknowledged():
    peer = opening()
    peer.inject("SA", seq=0, ack=501, options=PLAIN)
    peer.expect("A", seq=501, ack=1)
    assert not peer.socket.busy
    assert peer.socket.ring_memory == 0


def pause(peer) -> None:
    """Three timeouts of a SYN with data."""
    one = peer.host.tcp()
    one.fast_open(IPV4.theirs, peer.port, bytes(10))
    for _ in range(4):
        peer.advance(SECOND + MS)
    peer.drop()
    one.close()


def carries_data(peer) -> bool:
    one = peer.host.tcp()
    carried = one.fast_open(IPV4.theirs, peer.port, bytes(10))
    peer.drop()
    one.close()
    return carried == 10


def test_the_pause_after_black_holes_doubles():
    """RFC 7413 section 4.1.3.1, as Linux."""
    peer = alone(fastopen=CLIENT, fastopen_blackhole=100 * SECOND)
    pause(peer)
    assert not carries_data(peer)
    peer.advance(100 * SECOND)
    assert carries_data(peer)
    pause(peer)
    peer.advance(150 * SECOND)
    assert not carries_data(peer)
    peer.advance(50 * SECOND)
    assert carries_data(peer)
    assert peer.host.counters["tcp_fast_open_black_holes"] == 2


def test_a_fast_open_that_brings_data_ends_the_doubling():
    """As Linux's tcp_fastopen_active_disable_ofo_check()."""
    peer = alone(fastopen=CLIENT, fastopen_blackhole=100 * SECOND)
    pause(peer)
    peer.advance(100 * SECOND)
    peer.socket = peer.host.tcp()
    peer.socket.fast_open(IPV4.theirs, peer.port, bytes(10))
    peer.expect_syn()
    peer.inject("SA", seq=0, ack=11, options=PLAIN)
    peer.expect("A")
    peer.inject("A", data=b"it works")
    peer.drop()
    peer.socket.abort()
    pause(peer)
    peer.advance(100 * SECOND)
    assert carries_data(peer)


def test_options_that_do_not_fit_the_state_are_refused():
    """RFC 7413 appendix A; errors as Linux."""
    peer = serving()
    for option, value in ((TCP_FASTOPEN_CONNECT, 1), (TCP_FASTOPEN, -1)):
        with pytest.raises(CallError):
            peer.listener.set_option(TCP, option, value)
    early(peer)
    child = peer.listener.accept()
    with pytest.raises(CallError) as raised:
        child.set_option(TCP, TCP_FASTOPEN, 5)
    assert raised.value.errno == errno.EINVAL
