"""PacketPipe: packets that the program carries, without a descriptor."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
from scenario.sockets.blocked import descriptors

from pystack import PacketPipe, Stack, aio


def crossed(**options):
    """Two pipes, each the other's carrier, and what went through them."""
    seen = []

    def carry(to):
        def send(packets):
            seen.append(packets)
            pipes[to].deliver([packets] if isinstance(packets, bytes) else packets)

        return send

    pipes = [PacketPipe(carry(1), **options), PacketPipe(carry(0), **options)]
    return *pipes, seen


def transfer(a, b, size, host="10.2.0.1"):
    with b.create_server((host, 80), family=socket.AF_INET6 if ":" in host else 2) as listener:
        client = a.create_connection((host, 80), timeout=20)
        server, _ = listener.accept()
        with client, server:
            server.settimeout(20)
            sending = threading.Thread(target=client.sendall, args=(bytes(size),))
            sending.start()
            assert server.recv(size, socket.MSG_WAITALL) == bytes(size)
            sending.join()


@pytest.mark.parametrize("mtu", [1280, 1500, 16000])
def test_a_transfer_keeps_to_the_mtu_and_comes_in_batches(mtu):
    left, right, seen = crossed(mtu=mtu)
    with Stack("10.1.0.1", device=left) as a, Stack("10.2.0.1", device=right) as b:
        transfer(a, b, 400_000)
    assert max(len(packet) for packets in seen for packet in packets) == mtu
    assert max(map(len, seen)) > 1


def test_one_packet_a_call_where_the_carrier_needs_it():
    left, right, seen = crossed(single=True)
    with Stack("10.1.0.1", device=left) as a, Stack("10.2.0.1", device=right) as b:
        transfer(a, b, 100_000)
    assert all(isinstance(packet, bytes) for packet in seen)


def test_a_host_with_ipv6_alone():
    left, right, _ = crossed(mtu=1280)
    with Stack("fd01::1", device=left) as a, Stack("fd02::1", device=right) as b:
        transfer(a, b, 50_000, "fd02::1")
        with a.socket() as v4, pytest.raises(OSError, match="unreachable"):
            v4.connect(("10.2.0.1", 80))
    with pytest.raises(ValueError, match="1280"):
        Stack("fd01::1", device=PacketPipe(print, mtu=1279))


def test_up_is_while_a_stack_is_there():
    pipe = PacketPipe(lambda packets: None)
    assert not pipe.up
    with Stack("10.1.0.1", device=pipe):
        assert pipe.up
    assert not pipe.up
    assert pipe.closed


def datagram(flaw):
    """One to 10.1.0.1, port 9, whose checksum is off by `flaw`."""
    from dpkt import ip, udp

    payload = udp.UDP(sport=9, dport=9, data=b"x")
    payload.ulen = 9
    packet = ip.IP(
        src=socket.inet_aton("10.2.0.1"), dst=socket.inet_aton("10.1.0.1"), p=17, data=payload
    )
    packet.len = 29
    made = bytearray(bytes(packet))
    made[27] ^= flaw
    return bytes(made)


@pytest.mark.parametrize("trusted", [False, True])
def test_checksums_of_a_trusted_carrier_are_not_verified(trusted):
    pipe = PacketPipe(lambda packets: None, trusted=trusted)
    with Stack("10.1.0.1", device=pipe) as stack, stack.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("", 9))
        sock.settimeout(20)
        pipe.deliver([datagram(1), datagram(0)])
        sock.recv(10)
        while stack.counters()["packets_in"] < 2:
            pass
        bad = stack.counters()["udp_drop_bad_checksum"]
    assert bad == (0 if trusted else 1)


def test_no_descriptor_belongs_to_a_pipe():
    before = descriptors()
    left, right, _ = crossed()
    with left, right:
        assert descriptors() == before


def test_a_carrier_that_fails_is_told_of_once(caplog):
    def fail(packets):
        raise LookupError("no way")

    with Stack("10.1.0.1", device=PacketPipe(fail, name="usb")) as stack:
        for _ in range(3):
            with stack.socket(type=socket.SOCK_DGRAM) as sock:
                sock.sendto(b"x", ("10.9.9.9", 9))
        assert stack.device.dropped == 3
    assert len(caplog.records) == 1
    assert "usb" in caplog.text


@pytest.mark.parametrize("many", [False, True])
def test_an_async_iterator_feeds_packets_or_lists_of_them(many):
    async def main():
        async def source():
            yield [bytearray(datagram(0))] * 2 if many else memoryview(datagram(0))

        pipe = PacketPipe(lambda packets: None)
        async with aio.Stack("10.1.0.1", device=pipe) as stack:
            with stack.socket(type=socket.SOCK_DGRAM) as sock:
                sock.bind(("", 9))
                await pipe.feed(source())
                loop = asyncio.get_running_loop()
                for _ in range(2 if many else 1):
                    assert await asyncio.wait_for(loop.sock_recv(sock, 10), 20) == b"x"

    asyncio.run(main())
