"""Sessions made of others: changes that know only that a session is a row of records."""

from __future__ import annotations

import random

RECORD = 16
LONGEST = 256 * RECORD


def mutate(rng: random.Random, data: bytes, pool: list[bytes]) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        rng.choice(CHANGES)(rng, out, pool)
    return bytes(out[:LONGEST])


def place(rng: random.Random, data: bytearray) -> int:
    """Where a record begins, or the end."""
    return RECORD * rng.randint(0, len(data) // RECORD)


def change_byte(rng: random.Random, data: bytearray, pool: list[bytes]) -> None:
    if data:
        at = rng.randrange(len(data))
        data[at] = rng.choice((rng.randrange(256), data[at] ^ 1 << rng.randrange(8), 0, 1, 255))


def change_kind(rng: random.Random, data: bytearray, pool: list[bytes]) -> None:
    at = place(rng, data)
    if at < len(data):
        data[at] = rng.randrange(256)


def insert(rng: random.Random, data: bytearray, pool: list[bytes]) -> None:
    at = place(rng, data)
    record = bytearray(RECORD)
    record[0] = rng.randrange(256)
    for _ in range(rng.randrange(6)):
        record[rng.randrange(1, RECORD)] = rng.randrange(256)
    if rng.random() < 0.3:
        record[2] = rng.choice((2, 16, 24, 17, 18, 4, 20, 0xC2, 0x50))
    data[at:at] = record


def drop(rng: random.Random, data: bytearray, pool: list[bytes]) -> None:
    at = place(rng, data)
    del data[at : at + RECORD * rng.choice((1, 1, 2, 8))]


def repeat(rng: random.Random, data: bytearray, pool: list[bytes]) -> None:
    at = place(rng, data)
    data[at:at] = data[at : at + RECORD * rng.choice((1, 1, 3))] * rng.choice((1, 1, 2, 10))


def borrow(rng: random.Random, data: bytearray, pool: list[bytes]) -> None:
    other = bytearray(rng.choice(pool) if pool else b"")
    start = place(rng, other)
    at = place(rng, data)
    data[at:at] = other[start : start + RECORD * rng.choice((1, 2, 4, 16))]


def splice(rng: random.Random, data: bytearray, pool: list[bytes]) -> None:
    other = bytearray(rng.choice(pool) if pool else b"")
    data[place(rng, data) :] = other[place(rng, other) :]


CHANGES = (change_byte, change_byte, change_byte, change_byte, change_kind, insert, insert, drop,
           repeat, borrow, borrow, splice)  # fmt: skip
