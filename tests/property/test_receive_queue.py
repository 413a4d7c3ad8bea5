"""What arrives in trains, short segments and behind holes is read as it was sent, however much is
read at once; and the packets in which it waits are given back.
"""

from __future__ import annotations

import random

from effort import some
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from scenario.peer import FULL
from scenario.tcp_states import accepted

BUFFER = 1 << 20
PIECE = 988
STREAM = random.Random(1).randbytes(8 << 20)
# Long trains stay in their packets, a short one is copied, and so is what is between.
SIZES = st.one_of(
    st.integers(1, 3000), st.integers(30_000, 36_000), st.integers(50_000, 65_000), st.just(33_072)
)


class Receiving(RuleBasedStateMachine):
    """`sent` is what the peer has sent in order; [hole, beyond) what it has sent behind a hole."""

    def __init__(self):
        super().__init__()
        self.peer = accepted(options=FULL, receive_buffer=BUFFER)
        self.sent = self.read = 0
        self.hole = self.beyond = 0

    def inject(self, start, end):
        self.peer.inject("A", seq=1 + start, data=STREAM[start:end], gso_size=PIECE)
        self.peer.drop()

    def room(self, size):
        return self.beyond + size < min(self.read + BUFFER // 2, len(STREAM))

    @rule(size=SIZES)
    def next_in_order(self, size):
        """Up to the hole, if there is one."""
        if self.hole:
            size = min(size, self.hole - self.sent)
        elif not self.room(size):
            return
        self.inject(self.sent, self.sent + size)
        self.sent += size
        if self.sent == self.hole:
            self.sent, self.hole = self.beyond, 0
        self.beyond = max(self.beyond, self.sent)

    @rule(size=SIZES, gap=SIZES)
    def behind_a_hole(self, size, gap):
        if not self.hole and self.room(size + gap):
            self.hole = self.sent + gap
            self.beyond = self.hole + size
            self.inject(self.hole, self.beyond)

    @rule(back=st.integers(1, 70_000), size=SIZES)
    def again(self, back, size):
        """Text that is known, and perhaps some that is not."""
        start = max(self.sent - back, 0)
        if self.hole or not self.room(size):
            size = min(size, self.sent - start)
        if size:
            self.inject(start, start + size)
            self.sent = max(self.sent, start + size)
            self.beyond = max(self.beyond, self.sent)

    @rule(size=st.integers(1, 200_000))
    def reads(self, size):
        if self.read < self.sent:
            data = self.peer.socket.receive(size)
            assert data == STREAM[self.read : min(self.read + size, self.sent)]
            self.read += len(data)
            self.peer.drop()

    @rule(size=st.integers(1, 200_000), part=st.floats(0, 1, exclude_max=True))
    def peeks(self, size, part):
        if self.read < self.sent:
            offset = int(part * (self.sent - self.read))
            start = self.read + offset
            there = STREAM[start : min(start + size, self.sent)]
            assert self.peer.socket.peek(size, offset) == there

    @invariant()
    def agrees_on_what_is_next(self):
        assert self.peer.tcb.rcv_nxt - self.peer.tcb.irs == 1 + self.sent

    def teardown(self):
        while self.read < self.sent:
            self.reads(1 << 20)
        assert self.peer.host.live_packets == 0


TestReceiving = Receiving.TestCase
TestReceiving.settings = settings(max_examples=some(120), stateful_step_count=30, deadline=None)
