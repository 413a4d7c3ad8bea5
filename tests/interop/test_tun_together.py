"""TunDevice reads and writes several packets by one call, where the kernel permits that."""

from __future__ import annotations

import errno
import os
import socket

import dpkt
import pytest
from interop.tun_peer import protocol
from native.device import Driver, PacketInfo

UDP = 17
KERNEL, PEER = "10.3.0.1", "10.3.0.7"

ways = pytest.mark.parametrize("io_uring", [True, False], ids=["together", "one-by-one"])
offloads = pytest.mark.parametrize("offloads", [True, False])


@pytest.fixture
def link(namespace):
    """Makes a driver of a device, and a UDP socket of the kernel at its other end."""
    opened = []

    def make(**how):
        device = namespace.tun("10.3.0.0/24", **how)
        receiver = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.extend((device, receiver))
        receiver.bind((KERNEL, 9000))
        receiver.settimeout(5)
        return Driver(device), receiver

    yield make
    for one in opened:
        one.close()


def datagrams(count, start=0):
    return [f"datagram {start + i}".encode() for i in range(count)]


def packet(payload, lent=0):
    """A datagram to the kernel; the last `lent` bytes are borrowed."""
    udp = dpkt.udp.UDP(sport=7, dport=9000, ulen=8 + len(payload), data=payload)
    source, destination = socket.inet_aton(PEER), socket.inet_aton(KERNEL)
    whole = bytes(dpkt.ip.IP(src=source, dst=destination, p=UDP, data=udp))
    own = len(whole) - lent
    return PacketInfo(whole[:own], borrowed=(whole[own:], b""))


def arrived(driver, count):
    """The payloads of datagrams that the kernel has sent; packets of other protocols aside."""
    payloads = []
    for _ in range(count):
        packets = driver.read()
        payloads += [one.data[28:] for one in packets if protocol(one.data) == UDP]
        if len(payloads) >= count:
            break
    return payloads


def rings():
    """The files of all rings of this process."""
    files = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[io_uring]":
                files.append(int(fd))
        except FileNotFoundError:
            pass  # of listdir itself
    return files


@ways
@offloads
def test_packets_come_in_order(link, io_uring, offloads):
    """More than are read at once, several times."""
    driver, sender = link(io_uring=io_uring, offloads=offloads)
    for turn in range(3):
        sent = datagrams(300, turn)
        for datagram in sent:
            sender.sendto(datagram, (PEER, 9))
        assert arrived(driver, 300) == sent
        assert driver.read() == []


@ways
@offloads
def test_packets_leave_in_order(link, io_uring, offloads):
    driver, receiver = link(io_uring=io_uring, offloads=offloads)
    for count in (1, 2, 3, 64, 65, 150):
        sent = datagrams(count)
        driver.write([packet(payload, i % 3) for i, payload in enumerate(sent)])
        assert driver.live == 0
        assert [receiver.recv(100) for _ in sent] == sent


@ways
def test_a_packet_that_the_kernel_refuses_is_lost_alone(link, io_uring):
    driver, receiver = link(io_uring=io_uring, offloads=False)
    sent = datagrams(5)
    packets = [packet(payload) for payload in sent]
    packets[2] = PacketInfo(b"\x00 is no IP version")
    driver.write(packets)
    assert driver.device.dropped == 1
    assert [receiver.recv(100) for _ in range(4)] == [*sent[:2], *sent[3:]]


@ways
def test_packets_for_an_interface_that_is_gone_are_freed(namespace, link, io_uring):
    driver, _ = link(io_uring=io_uring)
    namespace.run(["ip", "link", "delete", "pystack0"])
    for _ in range(2):
        with pytest.raises(OSError) as problem:
            driver.write([packet(payload) for payload in datagrams(70)])
        assert problem.value.errno == errno.EBADFD
        assert driver.live == 0


@ways
def test_an_interface_that_vanishes_while_much_is_read(namespace, link, io_uring):
    driver, sender = link(io_uring=io_uring)
    for datagram in datagrams(100):
        sender.sendto(datagram, (PEER, 9))
    assert len(driver.read()) == 64
    namespace.run(["ip", "link", "delete", "pystack0"])
    with pytest.raises(OSError) as problem:
        driver.read()
    assert problem.value.errno == errno.EBADFD
    assert driver.live == 0


def test_what_stops_to_be_permitted_is_done_one_by_one(link):
    """The ring's calls fail, and nothing is lost."""
    before = rings()
    driver, peer = link(io_uring=True)
    ours = [fd for fd in rings() if fd not in before]
    if not ours:
        pytest.skip("this machine permits no io_uring")
    assert len(ours) == 2
    for datagram in datagrams(200):
        peer.sendto(datagram, (PEER, 9))
    assert len(driver.read()) == 64
    with open(os.devnull) as no_ring:
        for fd in ours:
            os.dup2(no_ring.fileno(), fd)
    sent = datagrams(100)
    driver.write([packet(payload) for payload in sent])
    assert [peer.recv(100) for _ in sent] == sent
    assert arrived(driver, 136) == datagrams(136, 64)
    assert driver.live == driver.device.dropped == 0


def test_a_device_that_is_closed_leaves_no_rings(link):
    before = rings()
    driver, _ = link(io_uring=True)
    driver.detach()
    driver.device.close()
    assert rings() == before


def test_whoever_wants_no_rings_has_none(link):
    before = rings()
    link(io_uring=False)
    assert rings() == before
