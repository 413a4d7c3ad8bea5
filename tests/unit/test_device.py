"""Devices written in Python, as a driver sees them."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
from ipaddress import ip_network

import dpkt
import pytest
from native.device import Driver
from unit.device_packets import PACKET, train

from pystack.device.base import Device


class Recorder(Device):
    """Keeps what it is to send."""

    def __init__(self, mtu=1500):
        super().__init__(mtu)
        self.sent = []

    def send(self, packets):
        self.sent += packets


class Failing(Device):
    def send(self, packets):
        raise RuntimeError("no carrier pigeon")


class Pulled(Device):
    """Packets come by a datagram socket."""

    def __init__(self):
        super().__init__()
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ours.setblocking(False)

    def fileno(self):
        return self.ours.fileno()

    def receive(self):
        packets = []
        try:
            while True:
                packets.append(self.ours.recv(65535))
        except BlockingIOError:
            return packets

    def close(self):
        self.ours.close()
        self.theirs.close()
        super().close()


def test_packets_reach_send_as_bytes():
    device = Recorder()
    driver = Driver(device)
    driver.write([PACKET, PACKET])
    assert device.sent == [PACKET, PACKET]
    assert driver.live == 0


def test_trains_reach_send_cut_with_whole_checksums():
    """A device in Python has no offloads: every packet is one that a wire could carry."""
    device = Recorder()
    driver = Driver(device)
    payload = bytes(range(256)) * 12
    driver.write([train(payload, 1000)])
    packets = [dpkt.ip.IP(packet) for packet in device.sent]
    assert [len(packet.tcp.data) for packet in packets] == [1000, 1000, 1000, 72]
    assert b"".join(packet.tcp.data for packet in packets) == payload
    for packet, raw in zip(packets, device.sent, strict=True):
        packet.sum = packet.tcp.sum = 0
        assert bytes(packet) == raw
    assert driver.live == 0


def test_delivered_packets_wake_the_driver_once_until_it_has_read_them():
    device = Recorder()
    driver = Driver(device)
    device.deliver([PACKET])
    device.deliver([PACKET])
    assert driver.notified == 1
    assert [packet.data for packet in driver.read()] == [PACKET, PACKET]
    assert driver.read() == []
    device.deliver([PACKET])
    assert driver.notified == 2


def test_packets_delivered_before_the_stack_starts_wait_for_it():
    device = Recorder()
    device.deliver([PACKET])
    driver = Driver(device)
    assert driver.notified == 1
    assert len(driver.read()) == 1


def test_read_fills_no_more_than_there_is_room():
    device = Recorder()
    driver = Driver(device)
    device.deliver([PACKET] * 5)
    assert [len(driver.read(2)) for _ in range(4)] == [2, 2, 1, 0]


def test_what_does_not_fit_into_the_queue_is_dropped_and_counted():
    device = Recorder()
    driver = Driver(device)
    large = bytes(65535)
    device.deliver([large] * 300)  # 19 MiB
    taken = 0
    while packets := driver.read():
        taken += len(packets)
    assert taken + device.dropped == 300
    assert 200 < taken < 300
    device.deliver([large])  # there is room again
    assert len(driver.read()) == 1


@pytest.mark.parametrize("packet", [b"", bytes(65536)], ids=["empty", "too long"])
def test_bytes_that_cannot_be_a_packet_are_refused(packet):
    with pytest.raises(ValueError, match="1 to 65535 bytes"):
        Recorder().deliver([packet])


def test_send_may_deliver():
    """A mirror in three lines: nothing that send may call waits for the stack."""

    class Mirror(Device):
        def send(self, packets):
            self.deliver(packets)

    driver = Driver(Mirror())
    driver.write([PACKET])
    assert [packet.data for packet in driver.read()] == [PACKET]


def test_an_exception_in_send_is_logged_once_and_costs_only_its_packets(caplog):
    device = Failing()
    driver = Driver(device)
    for _ in range(3):
        driver.write([PACKET, PACKET])
    assert device.dropped == 6
    assert driver.live == 0
    (record,) = caplog.records
    assert record.name == "pystack"
    assert record.levelno == logging.ERROR
    assert "Failing.send" in record.message
    assert "no carrier pigeon" in caplog.text


def test_a_device_with_a_file_is_asked_for_packets():
    with Pulled() as device:
        driver = Driver(device)
        assert driver.poll_fd == device.fileno()
        assert driver.read() == []
        for _ in range(3):
            device.theirs.send(PACKET)
        assert [len(driver.read(2)) for _ in range(2)] == [2, 1]
        driver.detach()


def test_an_oserror_in_receive_says_that_the_device_is_gone():
    class Gone(Pulled):
        def receive(self):
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    with Gone() as device:
        driver = Driver(device)
        with pytest.raises(OSError) as problem:
            driver.read()
        assert problem.value.errno == errno.ENODEV
        driver.detach()


def test_another_exception_in_receive_is_logged_once_and_read_goes_on(caplog):
    class Confused(Pulled):
        def receive(self):
            raise KeyError("pigeon")

    with Confused() as device:
        driver = Driver(device)
        assert driver.read() == driver.read() == []
        device.deliver([PACKET])
        assert len(driver.read()) == 1
        assert len(caplog.records) == 1
        driver.detach()


def test_a_closed_device_is_gone_for_the_driver_that_still_uses_it():
    device = Recorder()
    driver = Driver(device)
    device.close()
    assert driver.notified == 1
    for use in (driver.read, lambda: driver.write([PACKET])):
        with pytest.raises(OSError) as problem:
            use()
        assert problem.value.errno == errno.EBADF
    assert driver.live == 0
    driver.detach()
    with pytest.raises(OSError):
        Driver(device)


def test_a_device_carries_one_stack_at_a_time():
    device = Recorder()
    first = Driver(device)
    with pytest.raises(OSError) as problem:
        Driver(device)
    assert problem.value.errno == errno.EBUSY
    first.detach()
    Driver(device)


def test_nobody_is_notified_after_detach():
    device = Recorder()
    driver = Driver(device)
    driver.detach()
    device.deliver([PACKET])
    assert driver.notified == 0


@pytest.mark.parametrize("mtu", [67, 65536, -1])
def test_an_mtu_that_ip_does_not_know_is_refused(mtu):
    with pytest.raises(ValueError, match="68 and 65535"):
        Recorder(mtu)


def test_ipv6_needs_an_mtu_of_1280():
    """RFC 8200 section 5."""
    Recorder(1280).configure([ip_network("fd03::/64")])
    Recorder(1279).configure([ip_network("10.3.0.0/24")])
    with pytest.raises(ValueError, match="1280"):
        Recorder(1279).configure([ip_network("fd03::/64")])


def test_threads_may_deliver_at_once():
    device = Recorder()
    driver = Driver(device)
    threads = [threading.Thread(target=device.deliver, args=([PACKET] * 500,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    taken = 0
    while any(thread.is_alive() for thread in threads):
        taken += len(driver.read())
    for thread in threads:
        thread.join()
    while packets := driver.read():
        taken += len(packets)
    assert taken == 2000
    assert driver.live == 0
