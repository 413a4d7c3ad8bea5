"""A device that takes single packets only, and segments whose options leave less room for text."""

from __future__ import annotations

import pytest
from scenario.peer import FULL, MS, SACK, SECOND
from scenario.tcp_states import accepted

single = pytest.mark.parametrize("max_train", [0, 1060], ids=["none", "one segment"])
both = pytest.mark.parametrize("options", [SACK, FULL], ids=["sack", "sack and timestamps"])


def holes_both_ways(options, **config):
    """Ten segments are out; the peer's data has a hole, so that each segment reports it."""
    peer = accepted(rtt=100 * MS, options=options, **config)
    peer.socket.send(bytes(10_000))
    sent = peer.drop()
    peer.inject("A", seq=1001, ack=1, data=b"beyond a hole")
    peer.drop()
    return peer, sent


@single
@both
def test_a_lost_segment_is_retransmitted_with_less_text(max_train, options):
    """RFC 6691 section 3: options take their room from the text."""
    peer, sent = holes_both_ways(options, max_train=max_train)
    first = sent[0]
    peer.inject("A", ack=1, sack=[(first.end, sent[4].end)])
    again = [segment for segment in peer.drop() if segment.length]
    assert again
    assert again[0].seq == 1
    assert 0 < again[0].length < first.length
    assert again[0].sack
    assert len(again[0].raw) <= len(first.raw)


@single
@both
def test_after_a_timeout_everything_goes_out_again(max_train, options):
    peer, _ = holes_both_ways(options, max_train=max_train)
    last = 1
    for _ in range(10):
        peer.advance(SECOND)
        last = max([last, *(segment.end for segment in peer.drop())])
        peer.inject("A", ack=last)
    assert last == 10_001
    assert peer.socket.lost_out == peer.socket.retrans_out == 0
