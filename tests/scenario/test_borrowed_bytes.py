"""Segments borrow their text from the send ring (docs/decisions/0001): never after it has gone."""

from __future__ import annotations

import pytest
from scenario.peer import SECOND
from scenario.tcp_states import accepted

ENDINGS = {
    "abort": lambda peer: peer.socket.abort(),
    "reset by the peer": lambda peer: peer.inject("R"),
    "acknowledgment": lambda peer: peer.inject("A", ack=1001),
    "end of the stack": lambda peer: peer.host.abort_all(),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_timer_sends_nothing_that_the_next_entry_can_free(ending):
    peer = accepted()
    peer.send(1000, ack=False)
    peer.drop()
    peer.host.advance(3 * SECOND)  # beyond the RTO; nobody takes what it sends
    ending(peer)
    assert not [segment for segment in peer.drop() if segment.length]


def test_what_a_window_held_back_is_sent_when_the_override_timer_fires():
    """RFC 9293 section 3.8.6.2.1: also without another entry."""
    peer = accepted()
    peer.inject("A", window=1000)
    peer.send(1000, ack=False)
    peer.drop()
    peer.inject("A", ack=1001, window=100)
    peer.send(500, ack=False)
    peer.expect_nothing()
    peer.advance(SECOND)
    assert [segment.length for segment in peer.pending][:1] == [100]
