"""Loss recovery: duplicate ACKs, fast retransmit, NewReno without SACK, RFC 6675 with it."""

from __future__ import annotations

import pytest
from scenario.peer import FULL, MS, PLAIN, SACK, SECOND
from scenario.tcp_states import accepted
from scenario.tcp_wire import FAMILIES, IPV4

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
either = pytest.mark.parametrize("options", [PLAIN, SACK], ids=["plain", "sack"])
OPEN, DISORDER, CWR, FAST, LOSS = range(5)
RTT = 100 * MS


def segment(n, count=1):
    """The range of the host's segments n .. n + count - 1, of 1,000 bytes, counted from 1."""
    return (1000 * (n - 1) + 1, 1000 * (n + count - 1) + 1)


def sending(segments=10, *, family=IPV4, options=PLAIN, **config):
    """A connection with this many segments waiting, of which the first ten are out."""
    peer = accepted(family, rtt=RTT, options=options, **config)
    peer.socket.send(bytes(1000 * segments))
    peer.expect_data(*(segment(n) for n in range(1, min(segments, 10) + 1)))
    return peer


def duplicate(peer, ack, *arrived):
    """An ACK of everything before segment `ack`; with SACK, of the segments in `arrived` too."""
    blocks = [segment(*block) for block in arrived] if "sack_ok" in peer.options else None
    peer.inject("A", ack=segment(ack)[0], sack=blocks)


def counters_are_zero(peer):
    socket = peer.socket
    return not (socket.sacked_out or socket.lost_out or socket.retrans_out)


# Fast retransmit, with and without SACK


@both
@either
def test_the_third_duplicate_ack_retransmits(family, options):
    """RFC 5681 section 3.2, RFC 6675 section 5."""
    peer = sending(family=family, options=options)
    duplicate(peer, 1, (2,))
    peer.expect_nothing()
    duplicate(peer, 1, (2, 2))
    peer.expect_nothing()
    duplicate(peer, 1, (2, 3))
    peer.expect_data(segment(1))
    assert peer.socket.ca_state == FAST
    # Proportional rate reduction: one for each two that arrive.
    assert (peer.socket.ssthresh, peer.socket.cwnd) == (5000, 7000)
    assert peer.host.counters["tcp_fast_retransmits"] == 1


@either
def test_later_duplicate_acks_do_not_retransmit_it_again(options):
    peer = sending(options=options)
    for n in range(1, 10):
        duplicate(peer, 1, (2, n))
    peer.expect_data(segment(1))


@either
def test_the_first_two_duplicate_acks_let_new_data_out(options):
    """RFC 3042: limited transmit."""
    peer = sending(15, options=options)
    duplicate(peer, 1, (2,))
    peer.expect_data(segment(11))
    duplicate(peer, 1, (2, 2))
    peer.expect_data(segment(12))
    duplicate(peer, 1, (2, 3))
    assert peer.drop()[0].seq == 1


@either
def test_limited_transmit_keeps_to_the_peers_window(options):
    """RFC 3042 section 2."""
    peer = sending(15, options=options)
    peer.window = 10_000
    peer.inject("A", ack=1)
    for n in (1, 2):
        duplicate(peer, 1, (2, n))
        peer.expect_nothing()


@either
def test_what_limited_transmit_sent_does_not_raise_the_threshold(options):
    """RFC 5681 section 3.2 step 2."""
    peer = sending(15, options=options)
    for n in (1, 2, 3):
        duplicate(peer, 1, (2, n))
        peer.drop()
    assert peer.socket.ssthresh == 5000


@either
def test_the_ack_of_everything_ends_recovery(options):
    """RFC 6582 section 3.2 step 3, RFC 6675 section 5 step A."""
    peer = sending(options=options)
    for n in range(1, 10):
        duplicate(peer, 1, (2, n))
    peer.drop()
    peer.inject("A", ack=10_001)
    peer.expect_nothing()
    if options is PLAIN:
        # RFC 6582 section 6: without SACK it is held until something above is acknowledged.
        assert peer.socket.ca_state == FAST
        peer.send(1000)
    assert peer.socket.ca_state == OPEN
    assert 2000 <= peer.socket.cwnd <= peer.socket.ssthresh == 5000
    assert counters_are_zero(peer)
    assert not peer.socket.busy


@either
def test_three_losses_of_one_window_cost_one_halving_and_no_timeout(options):
    """RFC 6582 section 3.2 (partial ACKs), RFC 6675: one episode."""
    peer = sending(options=options)
    lost = {1, 4, 7}
    arrived = [(2, 2), (5, 2), (8, 3)]
    for n in range(1, 8):
        count = n
        blocks = []
        for first, size in arrived:
            if count > 0:
                blocks.insert(0, (first, min(count, size)))
                count -= size
        duplicate(peer, 1, *blocks)
    resent = [s.seq for s in peer.drop()]
    peer.advance(RTT)
    for hole, following in ((4, 7), (7, 11)):
        duplicate(peer, hole, *[block for block in reversed(arrived) if block[0] > hole])
        resent += [s.seq for s in peer.drop()]
        peer.advance(RTT)
        assert following
    assert sorted(resent) == [segment(n)[0] for n in sorted(lost)]
    peer.inject("A", ack=10_001)
    assert peer.socket.ssthresh == 5000
    assert peer.host.counters["tcp_recoveries"] == 1
    assert "tcp_timeouts" not in peer.host.counters


@either
def test_a_timeout_during_recovery_starts_over(options):
    """RFC 6675 section 5.1, RFC 6582 section 3.2: the retransmission was lost too."""
    peer = sending(options=options)
    for n in range(1, 5):
        duplicate(peer, 1, (2, n))
    peer.expect_data(segment(1))
    peer.advance(peer.socket.rto)
    peer.expect_data(segment(1))
    assert peer.socket.ca_state == LOSS
    assert peer.socket.cwnd == 1000


@either
def test_the_retransmission_timer_starts_anew_with_the_fast_retransmission(options):
    """RFC 6675 section 5 step 4.3 by way of RFC 6298: not from the first transmission."""
    peer = sending(options=options)
    peer.advance(200 * MS)
    for n in (1, 2, 3):
        duplicate(peer, 1, (2, n))
    start = peer.host.now
    peer.expect_data(segment(1))
    rto = peer.socket.rto
    peer.advance(rto - 1)
    peer.expect_nothing()
    peer.advance(1)
    assert peer.expect("A", seq=1).at - start == rto


@either
def test_a_reordered_segment_is_not_retransmitted(options):
    """RFC 5681 section 3.2: fewer than three duplicates are reordering."""
    peer = sending(options=options)
    duplicate(peer, 1, (2,))
    duplicate(peer, 1, (2, 2))
    peer.inject("A", ack=segment(4)[0])
    peer.expect_nothing()
    assert peer.socket.ca_state == OPEN
    assert counters_are_zero(peer)
    assert peer.socket.ssthresh > 1 << 20


# What is a duplicate


@pytest.mark.parametrize("what", ["data", "window", "FIN", "nothing outstanding"])
def test_not_every_ack_that_repeats_is_a_duplicate(what):
    """RFC 5681 section 2."""
    peer = sending(5 if what != "nothing outstanding" else 1)
    if what == "nothing outstanding":
        peer.inject("A")
    for n in range(5):
        if what == "data":
            peer.inject("A", ack=1, data=b"x")
        elif what == "window":
            peer.inject("A", ack=1, window=60_000 - n)
        elif what == "FIN":
            peer.inject("FA", seq=1, ack=1)
        else:
            peer.inject("A")
    assert all(not s.data for s in peer.drop())
    assert peer.socket.ca_state == OPEN


def test_with_sack_an_ack_without_news_is_no_duplicate():
    """RFC 6675 section 2: a duplicate says something about what arrived."""
    peer = sending(options=SACK)
    for _ in range(5):
        peer.inject("A", ack=1)
    peer.expect_nothing()
    for _ in range(5):
        duplicate(peer, 1, (5,))
    peer.expect_nothing()


def test_a_d_sack_is_no_duplicate():
    """RFC 2883 section 4, RFC 6675 section 2: it reports what arrived twice."""
    peer = sending(options=SACK)
    peer.inject("A", ack=3001)
    peer.drop()
    for _ in range(5):
        peer.inject("A", ack=3001, sack=[segment(1)])
    peer.expect_nothing()
    assert peer.socket.ca_state == OPEN
    assert counters_are_zero(peer)


# NewReno


def test_without_sack_every_second_further_duplicate_lets_a_segment_out():
    """RFC 6937 in place of the window inflation of RFC 6582 section 3.2 step 4."""
    peer = sending(30)
    for n in (11, 12, 1):
        duplicate(peer, 1)
        peer.expect_data(segment(n))
    for n in (13, 14):
        duplicate(peer, 1)
        peer.expect_nothing()
        duplicate(peer, 1)
        peer.expect_data(segment(n))


@pytest.mark.parametrize("duplicates", [4, 8])
def test_without_sack_a_partial_ack_retransmits_the_next_hole_at_once(duplicates):
    """RFC 6582 section 3.2 step 3, as RFC 6937 lets it go."""
    peer = sending(10)
    for _ in range(duplicates):
        duplicate(peer, 1)
    peer.expect_data(segment(1))
    peer.inject("A", ack=segment(3)[0])
    peer.expect_data(segment(3))


def test_without_sack_a_partial_ack_keeps_the_window_inflated():
    """RFC 6582 section 3.2 step 3: deflated by what was acknowledged, not to nothing."""
    peer = sending(40)
    for _ in range(8):
        duplicate(peer, 1)
    sent = [s.seq for s in peer.drop()]
    assert 1 in sent
    peer.inject("A", ack=segment(3)[0])
    assert segment(3)[0] in [s.seq for s in peer.drop()]
    # Each duplicate for segment 3 says that another has arrived, and another may go.
    out = 0
    for _ in range(3):
        duplicate(peer, 3)
        out += len(peer.drop())
    assert out >= 2


def test_a_message_about_the_path_amid_duplicates_confuses_nothing():
    """What was believed to have arrived is not taken off twice when all of it is lost."""
    peer = sending(20)
    for _ in range(2):
        duplicate(peer, 1)
    first = peer.drop()[0]
    peer.error("too big", first, mtu=700)
    peer.collect()
    assert peer.socket.smss == 660
    assert peer.drop()
    peer.inject("A", ack=peer.rcv_nxt)
    assert peer.drop()
    assert "tcp_timeouts" not in peer.host.counters


def test_without_sack_duplicates_after_a_timeout_start_nothing():
    """RFC 6582 section 3.2 (step 1) and 4.1: they may come of the retransmissions themselves."""
    peer = sending(10)
    peer.advance(peer.socket.rto)
    peer.expect_data(segment(1))
    peer.inject("A", ack=10_001)
    peer.socket.send(bytes(5000))
    peer.drop()
    for _ in range(4):
        peer.inject("A", ack=10_001)
    peer.drop()
    assert "tcp_recoveries" not in peer.host.counters
    peer.inject("A", ack=11_001)
    peer.drop()
    for _ in range(4):
        peer.inject("A", ack=11_001)
    assert peer.host.counters["tcp_recoveries"] == 1


# RFC 6675


def test_many_bytes_above_a_hole_mean_that_it_is_lost():
    """RFC 6675 section 4, IsLost(): more than two segments, in however few ACKs."""
    peer = sending(options=SACK)
    duplicate(peer, 1, (2, 2))
    peer.expect_nothing()
    duplicate(peer, 1, (2, 3))
    peer.expect_data(segment(1))
    peer = sending(options=SACK)
    duplicate(peer, 1, (2, 4))
    peer.expect_data(segment(1))


def test_three_separate_arrivals_above_a_hole_mean_that_it_is_lost():
    """RFC 6675 section 4, IsLost(): DupThresh discontiguous sequences."""
    peer = sending(options=SACK)
    peer.inject("A", ack=1, sack=[(1001, 2001), (3001, 4001), (5001, 6001)])
    assert peer.drop()[0].seq == 1


def test_the_holes_are_filled_from_the_lowest():
    """RFC 6675 section 5 steps 4.3 and C."""
    peer = sending(options=SACK)
    # 1, 3, 5 and 7 are lost.
    sent = []
    for arrived in (((2,),), ((4,), (2,)), ((6,), (4,), (2,)), ((8,), (6,), (4,), (2,))):
        duplicate(peer, 1, *arrived)
        sent += peer.drop()
    for n in (2, 3):
        duplicate(peer, 1, (8, n), (6,), (4,), (2,))
        sent += peer.drop()
    for ack in (3, 5, 7):
        duplicate(peer, ack, *[b for b in ((8, 3), (6,), (4,)) if b[0] > ack])
        sent += peer.drop()
    assert [s.seq for s in sent] == [segment(n)[0] for n in (1, 3, 5, 7)]
    peer.inject("A", ack=10_001)
    assert counters_are_zero(peer)
    assert peer.socket.ca_state == OPEN


def test_when_nothing_is_lost_any_more_new_data_goes():
    """RFC 6675 section 4, NextSeg() rule 2."""
    peer = sending(20, options=SACK)
    duplicate(peer, 1, (2, 3))
    assert [s.seq for s in peer.drop()] == [1, segment(11)[0]]
    duplicate(peer, 1, (2, 9))
    assert [s.seq for s in peer.drop()][:2] == [segment(12)[0], segment(13)[0]]


def test_the_last_segment_is_rescued_once():
    """RFC 6675 section 4, NextSeg() rule 4."""
    peer = sending(8, options=SACK, recovery=0)
    duplicate(peer, 1, (2, 6))
    # 1 is lost; 8 is neither acknowledged nor below an arrival
    peer.expect_data(segment(1), segment(8))
    peer.socket.send(bytes(1000))
    peer.expect_data(segment(9))
    duplicate(peer, 8)
    peer.expect_nothing()
    peer.inject("A", ack=9001)
    assert counters_are_zero(peer)


def test_without_new_data_what_is_doubtful_is_sent_again():
    """RFC 6675 section 4, NextSeg() rule 3: below an arrival, but not yet lost.

    The rescue before (rule 4) must not hide it: HighRxt is not updated by that.
    """
    peer = sending(8, options=SACK, recovery=0)
    duplicate(peer, 1, (2, 5))
    peer.expect_data(segment(1), segment(8))
    duplicate(peer, 1, (8,), (2, 5))
    peer.expect_data(segment(7))


def test_small_segments_are_found_lost_by_their_number():
    """RFC 6675 section 5 step 2: DupThresh duplicates, however few bytes they report."""
    peer = accepted(options=SACK, rtt=RTT)
    peer.socket.set_option(6, 1, 1)
    for _ in range(6):
        peer.socket.send(bytes(10))
        peer.collect()
    peer.drop()
    for n in (1, 2, 3):
        peer.inject("A", ack=1, sack=[(11, 11 + 10 * n)])
    assert next((s.seq, s.end) for s in peer.drop()) == (1, 11)


@pytest.mark.parametrize(
    "lie",
    [
        [(10_002, 11_000)],  # never sent
        [(5001, 10_002)],  # partly never sent
        [(3001, 2001)],  # backwards
        [(2001, 2001)],  # empty
        [(1, 1001)],  # at SND.UNA: would be an ACK
        [(-5000, -4000)],
        [(1 << 31, (1 << 31) + 1000)],
    ],
)
def test_blocks_that_cannot_be_are_ignored(lie):
    """RFC 2018 section 3, RFC 6675 section 3."""
    peer = sending(options=SACK)
    for _ in range(4):
        peer.inject("A", ack=1, sack=lie)
    peer.expect_nothing()
    assert counters_are_zero(peer)
    assert peer.socket.ca_state == OPEN


def test_the_scoreboard_counts_each_byte_once():
    peer = sending(options=SACK)
    duplicate(peer, 1, (3, 2))
    duplicate(peer, 1, (3, 2))
    duplicate(peer, 1, (4, 2), (3, 2))
    peer.inject("A", ack=1, sack=[(2501, 5501)])
    assert peer.socket.sacked_out == 3
    peer.drop()
    peer.inject("A", ack=5001)
    assert peer.socket.sacked_out == 0
    peer.inject("A", ack=10_001)
    assert counters_are_zero(peer)


def test_who_takes_back_what_it_acknowledged_gets_it_again():
    """RFC 2018 section 8: reneging, noticed at a timeout."""
    peer = sending(options=SACK)
    duplicate(peer, 1, (2, 9))
    peer.expect_data(segment(1))
    peer.inject("A", ack=segment(2)[0])
    peer.drop()
    peer.advance(2 * peer.socket.rto)
    assert peer.drop()[0].seq == segment(2)[0]
    assert peer.host.counters["tcp_sack_reneged"] == 1
    for n in range(3, 11):
        peer.inject("A", ack=segment(n)[0])
    peer.drop()
    peer.inject("A", ack=10_001)
    assert counters_are_zero(peer)


def test_a_fin_is_recovered_like_text():
    peer = accepted(options=SACK, rtt=RTT)
    peer.socket.send(bytes(4000))
    peer.socket.close()
    peer.drop()
    duplicate(peer, 1, (2, 3))
    assert peer.drop()[0].seq == 1
    peer.inject("A", ack=4001)
    peer.advance(SECOND)
    assert peer.expect("FA", seq=4001).length == 0


def test_a_segment_sacked_in_part_has_not_arrived():
    """RFC 2018 section 5: segments are marked that a block contains as a whole."""
    peer = sending(5, options=SACK)
    peer.inject("A", ack=1, sack=[(501, 5001)])
    peer.expect_data((1, 1001))


def test_with_timestamps_and_scaling_it_is_the_same():
    peer = accepted(options=FULL, rtt=RTT)
    peer.socket.send(bytes(9880))
    peer.drop()
    peer.inject("A", ack=1, sack=[(989, 989 + 3 * 988)])
    peer.expect_data((1, 989))
