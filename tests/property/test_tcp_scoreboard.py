"""What the scoreboard keeps, so that an ACK costs no walk over it, is what a walk would find."""

from __future__ import annotations

from effort import some
from hypothesis import given, settings
from hypothesis import strategies as st
from native.scoreboard import SEGMENT, Board

SACKED, LOST, RETRANSMITTED, JUDGED = 0x01, 0x02, 0x04, 0x40  # SentFlag

offsets = st.integers(0, 1 << 16)
lengths = st.lists(st.integers(1, 7 * SEGMENT), min_size=1, max_size=6)
blocks = st.lists(st.tuples(offsets, offsets), min_size=1, max_size=4)
sizes = st.lists(st.integers(1, 5), min_size=1, max_size=5)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), lengths),
        st.tuples(st.just("send"), lengths),
        st.tuples(st.just("sack"), blocks),
        st.tuples(st.just("sack"), blocks),
        st.tuples(st.just("repeat"), sizes),
        st.tuples(st.just("repeat"), sizes),
        st.tuples(st.just("advance"), st.integers(1, 10_000_000)),
        st.tuples(st.just("ack"), offsets),
        st.tuples(st.sampled_from(["probe", "time_out", "undo", "undo", "renege"]), st.none()),
    ),
    min_size=30,
    max_size=60,
)


def to_repeat(record):
    return record["flags"] & (LOST | RETRANSMITTED) == LOST


def losses(board):
    """RFC 8985 section 6.2 step 5, one record after the other: who is lost, how long to wait."""
    rack = board.rack
    lost, wait = [], 0
    for record in board.records:
        if record["flags"] & (SACKED | JUDGED) or to_repeat(record):
            continue
        if (record["sent_at"], record["end"]) >= (rack["sent_at"], rack["end"]):
            continue
        remaining = rack["rtt"] + rack["window"] - (board.now - record["sent_at"])
        if remaining <= 0:
            lost.append(record["seq"])
        wait = max(wait, remaining)
    return lost, wait


def detect(board):
    lost, wait = losses(board)
    before = {record["seq"] for record in board.records if record["flags"] & JUDGED}
    assert board.detect() == wait
    after = {record["seq"] for record in board.records if record["flags"] & JUDGED}
    assert after - before == set(lost)


def place(board, part):
    """A number within what is outstanding; mostly where a segment begins."""
    number = board.una + part % (board.nxt - board.una + 1)
    return number if part % 3 == 0 else max(board.una, number - number % SEGMENT)


def take(board, step, argument):
    board.advance(1)
    if step == "send":
        for length in argument:
            board.send(length)
    elif step == "sack":
        blocks = [tuple(sorted(place(board, part) for part in block)) for block in argument]
        board.arrived(board.una, blocks)
    elif step == "ack":
        board.arrived(min(place(board, argument), board.una + 5 * SEGMENT), [])
    elif step == "repeat":
        for segments in argument:
            first = next((r["seq"] for r in board.records if to_repeat(r)), None)
            assert board.repeat(segments * SEGMENT) == first
    elif step == "renege":
        # The ACK comes to stand before what had arrived, and stays there.
        if arrived := [r["seq"] for r in board.records if r["flags"] & SACKED]:
            board.arrived(arrived[0], [])
            board.time_out()
    elif argument is None:
        getattr(board, step)()
    else:
        board.advance(argument)


def check(board):
    records = board.records
    arrived = [record for record in records if record["flags"] & SACKED]
    edges = [board.una, *(record["end"] for record in records)]
    assert [*(record["seq"] for record in records), board.nxt] == edges
    assert board.highest_sacked == (arrived[-1]["end"] if arrived else board.una)
    there, back = board.order
    assert there == back[::-1]
    assert sorted(there) == [
        at for at, record in enumerate(records) if not record["flags"] & (SACKED | JUDGED)
    ]
    times = [records[at]["sent_at"] for at in there]
    assert times == sorted(times)
    order, sums = board.sums
    assert order["count"] == len(there)
    for record in arrived:
        known = [r for r in records if record["seq"] <= r["seq"] < record["known_to"]]
        assert record["known_to"] >= record["end"]
        assert all(r["flags"] & SACKED for r in known)
    assert sums == {
        "packets_out": sum(r["segments"] for r in records),
        "sacked_out": sum(r["segments"] for r in arrived),
        "lost_out": sum(r["segments"] for r in records if r["flags"] & LOST),
        "retrans_out": sum(r["segments"] for r in records if r["flags"] & RETRANSMITTED),
        "to_repeat": sum(r["segments"] for r in records if to_repeat(r)),
    }


@settings(max_examples=some(150), deadline=None)
@given(st.booleans(), steps)
def test_what_is_kept_is_what_a_walk_would_find(reorders, steps):
    board = Board(reorders)
    for step, argument in steps:
        take(board, step, argument)
        check(board)
        detect(board)
        check(board)


def test_what_an_undo_takes_back_is_judged_again():
    """RACK had passed over it: after the timeout it was lost, and not sent again."""
    board = Board(False)
    board.send(3 * SEGMENT)
    board.advance(10_000_000)
    board.time_out()
    board.send(SEGMENT)
    board.advance(10_000_000)
    board.arrived(0, [(3 * SEGMENT, 4 * SEGMENT)])
    assert losses(board) == ([], 0)
    detect(board)
    board.undo()
    assert losses(board)[0] == [0]
    detect(board)
    check(board)
