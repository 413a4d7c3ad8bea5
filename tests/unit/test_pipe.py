"""Two stacks joined in memory."""

from __future__ import annotations

import dpkt
import pytest
from native.device import CSUM_FULL, CSUM_VERIFIED, FEATURES, GSO_NONE, Driver
from unit.device_packets import PACKET, train

from pystack.device.pipe import PipeDevice

PAYLOAD = bytes(range(256)) * 100


@pytest.fixture
def ends():
    a, b = PipeDevice.pair()
    with a, b:
        yield Driver(a), Driver(b)


def test_what_one_end_sends_the_other_receives(ends):
    a, b = ends
    a.write([PACKET, PACKET])
    b.write([PACKET])
    assert len(a.read()) == 1
    assert [packet.data for packet in b.read()] == [PACKET, PACKET]
    assert a.live == b.live == 0


def test_the_other_end_is_woken(ends):
    a, b = ends
    a.write([PACKET])
    a.write([PACKET])
    assert (a.notified, b.notified) == (0, 1)


def test_a_train_passes_whole_with_its_description_and_a_copy_of_what_was_lent(ends):
    a, b = ends
    sent = train(PAYLOAD, 1000)
    a.write([sent])
    (got,) = b.read()
    assert got.data == sent.data + PAYLOAD
    assert (got.csum, got.csum_start, got.csum_offset) == (sent.csum, 20, 16)
    assert (got.gso, got.gso_size) == (sent.gso, 1000)


def test_a_wire_that_cuts_carries_single_finished_packets():
    a, b = (Driver(end) for end in PipeDevice.pair(1500, cut=True))
    a.write([train(PAYLOAD, 1400)])
    got = b.read()
    assert [len(packet.data) for packet in got] == [1440] * 18 + [440]
    for packet in got:
        assert packet.gso == GSO_NONE
        assert packet.csum in (CSUM_FULL, CSUM_VERIFIED)
    assert b"".join(dpkt.ip.IP(packet.data).tcp.data for packet in got) == PAYLOAD
    assert a.live == 0


@pytest.mark.parametrize(("cut", "features"), [(False, sum(FEATURES.values())), (True, 0)])
def test_a_wire_offers_what_it_carries(cut, features):
    for end in PipeDevice.pair(9000, cut=cut):
        assert (end.mtu, end.features) == (9000, features)


def test_what_is_sent_to_a_closed_end_is_lost(ends):
    a, b = ends
    b.detach()
    b.device.close()
    a.write([PACKET])
    assert a.device.dropped == 1
    assert a.live == 0


def test_the_wire_holds_a_bounded_amount(ends):
    a, b = ends
    large = train(bytes(60000), 1400)
    for _ in range(400):
        a.write([large])
    got = 0
    while packets := b.read():
        got += len(packets)
    assert got + b.device.dropped == 400
    assert b.device.dropped > 100


def test_a_wire_has_two_ends():
    with pytest.raises(TypeError, match="pair"):
        PipeDevice()
