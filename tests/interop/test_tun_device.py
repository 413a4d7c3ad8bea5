"""TunDevice against the kernel, without a stack: interfaces, addresses, routes, packets."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from ipaddress import ip_address

import dpkt
import pytest
from interop.harness import ROOT, require_tool
from interop.tun_peer import answer_ping, answering, expect, mirror, protocol
from native.device import (
    CSUM_FULL,
    CSUM_PARTIAL,
    FEATURES,
    GSO_NONE,
    GSO_TCP4,
    GSO_TCP6,
    GSO_UDP4,
    GSO_UDP6,
    Driver,
    PacketInfo,
)

from pystack.device.tun import TunDevice

ALL = sum(FEATURES.values())
NETS = ("10.3.0.0/24", "fd03::/64")
FAMILIES = {4: ("10.3.0.1", "10.3.0.7"), 6: ("fd03::1", "fd03::7")}  # the kernel's, the peer's
TCP, UDP = 6, 17
TUNSETVNETHDRSZ = 0x400454D8  # x86 and ARM

both_families = pytest.mark.parametrize("family", [4, 6], ids=["v4", "v6"])
offloads = pytest.mark.parametrize("offloads", [True, False, "csum", "csum,tso4,tso6"])


def ip(namespace, *arguments):
    """What `ip` knows in the namespace."""
    return json.loads(namespace.run(["ip", "-json", *arguments]).stdout or "[]")


def link_exists(namespace, name="pystack0"):
    return name in {link["ifname"] for link in ip(namespace, "link", "show")}


PROGRAM = """
import signal
import sys
from ipaddress import ip_network
from pystack.device.tun import TunDevice
networks = [ip_network(n) for n in ("10.3.0.0/24", "fd03::/64")]
"""


def program(text):
    """The command that runs some Python with TunDevice and `networks` at hand."""
    return [
        "env",
        f"PYTHONPATH={':'.join([str(ROOT), *sys.path])}",
        sys.executable,
        "-c",
        PROGRAM + text,
    ]


# Packets


@both_families
@offloads
def test_the_kernel_pings_through_the_device(namespace, family, offloads):
    require_tool("ping")
    with answering(namespace.tun(*NETS, offloads=offloads), answer_ping):
        namespace.run(["ping", "-c", "3", "-i", "0.01", "-W", "5", FAMILIES[family][1]])


@both_families
@offloads
def test_a_large_transfer_through_a_mirror_arrives_whole(namespace, family, offloads):
    """Trains in, trains out, or neither: the kernel's TCP checks every byte of it."""
    data = os.urandom(1 << 20)
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with (
        answering(namespace.tun(*NETS, offloads=offloads), mirror) as peer,
        namespace.socket(kind, socket.SOCK_STREAM) as server,
    ):
        server.bind((FAMILIES[family][0], 8000))
        server.listen()
        server.settimeout(10)
        with namespace.connect(FAMILIES[family][1], 8000) as client:
            sender = threading.Thread(target=client.sendall, args=(data,))
            sender.start()
            accepted, _ = server.accept()
            with accepted:
                accepted.settimeout(10)
                received = bytearray()
                while len(received) < len(data):
                    received += accepted.recv(1 << 16)
            sender.join()
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()
    kinds = {packet.gso for packet in peer.seen if protocol(packet.data) == TCP}
    train = GSO_TCP4 if family == 4 else GSO_TCP6
    assert (train in kinds) == (offloads in (True, "csum,tso4,tso6"))
    assert all(len(packet.data) <= 1500 for packet in peer.seen if packet.gso == GSO_NONE)


@both_families
def test_without_offloads_packets_come_with_whole_checksums(namespace, family):
    with namespace.tun(*NETS, offloads=False) as device:
        packet = udp_from_kernel(namespace, Driver(device), family)
    assert (packet.csum, packet.gso) == (CSUM_FULL, GSO_NONE)
    assert checksum_is_right(packet.data)


@both_families
def test_with_offloads_the_kernel_leaves_the_checksum_to_us(namespace, family):
    with namespace.tun(*NETS) as device:
        assert device.features == ALL
        packet = udp_from_kernel(namespace, Driver(device), family)
    header = 20 if family == 4 else 40
    assert (packet.csum, packet.csum_start, packet.csum_offset) == (CSUM_PARTIAL, header, 6)


def udp_from_kernel(namespace, driver, family):
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with namespace.socket(kind, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", (FAMILIES[family][1], 9))
    return expect(driver, lambda data: protocol(data) == UDP)


def checksum_is_right(data):
    packet = dpkt.ip.IP(data) if data[0] >> 4 == 4 else dpkt.ip6.IP6(data)
    packet.sum = packet.data.sum = 0
    return bytes(packet) == data


@both_families
def test_a_train_of_datagrams_comes_whole(namespace, family):
    """UDP_SEGMENT at a kernel socket: USO towards us."""
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with (
        namespace.tun(*NETS) as device,
        namespace.socket(kind, socket.SOCK_DGRAM) as sender,
    ):
        driver = Driver(device)
        sender.setsockopt(socket.IPPROTO_UDP, 103, 1000)  # UDP_SEGMENT
        sender.sendto(bytes(9500), (FAMILIES[family][1], 9))
        packet = expect(driver, lambda data: protocol(data) == UDP)
    assert packet.gso == (GSO_UDP4 if family == 4 else GSO_UDP6)
    assert packet.gso_size == 1000
    assert len(packet.data) == (28 if family == 4 else 48) + 9500


@both_families
@offloads
def test_a_train_of_datagrams_is_sent_or_cut(namespace, family, offloads):
    """Whatever the kernel takes: its socket receives the same datagrams."""
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    kernel, peer = FAMILIES[family]
    payload = os.urandom(9500)
    with (
        namespace.tun(*NETS, offloads=offloads) as device,
        namespace.socket(kind, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind((kernel, 9000))
        receiver.settimeout(5)
        driver = Driver(device)
        driver.write([udp_train(peer, kernel, payload)])
        datagrams = [receiver.recv(65535) for _ in range(10)]
        assert driver.live == 0
    assert [len(datagram) for datagram in datagrams] == [1000] * 9 + [500]
    assert b"".join(datagrams) == payload


def udp_train(source, destination, payload):
    """Datagrams of 1000 bytes in one, from port 7 to 9000; the payload is lent."""
    source, destination = ip_address(source), ip_address(destination)
    length = 8 + len(payload)
    pseudo = source.packed + destination.packed + struct.pack("!II", UDP, length)
    partial = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo)) % 65535
    udp = struct.pack("!HHHH", 7, 9000, length, partial)
    if source.version == 4:
        body = bytes(length)
        packet = dpkt.ip.IP(src=source.packed, dst=destination.packed, p=UDP, data=body)
        headers = bytes(packet)[:20]
    else:
        packet = dpkt.ip6.IP6(src=source.packed, dst=destination.packed, nxt=UDP, plen=length)
        headers = bytes(packet)[:40]
    kind = GSO_UDP4 if source.version == 4 else GSO_UDP6
    own, lent = payload[:100], (payload[100:4000], payload[4000:])
    return PacketInfo(headers + udp + own, CSUM_PARTIAL, len(headers), 6, kind, 1000, lent)


@pytest.mark.parametrize("mtu", [68, 576, 1280, 9000, 65535])
def test_every_mtu_carries_packets_of_its_length(namespace, mtu):
    require_tool("ping")
    networks = NETS if mtu >= 1280 else NETS[:1]
    with answering(namespace.tun(*networks, mtu=mtu), answer_ping) as peer:
        size = str(min(mtu, 65535) - 28)
        namespace.run(["ping", "-c", "1", "-W", "5", "-M", "do", "-s", size, "10.3.0.7"])
    assert max(len(packet.data) for packet in peer.seen) == mtu
    assert not link_exists(namespace)


# Offloads


def test_offloads_that_the_kernel_refuses_are_given_up(namespace):
    """It takes USO for both families only: alone it is done in software."""
    with namespace.tun(*NETS, offloads="csum,tso4,uso4") as device:
        assert device.features == FEATURES["csum"] | FEATURES["tso4"]


def test_no_offloads_and_no_header_are_two_things(namespace):
    with namespace.tun(*NETS, offloads="") as device:
        assert device.features == 0


@pytest.mark.parametrize(("offloads", "trains"), [(True, True), (False, False), ("csum", False)])
def test_without_trains_less_is_read_at_once(namespace, offloads, trains):
    """32 segments of an Ethernet: as much as the sender shall be allowed by one ACK."""
    with namespace.tun(*NETS, offloads=offloads) as device:
        assert (Driver(device).batch_bytes // 1500 == 32) is not trains


@pytest.mark.parametrize("offloads", ["tso4", "csum,lro"])
def test_offloads_that_make_no_sense_are_refused(offloads):
    with pytest.raises(ValueError, match="offload"):
        TunDevice(offloads=offloads)


# Interfaces


def test_addresses_and_routes_of_both_families(namespace):
    with namespace.tun(*NETS, "10.4.0.9/32", "fd04::9/128", mtu=1400):
        (local,) = ip(namespace, "-6", "route", "get", "fd03::1")
        (interface,) = ip(namespace, "address", "show", "dev", "pystack0")
        routes = {
            route["dst"]: route["dev"]
            for family in ("-4", "-6")
            for route in ip(namespace, family, "route", "show", "table", "main")
        }
    assert interface["mtu"] == 1400
    assert "UP" in interface["flags"]
    addresses = {f"{one['local']}/{one['prefixlen']}": one for one in interface["addr_info"]}
    assert "10.3.0.1/24" in addresses
    assert "tentative" not in addresses["fd03::1/64"]  # usable at once
    assert local["type"] == "local"
    for network in (*NETS, "10.4.0.9", "fd04::9"):
        assert routes[network] == "pystack0"


def test_host_addresses_may_be_chosen(namespace):
    chosen = ["10.3.0.254", "fd00::5"]
    with namespace.tun(*NETS, host_addresses=chosen) as device:
        device.configure([])
        (interface,) = ip(namespace, "address", "show", "dev", "pystack0")
        (route,) = ip(namespace, "-6", "route", "show", "fd03::/64")
    addresses = {f"{one['local']}/{one['prefixlen']}" for one in interface["addr_info"]}
    assert {"10.3.0.254/24", "fd00::5/128"} <= addresses
    assert "fd03::1/64" not in addresses
    assert route["dev"] == "pystack0"
    assert device.local_addresses == tuple(ip_address(one) for one in chosen)


def test_a_template_makes_one_interface_after_the_other(namespace):
    with namespace.tun(name="many%d") as first, namespace.tun(name="many%d") as second:
        assert (first.name, second.name) == ("many0", "many1")


def test_a_name_in_use_is_refused(namespace):
    with namespace.tun(*NETS), pytest.raises(OSError) as problem:
        namespace.open_tun(name="pystack0")
    assert problem.value.errno == errno.EBUSY
    assert "pystack0 is in use" in str(problem.value)


def test_queues_of_another_program_are_left_to_it(namespace):
    for device in namespace.tuns(2, *NETS):
        with device, pytest.raises(OSError, match="pystack0 is in use") as problem:
            namespace.open_tuns(2)
        assert problem.value.errno == errno.EBUSY


def test_the_name_of_an_interface_that_is_no_tun_is_refused(namespace):
    with pytest.raises(OSError, match="lo exists, and is not a TUN interface"):
        namespace.open_tun(name="lo")


@pytest.mark.parametrize("name", ["", "sixteen-letters-", "a/b", "a b", "a:b", "%s", "a%d%d", ".."])
def test_a_name_that_no_interface_can_have_is_refused(namespace, name):
    with pytest.raises(ValueError, match="interface name"):
        namespace.open_tun(name=name)


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("address add 10.3.0.77/32 dev lo", "lo has the address 10.3.0.77/32"),
        ("route add 10.3.0.128/25 dev lo", "lo has the route 10.3.0.128/25"),
        ("route add 10.0.0.0/8 dev lo", "lo has the route 10.0.0.0/8"),
        ("-6 address add fd03::7/128 dev lo", "lo has the address fd03::7/128"),
        ("route add unreachable 10.3.0.0/16", "the route 10.3.0.0/16"),
    ],
)
def test_a_network_in_use_is_refused_and_nothing_left_behind(namespace, command, what):
    namespace.run(["ip", *command.split()])
    with pytest.raises(FileExistsError, match=what):
        namespace.open_tun(*NETS)
    assert not link_exists(namespace)


def test_default_routes_are_no_obstacle(namespace):
    for network in ("default", "0.0.0.0/1", "128.0.0.0/1"):
        namespace.run(["ip", "route", "add", network, "dev", "lo"])
    namespace.tun(*NETS).close()


def test_closing_removes_everything(namespace):
    device = namespace.tun(*NETS)
    assert link_exists(namespace)
    device.close()
    device.close()
    assert device.closed
    assert device.fileno() == -1
    assert not link_exists(namespace)
    for family in ("-4", "-6"):
        assert ip(namespace, family, "route", "show", "table", "main") == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_process_leaves_nothing_behind(namespace, number):
    text = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
device = TunDevice("pystack0")
device.configure(networks)
print("ready", flush=True)
sys.stdin.read()
"""
    pipe = subprocess.PIPE
    with namespace.popen(program(text), stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as it:
        assert it.stdout.readline() == b"ready\n"
        assert link_exists(namespace)
        it.send_signal(number)
        it.wait(10)
    assert not link_exists(namespace)


def test_a_failed_constructor_leaves_no_file_open(namespace):
    before = len(os.listdir("/proc/self/fd"))
    with open(os.devnull) as no_tun:
        with pytest.raises(OSError, match="not an open TUN interface"):
            TunDevice(fd=no_tun.fileno())
        os.fstat(no_tun.fileno())  # is its giver's still
    assert len(os.listdir("/proc/self/fd")) == before


# Interfaces that others made


def test_a_persistent_interface_is_used_and_its_configuration_left_alone(namespace):
    """It says what is missing; those commands are what was missing."""
    namespace.run(["ip", "tuntap", "add", "dev", "theirs0", "mode", "tun"])
    namespace.run(["ip", "link", "set", "dev", "theirs0", "mtu", "1400"])
    text = """
with TunDevice("theirs0") as device:
    try:
        device.configure(networks)
    except OSError as problem:
        print(problem.strerror.partition("Run: ")[2])
    else:
        print(device.mtu, *device.local_addresses)
"""
    commands = namespace.run(program(text)).stdout
    assert "ip address add 10.3.0.1/24 dev theirs0" in commands
    assert [one["addr_info"] for one in ip(namespace, "address", "show", "theirs0")] == [[]]
    namespace.run(["sh", "-ec", commands])
    mtu, *addresses = namespace.run(program(text)).stdout.split()
    assert mtu == "1400"
    assert {"10.3.0.1", "fd03::1"} <= set(addresses)
    assert link_exists(namespace, "theirs0")


def test_an_mtu_other_than_that_of_a_persistent_interface_is_missing(namespace):
    namespace.run(["ip", "tuntap", "add", "dev", "theirs0", "mode", "tun"])
    with pytest.raises(OSError, match="ip link set dev theirs0 mtu 9000"):
        namespace.open_tun(*NETS, name="theirs0", mtu=9000)


def test_configure_false_leaves_the_interface_alone(namespace):
    with namespace.tun(*NETS, configure=False):
        (link,) = ip(namespace, "address", "show", "dev", "pystack0")
    assert "UP" not in link["flags"]
    assert link["addr_info"] == []


def test_the_header_of_an_open_file_is_honoured(namespace):
    """Its owner may have given it 12 bytes, as newer virtio has."""
    require_tool("ping")
    fd = namespace.open_tun(*NETS)
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", 12))
    with answering(TunDevice(fd=fd), answer_ping) as peer:
        namespace.run(["ping", "-c", "1", "-W", "5", "10.3.0.7"])
    assert all(packet.data[0] >> 4 in (4, 6) for packet in peer.seen)


def test_an_open_file_knows_the_addresses_that_its_networks_give(namespace):
    with namespace.tun(*NETS) as device:
        device.configure([])
        assert device.local_addresses == ()
        assert not device.ours


# When things go wrong


def test_the_device_is_gone_when_the_interface_is_deleted(namespace):
    with namespace.tun(*NETS) as device:
        driver = Driver(device)
        namespace.run(["ip", "link", "delete", "pystack0"])
        for use in (driver.read, lambda: driver.write([bytes(dpkt.ip.IP())])):
            with pytest.raises(OSError) as problem:
                use()
            assert problem.value.errno == errno.EBADFD
        assert driver.live == 0
        driver.detach()


def test_packets_for_an_interface_that_is_down_are_lost(namespace):
    with namespace.tun(*NETS) as device:
        driver = Driver(device)
        namespace.run(["ip", "link", "set", "pystack0", "down"])
        driver.write([bytes(dpkt.ip.IP())])
        assert device.dropped == 1
        assert driver.live == 0
        driver.detach()


def test_closing_while_a_driver_uses_it_keeps_the_file_until_it_lets_go(namespace):
    """Or else the driver would read from whatever gets the number next."""
    device = namespace.tun(*NETS)
    driver = Driver(device)
    device.close()
    assert driver.notified == 1
    os.fstat(device.fileno())
    driver.detach()
    assert device.fileno() == -1


def test_a_device_may_be_configured_from_a_coroutine(namespace):
    """pyroute2 runs an event loop of its own, which cannot be within another."""
    text = """
import asyncio
async def main():
    with TunDevice("pystack0") as device:
        device.configure(networks)
        print(*device.local_addresses)
asyncio.run(main())
"""
    assert namespace.run(program(text)).stdout == "10.3.0.1 fd03::1\n"
