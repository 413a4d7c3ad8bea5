"""What a program writes in pieces within one turn of the loop leaves in one, without waiting for
time to pass; so do its answers to many connections. What arrives is handed over without a detour.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from contextvars import ContextVar

import dpkt
import pytest
from scenario.aio.conftest import Recorder, World, in_loop

from pystack.aio.attachment import attach

spoken = ContextVar("spoken", default="")

MANY, FEW = 20, 7  # connections
FOREVER = 1 << 62  # ns


class Wire:
    """The text of each segment that a stack sends for the first time; real time may repeat one."""

    def __init__(self, stack) -> None:
        self.texts: list[bytes] = []
        self.times: list[int] = []  # those that leave together have the same
        self.fins: set[tuple[int, int]] = set()
        self.seen: set[tuple[int, int]] = set()
        stack.capture(self)

    def write(self, packet: bytes, time_ns: int, outbound: bool) -> None:
        segment = dpkt.ip.IP(packet).data
        if not outbound:
            return
        which = segment.dport, segment.seq
        if segment.flags & dpkt.tcp.TH_FIN:
            self.fins.add((segment.dport, segment.seq + len(segment.data)))
        if segment.data and which not in self.seen:
            self.seen.add(which)
            self.texts.append(segment.data)
            self.times.append(time_ns)

    def take(self) -> list[bytes]:
        texts, self.texts = self.texts, []
        return texts


@asynccontextmanager
async def answering(*pieces: bytes):
    """The world; a client, a server that has answered it twice, in these pieces, and the wire."""

    class Server(Recorder):
        answer = True

        def data_received(self, data):
            super().data_received(data)
            if self.answer:
                for piece in pieces:
                    self.transport.write(piece)

    async with World("loop") as world:
        near, far = await world.pair(server=Server)
        wire = Wire(world.near)
        for round_ in (1, 2):
            near.transport.write(b"?")
            await near.received(round_ * len(b"".join(pieces)))
        yield world, near, far, wire
        near.transport.abort()
        await far.lost


async def asked_in_vain(near, far, wire) -> None:
    """The server hears of something that it does not answer: the loop has turned."""
    far.answer = False
    size = len(far.data)
    near.transport.write(b"!")
    await far.received(size + 1)
    wire.take()


@in_loop
async def test_two_writes_in_a_turn_leave_as_one_segment_once_that_is_known():
    async with answering(b"head", b"body") as (_, _, _, wire):
        assert wire.take() == [b"head", b"body", b"headbody"]


@in_loop
async def test_the_last_piece_is_not_waited_for_longer_than_for_itself():
    """It takes those before it along, within the same callback."""
    async with answering(b"1", b"2", b"3") as (_, near, far, wire):
        await asked_in_vain(near, far, wire)
        far.transport.write(b"a")
        far.transport.write(b"b")
        assert wire.take() == []
        far.transport.write(b"c")
        assert wire.take() == [b"abc"]
        far.transport.write(b"d")
        assert wire.take() == [b"d"]


@in_loop
async def test_who_writes_once_a_turn_never_waits():
    async with answering(b"all") as (_, near, far, wire):
        for _ in range(3):
            await asked_in_vain(near, far, wire)
            far.transport.write(b"x")
            assert wire.take() == [b"x"]


@in_loop
async def test_a_piece_that_nothing_follows_leaves_after_the_callbacks_that_are_due():
    async with answering(b"head", b"body") as (_, near, far, wire):
        await asked_in_vain(near, far, wire)
        far.transport.write(b"head")
        assert wire.take() == []
        await asyncio.sleep(0)
        assert wire.take() == [b"head"]
        await asked_in_vain(near, far, wire)
        far.transport.write(b"alone")  # and it is known now
        assert wire.take() == [b"alone"]


@in_loop
async def test_what_another_connection_sends_takes_it_along():
    async with answering(b"head", b"body") as (world, near, far, wire):
        other, other_far = await world.pair()
        await asked_in_vain(near, far, wire)
        far.transport.write(b"head")
        other_far.transport.write(b"other")
        assert sorted(wire.take()) == [b"head", b"other"]
        other.transport.abort()
        await other_far.lost


@pytest.mark.parametrize("end", ["close", "write_eof"])
def test_the_fin_takes_it_along(end):
    @in_loop
    async def run():
        async with answering(b"head", b"body") as (_, near, far, wire):
            await asked_in_vain(near, far, wire)
            far.transport.write(b"head")
            getattr(far.transport, end)()
            await near.ended
            assert wire.take() == [b"head"]
            assert len(wire.fins) == 1
            assert near.data.endswith(b"head")

    run()


@in_loop
async def test_long_pieces_do_not_wait():
    async with answering(b"head", b"body") as (_, near, far, wire):
        await asked_in_vain(near, far, wire)
        far.transport.write(bytes(20_000))
        assert wire.take() != []


@asynccontextmanager
async def asked(number: int, pause: int):
    """So many clients of an echo server; its answers, `pause` ns apart at most, leave together."""

    class Echo(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.write(data)

    async with World("loop") as world:
        pairs = [await world.pair(server=Echo) for _ in range(number)]
        attach(world.near).watcher.cork(pause)
        wire = Wire(world.near)
        for near, _ in pairs:
            near.transport.write(b"?")
        for near, _ in pairs:
            await near.received(1)
        yield wire.times
        for near, _ in pairs:
            near.transport.abort()
        for _, far in pairs:
            await far.lost


@in_loop
async def test_quick_answers_to_many_leave_together():
    async with asked(MANY, FOREVER) as times:
        assert len(times) == MANY
        assert len(set(times)) == 1


@in_loop
async def test_slow_answers_leave_one_by_one():
    async with asked(MANY, -1) as times:
        assert len(times) == len(set(times)) == MANY


@in_loop
async def test_answers_to_few_leave_one_by_one():
    async with asked(FEW, FOREVER) as times:
        assert len(times) == len(set(times)) == FEW


@in_loop
async def test_data_received_runs_in_the_context_in_which_the_connection_was_made(world):
    class Speaker(Recorder):
        def data_received(self, data):
            self.events.append(spoken.get())
            spoken.set(spoken.get() + "!")
            super().data_received(data)

    token = spoken.set("hello")
    near, far = await world.pair(client=Speaker)
    spoken.reset(token)
    for count in (1, 2):
        far.transport.write(b"x")
        await near.received(count)
    assert near.events == ["made", "hello", "data", "hello!", "data"]
    near.transport.abort()
    await far.lost


@in_loop
async def test_a_protocol_may_be_changed_within_data_received(world):
    """As start_tls and upgrades to WebSocket do: what follows is the other one's."""
    second = Recorder()

    class First(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.set_protocol(second)

    near, far = await world.pair(client=First)
    far.transport.write(b"1")
    await near.received(1)
    far.transport.write(b"2")
    assert await second.received(1) == b"2"
    assert near.data == b"1"
    near.transport.abort()
    await far.lost


@in_loop
async def test_reading_pauses_and_goes_on_within_data_received(world):
    class Picky(Recorder):
        pauses = 0

        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()
            if self.pauses % 2:
                self.transport.resume_reading()
            self.pauses += 1

    near, far = await world.pair(client=Picky)
    far.transport.write(b"1")
    await near.received(1)
    far.transport.write(b"2")
    for _ in range(10):
        await asyncio.sleep(0)
    assert near.data == b"1"
    near.transport.resume_reading()
    await near.received(2)
    far.transport.write(b"3")
    await near.received(3)
    near.transport.abort()
    await far.lost
