"""A stream of which parts are lent, against the bytes that it should hold."""

from __future__ import annotations

import random

import pytest
from effort import some
from native.loan import LEAST, LentStream

TRAIN = 65535


def noise(rng: random.Random, least: int, most: int) -> bytes:
    return rng.randbytes(rng.randint(least, most))


@pytest.mark.parametrize("seed", range(some(60)))
def test_it_holds_what_was_put_there(seed):
    rng = random.Random(seed)
    stream = LentStream(rng.choice((0, 1, 0x7FFF0000, 0xFFFF0000)))
    held = b""
    for _ in range(60):
        step = rng.random()
        if step < 0.3:
            data = noise(rng, 1, 5000)
            stream.copy(data)
            held += data
        elif step < 0.5:
            pieces = [noise(rng, LEAST, LEAST + 5000) for _ in range(rng.randint(0, 3))]
            stream.lend(pieces)
            held += b"".join(pieces)
        elif step < 0.6:
            count = rng.randint(0, len(held))
            stream.consume(count)
            held = held[count:]
        else:
            offset = rng.randint(0, len(held))
            train = held[offset : offset + rng.randint(0, TRAIN)]
            pieces = stream.spans(offset, len(train))
            assert b"".join(pieces) == train
            assert all(pieces)
    stream.consume(len(held))
    assert stream.repaid == stream.lent


def test_the_longest_train_has_four_pieces():
    stream = LentStream(0)
    stream.copy(bytes(2 * LEAST))
    stream.consume(2 * LEAST)
    stream.lend([bytes(2 * LEAST - 500)])
    stream.consume(LEAST)
    stream.copy(b"a" * 1000)  # the ring ends in the middle of it
    stream.lend([bytes(LEAST)])
    pieces = stream.spans(LEAST - 501, TRAIN)
    assert [len(piece) for piece in pieces] == [1, 500, 500, TRAIN - 1001]


def test_a_lender_is_repaid_once_when_all_its_loans_are():
    stream = LentStream(0)
    stream.lend([bytes(LEAST), bytes(LEAST)])
    stream.consume(2 * LEAST - 1)
    assert stream.repaid == 0
    stream.consume(1)
    assert stream.repaid == 1


def test_who_lends_nothing_is_repaid_at_once():
    stream = LentStream(0)
    stream.lend([])
    assert stream.repaid == 1


def test_release_repays():
    stream = LentStream(0)
    stream.lend([bytes(LEAST)])
    stream.release()
    assert stream.repaid == 1
