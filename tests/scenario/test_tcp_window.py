"""Flow control: the peer's window and ours, closed windows and their probes, silly windows."""

from __future__ import annotations

import errno
from itertools import pairwise

import pytest
from native.core import CallError
from scenario.peer import FULL, MS, PLAIN, SECOND
from scenario.tcp_states import SHUT_WR, accepted, connected, listening
from scenario.tcp_wire import FAMILIES, MODULUS

RCVBUF, RCVLOWAT, WINDOW_CLAMP = (1, 8), (1, 18), (6, 10)
READY_READ = 1

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def window_closed(family=FAMILIES[0], **config):
    """A connection whose peer has no room, with 3,000 bytes waiting for it."""
    peer = accepted(family, rtt=10 * MS, **config)
    peer.inject("A", window=0)
    peer.socket.send(bytes(3000))
    peer.expect_nothing()
    return peer


# The peer's window


@both
@pytest.mark.parametrize("window", [1, 999, 1000, 2500])
def test_no_more_is_sent_than_the_window_allows(family, window):
    """RFC 9293 section 3.8.6."""
    peer = accepted(family)
    peer.inject("A", window=window)
    peer.socket.send(bytes(5000))
    peer.advance(150 * MS)
    assert sum(s.length for s in peer.drop()) <= window


def test_the_window_counts_from_the_ack():
    peer = accepted()
    peer.inject("A", window=2000)
    peer.socket.send(bytes(5000))
    peer.expect_data((1, 1001), (1001, 2001))
    peer.inject("A", ack=1001, window=2000)
    peer.expect_data((2001, 3001))


def test_an_older_segment_does_not_change_the_window():
    """RFC 9293 section 3.10.7.4 fifth: SND.WL1 and SND.WL2."""
    peer = accepted()
    peer.inject("A", data=b"first", window=1000)
    peer.inject("A", data=b"second", window=2000)
    assert peer.socket.snd_wnd == 2000
    peer.inject("A", seq=1, data=b"first", window=9000)
    assert peer.socket.snd_wnd == 2000
    # Sent before, overtaken on the way, and acceptable all the same
    peer.inject("A", seq=22, data=b"fourth", window=4000)
    peer.inject("A", seq=12, data=b"third", window=9000)
    assert peer.socket.snd_wnd == 4000
    peer.send(500, ack=False)
    peer.inject("A", window=3000)
    peer.inject("A", ack=1, window=9000)
    assert peer.socket.snd_wnd == 3000


@both
def test_a_shrunk_window_stops_new_data_and_is_survived(family):
    """RFC 9293 section 3.8.6 (MUST-34, SHLD-15)."""
    peer = accepted(family)
    peer.inject("A", window=3000)
    peer.socket.send(bytes(5000))
    peer.expect_data((1, 1001), (1001, 2001), (2001, 3001))
    peer.inject("A", ack=1001, window=500)
    peer.expect_nothing()
    peer.inject("A", ack=3001, window=5000)
    peer.expect_data((3001, 4001), (4001, 5001))


def test_a_window_that_shrinks_to_nothing_does_not_end_the_connection():
    """RFC 9293 section 3.8.6 (SHLD-16, SHLD-17): old data is repeated; answers keep it alive."""
    peer = accepted()
    peer.socket.send(bytes(1000))
    peer.expect_data((1, 1001))
    for _ in range(40):
        peer.inject("A", ack=1, window=0)
        peer.drop()
        peer.step()
    assert peer.state == "ESTABLISHED"
    peer.drop()
    peer.inject("A", ack=1001)
    assert peer.send(10)


def test_a_window_that_shrinks_to_nothing_and_a_silent_peer_end_the_connection():
    peer = accepted()
    peer.socket.send(bytes(1000))
    peer.drop()
    peer.inject("A", ack=1, window=0)
    peer.advance(3600 * SECOND)
    assert peer.socket.error == errno.ETIMEDOUT


# A closed window


@both
def test_a_closed_window_is_probed(family):
    """RFC 9293 section 3.8.6.1 (MUST-36); below SND.UNA and without data, as Linux."""
    peer = window_closed(family)
    rto = peer.socket.rto
    start = peer.host.now
    peer.advance(rto)
    probe = peer.expect("A", seq=0, ack=1, data=b"")
    assert probe.at - start == rto
    peer.inject("A", window=0)
    peer.advance(rto)
    peer.expect_nothing()
    peer.advance(rto)
    assert peer.expect("A", seq=0).at - start == 3 * rto


def test_probes_back_off_up_to_two_minutes():
    """RFC 9293 section 3.8.6.1 (SHLD-30)."""
    peer = window_closed()
    times = [peer.host.now]
    while len(times) < 16:
        peer.step()
        times += [s.at for s in peer.drop()]
        peer.inject("A", window=0)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    rto = gaps[0]
    assert gaps == [min(rto << n, 120 * SECOND) for n in range(15)]


def test_a_window_may_stay_closed_as_long_as_probes_are_answered():
    """RFC 9293 section 3.8.6.1 (MUST-37)."""
    peer = window_closed()
    for _ in range(100):
        peer.step()
        if peer.drop():
            peer.inject("A", window=0)
    assert peer.state == "ESTABLISHED"
    peer.inject("A")
    assert sum(s.length for s in peer.drop()) == 3000


def test_unanswered_probes_end_the_connection():
    """RFC 1122 section 4.2.3.5, R2; as Linux after fifteen, and without a word."""
    peer = window_closed()
    peer.advance(3600 * SECOND)
    probes = peer.drop()
    assert len(probes) == 15
    assert not any("R" in probe.flags for probe in probes)
    assert peer.socket.error == errno.ETIMEDOUT


@both
def test_a_window_that_opens_resumes_at_once(family):
    peer = window_closed(family)
    peer.step()
    peer.drop()
    peer.inject("A", window=5000)
    peer.expect_data((1, 1001), (1001, 2001), (2001, 3001))
    assert not peer.tcb.backoff


def test_a_lost_window_update_stalls_nobody():
    """RFC 9293 section 3.8.6.1: the answer to the next probe carries the window."""
    peer = window_closed()
    peer.step()
    peer.expect("A", seq=0)
    peer.inject("A", window=1000)
    peer.expect_data((1, 1001))


def test_a_fin_waits_for_the_window_too():
    peer = accepted()
    peer.inject("A", window=0)
    peer.socket.shutdown(SHUT_WR)
    peer.expect_nothing()
    peer.step()
    peer.expect("A", seq=0)
    peer.inject("A", window=1)
    peer.expect("FA", seq=1)


def test_data_before_the_probe_answer_is_not_counted_as_outstanding():
    """The retransmission timer and the probe timer are never on at once."""
    peer = window_closed()
    assert peer.tcb.snd_nxt == peer.tcb.snd_una
    peer.step()
    peer.inject("A", window=1000)
    peer.drop()
    peer.inject("A", window=0)
    peer.drop()
    rto = peer.tcb.rto
    start = peer.host.now
    peer.step()
    assert peer.expect("A", seq=1000).at - start <= rto


# Silly windows: the sender


def test_a_sliver_of_window_is_not_used():
    """RFC 9293 section 3.8.6.2.1: wait for a segment or half of the largest window."""
    peer = accepted()
    peer.inject("A", window=4000)
    peer.socket.send(bytes(10_000))
    peer.expect_data((1, 1001), (1001, 2001), (2001, 3001), (3001, 4001))
    peer.inject("A", ack=4001, window=300)
    peer.expect_nothing()
    peer.inject("A", ack=4001, window=999)
    peer.expect_nothing()
    peer.inject("A", ack=4001, window=1000)
    peer.expect_data((4001, 5001))


def test_half_of_a_small_window_is_worth_a_segment():
    """RFC 9293 section 3.8.6.2.1 (3): a peer whose buffer is smaller than a segment; as Linux,
    segments are half of it.
    """
    peer = listening()
    peer.window = 600
    peer.handshake()
    peer.socket = peer.listener.accept()
    peer.socket.send(bytes(2000))
    peer.expect_data((1, 301), (301, 601))
    peer.inject("A", window=299)
    peer.expect_nothing()
    peer.inject("A", window=300)
    peer.expect_data((601, 901))


def test_a_sliver_is_used_when_nothing_else_happens():
    """RFC 9293 section 3.8.6.2.1 (4): the override timeout; as in Linux, an RTO."""
    peer = accepted(rtt=100 * MS)
    peer.inject("A", window=300)
    peer.socket.send(bytes(10_000))
    peer.advance(299 * MS)
    peer.expect_nothing()
    peer.advance(1 * MS)
    peer.expect_data((1, 301))


# Our window


def test_our_window_closes_with_our_buffer():
    """RFC 9293 section 3.8.6; the last sliver of it is not offered."""
    peer = accepted(receive_buffer=8192)
    peer.fill()
    assert 7192 < peer.snd_nxt - 1 <= 8192
    assert len(peer.socket.receive(10_000)) == peer.snd_nxt - 1


@pytest.mark.parametrize("options", [PLAIN, FULL], ids=["plain", "full"])
def test_the_right_edge_never_moves_left(options):
    """RFC 9293 section 3.8.6 (SHLD-14), with the rounding of window scaling (RFC 7323 2.4)."""
    peer = accepted(options=options, receive_buffer=50_001)
    scale = peer.socket.rcv_scale
    edge = 0
    sizes = [1, 13, 997, 1000, 64, 127, 128, 129, 500]
    for n in range(200):
        size = sizes[n % len(sizes)]
        tcb = peer.tcb
        if (tcb.rcv_edge - tcb.rcv_nxt) % MODULUS < size:
            peer.socket.receive(9000)
        peer.inject("A", data=bytes(min(size, (tcb.rcv_edge - tcb.rcv_nxt) % MODULUS)))
        if n % 7 == 0:
            peer.socket.receive(700)
        peer.advance(50 * MS)
        for segment in peer.drop():
            assert segment.ack + (segment.window << scale) >= edge
            edge = segment.ack + (segment.window << scale)


def test_text_beyond_the_window_is_cut_off():
    """RFC 9293 section 3.10.7.4: tailored to the window."""
    peer = accepted(receive_buffer=4096)
    window = peer.tcb.rcv_edge - peer.tcb.rcv_nxt
    peer.inject("FA", data=bytes(window + 50))
    peer.expect("A", ack=1 + window)
    assert peer.state == "ESTABLISHED"
    assert len(peer.socket.receive(10_000)) == window


@both
def test_a_probe_of_our_closed_window_is_answered(family):
    """RFC 9293 section 3.8.6.1 (MUST-37), with a byte of data or without."""
    for back, data in ((0, b"x"), (1, b"")):
        peer = accepted(family, receive_buffer=4096)
        peer.fill()
        full = peer.snd_nxt
        peer.inject("A", seq=full - back, data=data)
        peer.expect("A", ack=full, window=0)
        assert peer.socket.receive(8192) == bytes(full - 1)


def test_the_ack_in_a_probe_of_our_closed_window_counts():
    """RFC 9293 section 3.10.7.4: special allowance for valid ACKs."""
    peer = accepted(receive_buffer=4096)
    peer.fill()
    peer.send(10, ack=False)
    peer.drop()
    peer.inject("A", data=b"x")
    peer.expect("A", window=0)
    assert peer.tcb.snd_una == peer.tcb.snd_nxt


def test_reading_opens_a_closed_window_by_no_less_than_a_segment():
    """RFC 9293 section 3.8.6.2.2 (MUST-39): half the buffer, or a segment."""
    peer = accepted(receive_buffer=8192)
    peer.fill()
    free = 8192 - (peer.snd_nxt - 1)
    peer.socket.receive(999 - free)
    peer.expect_nothing()
    peer.socket.receive(1)
    assert peer.expect("A", ack=peer.snd_nxt).window == 1000


def test_reading_tells_the_peer_only_when_it_matters():
    """As Linux: an update when the window has at least doubled; else the next ACK says it."""
    peer = accepted(receive_buffer=65536)
    for _ in range(3):
        peer.inject("A", data=bytes(1000))
        peer.drop()
        peer.socket.receive()
        peer.expect_nothing()


@pytest.mark.parametrize("options", [PLAIN, FULL], ids=["plain", "full"])
def test_reading_a_little_of_a_large_window_tells_the_peer_nothing(options):
    """The window field says the same as before: an ACK for it would be the third packet of two."""
    peer = accepted(options=options, receive_buffer=1 << 20)
    for _ in range(5):
        peer.inject("A", data=bytes(1000))
        peer.drop()
    for _ in range(5):
        peer.inject("A", data=bytes(1000))
        peer.drop()
        peer.socket.receive()
        peer.expect_nothing()


def test_two_closed_windows_do_not_acknowledge_each_other_for_ever():
    """Both full: probes and their answers, at the pace of the probes."""
    peer = accepted(receive_buffer=4096)
    peer.fill()
    peer.inject("A", window=0)
    peer.socket.send(bytes(1000))
    peer.drop()
    for _ in range(200):
        # What a peer in the same position sends: the answer to a probe, and a probe of its own.
        for segment in peer.drop():
            if segment.seq == 0:
                peer.inject("A", window=0)
        peer.inject("A", seq=peer.snd_nxt - 1, window=0)
        peer.host.advance(5 * MS)
    assert peer.host.counters["tcp_segments_out"] < 20


def test_the_windows_of_two_connections_are_their_own():
    peer = accepted(receive_buffer=4096)
    other = peer.sibling(50_000)
    other.handshake()
    second = peer.listener.accept()
    peer.fill()
    assert (second.rcv_edge - second.rcv_nxt) % MODULUS > 0
    peer.inject("A", window=0)
    second.send(b"unhindered")
    assert other.expect("A").data == b"unhindered"


@both
def test_a_first_window_is_a_whole_number_of_segments_below_64_kib(family):
    """As Linux; RFC 7323 section 2.2: a SYN cannot say more."""
    peer = connected(family, options=FULL)
    window = peer.socket.rcv_edge - peer.socket.rcv_nxt
    mss = 1500 - family.header - 20
    assert window % MODULUS >= 65535 - mss


def test_the_window_can_be_clamped():
    """tcp(7): TCP_WINDOW_CLAMP; the edge that was offered stays (RFC 9293 section 3.8.6)."""
    peer = accepted(receive_buffer=20_000)
    edge = peer.tcb.rcv_edge
    peer.socket.set_option(*WINDOW_CLAMP, 4000)
    assert peer.socket.get_option(*WINDOW_CLAMP) == 4000
    while (peer.tcb.rcv_edge - peer.tcb.rcv_nxt) % (1 << 32) > 4000:
        peer.inject("A", data=bytes(1000))
        assert peer.socket.receive(1000)
        assert peer.tcb.rcv_edge == edge
        peer.drop()
    for _ in range(10):
        peer.inject("A", data=bytes(1000))
        peer.socket.receive(1000)
        peer.advance(SECOND)
        assert all(segment.window <= 4000 for segment in peer.drop())
    assert peer.tcb.rcv_edge > edge


def test_a_clamp_is_no_smaller_than_half_the_least_buffer():
    """As Linux; it can be taken back before the connection only."""
    peer = accepted()
    for small in (1, -1):
        peer.socket.set_option(*WINDOW_CLAMP, small)
        assert peer.socket.get_option(*WINDOW_CLAMP) == 1152
    with pytest.raises(CallError) as refused:
        peer.socket.set_option(*WINDOW_CLAMP, 0)
    assert refused.value.errno == errno.EINVAL
    fresh = peer.host.tcp()
    fresh.set_option(*WINDOW_CLAMP, 5000)
    assert fresh.get_option(*WINDOW_CLAMP) == 5000
    fresh.set_option(*WINDOW_CLAMP, 0)
    assert fresh.get_option(*WINDOW_CLAMP) == 0


def test_a_reader_may_want_more_at_once():
    """socket(7): SO_RCVLOWAT."""
    peer = accepted()
    peer.socket.set_option(*RCVLOWAT, 1500)
    peer.inject("A", data=bytes(1000))
    assert not peer.socket.poll() & READY_READ
    peer.inject("A", data=bytes(500))
    assert peer.socket.poll() & READY_READ
    peer.socket.set_option(*RCVLOWAT, 1501)
    assert not peer.socket.poll() & READY_READ
    assert len(peer.socket.receive(10_000)) == 1500  # who does not wait gets what there is


def test_nobody_waits_for_more_than_the_window_has_room_for():
    """As Linux: the window is as good as closed."""
    peer = accepted(receive_buffer=8192)
    peer.socket.set_option(*RCVLOWAT, 8192)
    peer.fill()
    assert peer.socket.poll() & READY_READ


def test_a_buffer_grows_with_what_its_reader_wants_at_once():
    """As Linux: as long as its size was not chosen; half of what was chosen otherwise."""
    peer = accepted(receive_buffer=8192, receive_buffer_max=1 << 20)
    peer.socket.set_option(*RCVLOWAT, 100_000)
    assert peer.socket.get_option(*RCVLOWAT) == 100_000
    assert peer.socket.get_option(*RCVBUF) == 200_000
    peer.socket.set_option(*RCVBUF, 5000)
    peer.socket.set_option(*RCVLOWAT, 100_000)
    assert peer.socket.get_option(*RCVLOWAT) == 5000
    peer.socket.set_option(*RCVLOWAT, 0)
    assert peer.socket.get_option(*RCVLOWAT) == 1


def test_a_smaller_buffer_takes_effect_without_moving_the_edge():
    """RFC 9293 section 3.8.6: what was promised is kept."""
    peer = accepted(receive_buffer=32768)
    edge = peer.socket.rcv_edge
    peer.socket.set_option(1, 8, 4096)
    peer.inject("A", data=bytes(20_000))
    assert peer.drop()[-1].ack == 20_001
    assert peer.socket.rcv_edge == edge
    assert len(peer.socket.receive(40_000)) == 20_000


def test_an_ack_is_not_sent_from_beyond_a_window_that_has_shrunk():
    """RFC 9293 section 3.8.6 (MUST-34): the peer would find it out of its window and drop it."""
    peer = accepted()
    peer.send(3000, ack=False)
    peer.drop()
    peer.inject("A", ack=1, window=100)
    peer.inject("A", ack=1, window=100, data=b"x")
    peer.expect("A", seq=101, ack=2)


def test_an_ack_of_news_brings_its_window_though_a_later_segment_came_first():
    """As Linux; RFC 9293 section 3.10.7.4 fifth goes by SND.WL1 alone."""
    peer = accepted()
    peer.send(1000, ack=False)
    peer.drop()
    peer.inject("A", seq=5000, ack=1, data=b"later")
    peer.drop()
    peer.inject("A", seq=1, ack=1001, window=0)
    peer.socket.send(b"more")
    peer.expect_nothing()
