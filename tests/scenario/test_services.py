"""Services inside the core, RFC 862 and 863: what they answer, however much comes at once."""

from __future__ import annotations

import pytest
from native.core import Host
from scenario.peer import SECOND
from scenario.tcp_states import alone
from scenario.udp_wire import FAMILIES, family_name, udp_packet

ECHO, DISCARD = 1, 2
TCP, UDP = 6, 17
BATCH = 64  # packets that a driver hands over before it fetches the answers


@pytest.mark.parametrize("family", FAMILIES, ids=family_name)
@pytest.mark.parametrize("length", [0, 1000, 3000, 9000, 60000])
def test_every_datagram_of_a_batch_is_echoed(family, length):
    host = Host("10.3.0.0/24", "fd03::/64", mtu=65535)
    host.serve(ECHO, UDP, 7)
    for number in range(BATCH):
        data = number.to_bytes(1, "big") * length
        host.input(udp_packet(family.peer, 5000, family.ours, 7, data))
    answers = [packet[48 if family.v6 else 28 :] for packet in host.take()]
    assert answers == [number.to_bytes(1, "big") * length for number in range(BATCH)]
    assert host.live_packets == 0


def test_a_service_that_has_yet_to_answer_is_unfinished():
    peer = alone(local_port=9)
    peer.host.serve(DISCARD, TCP, 9)
    before = peer.host.connections
    peer.open()
    peer.inject("A")
    peer.drop()
    peer.inject("R")
    assert peer.host.deadline == peer.host.now
    peer.drop()
    assert peer.host.deadline is None
    assert peer.host.connections == before


def test_a_service_that_has_read_nothing_acknowledges_nothing():
    """Nothing has opened the window: no update follows the handshake."""
    peer = alone(local_port=9)
    peer.host.serve(DISCARD, TCP, 9)
    peer.handshake()
    peer.inject("A", data=b"x")
    peer.expect("A", ack=2)
    peer.advance(SECOND)
    peer.expect_nothing()
