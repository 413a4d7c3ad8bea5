"""The gateway makes proxied connections out of those that come in, and refuses what cannot be."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address

import pytest

from pystack import PipeDevice, aio

EXAMPLE = "socks_gateway"


async def proxy(reader, writer):
    """A SOCKS5 proxy that is the destination itself: it tells who that was, and echoes."""
    assert await reader.readexactly(3) == b"\5\1\0"
    writer.write(b"\5\0")
    _, _, _, kind = await reader.readexactly(4)
    packed = await reader.readexactly(4 if kind == 1 else 16)
    port = int.from_bytes(await reader.readexactly(2), "big")
    address = (IPv4Address if kind == 1 else IPv6Address)(packed)
    writer.write(bytes([5, 5 if port == 9 else 0, 0, 1]) + bytes(6))
    if port != 9:
        writer.write(f"{address} {port}: ".encode())
        while data := await reader.read(1 << 16):
            writer.write(data)
    writer.close()


def test_connections_go_through_the_proxy(example):
    async def main():
        server = await asyncio.start_server(proxy, "127.0.0.1", 0)
        near, far = PipeDevice.pair()
        async with (
            aio.Stack("198.51.100.0/24", "2001:db8::/64", device=near) as stack,
            aio.Stack("10.2.0.0/24", "fd02::/64", device=far) as inside,
        ):
            with example.gateway(stack, server.sockets[0].getsockname()):
                for host, port in (("198.51.100.7", 80), ("2001:db8::7", 443)):
                    reader, writer = await inside.open_connection(host, port)
                    writer.write(bytes(100_000))
                    writer.write_eof()
                    told = f"{host} {port}: ".encode()
                    assert await reader.read() == told + bytes(100_000)
                    writer.close()
                with pytest.raises(ConnectionRefusedError):
                    await inside.open_connection("198.51.100.7", 9)
            with example.gateway(stack, ("127.0.0.1", 9)), pytest.raises(ConnectionRefusedError):
                await inside.open_connection("198.51.100.7", 80)
        server.close()

    asyncio.run(asyncio.wait_for(main(), 20))
