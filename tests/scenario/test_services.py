"""Services inside the core, RFC 862: what they answer, however much comes at once."""

from __future__ import annotations

import pytest
from native.core import Host
from scenario.udp_wire import FAMILIES, family_name, udp_packet

ECHO, UDP = 1, 17
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
