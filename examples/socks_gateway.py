"""A SOCKS5 gateway: TCP connections into a TUN become proxied ones (as tun2socks does).

    sudo python socks_gateway.py 198.51.100.0/24 127.0.0.1 1080
    curl http://198.51.100.7/       # goes through the proxy to 198.51.100.7

See docs/how-to/socks-gateway.md.
"""

import asyncio
import sys
from ipaddress import ip_address

from pystack import aio

VERSION, NO_AUTH, CONNECT = 5, 0, 1
ANSWERS = {1: 4 + 2, 4: 16 + 2}  # type of the bound address -> its length, port included


async def through(proxy, destination):
    """A connection by way of a SOCKS5 proxy (RFC 1928); ConnectionRefusedError if it cannot."""
    reader, writer = await asyncio.open_connection(*proxy)
    try:
        address, port = ip_address(destination[0]), destination[1]
        writer.write(bytes([VERSION, 1, NO_AUTH]))
        if await reader.readexactly(2) != bytes([VERSION, NO_AUTH]):
            raise ConnectionRefusedError("the proxy wants a password")
        kind = 1 if address.version == 4 else 4
        writer.write(bytes([VERSION, CONNECT, 0, kind]) + address.packed + port.to_bytes(2, "big"))
        _, failed, _, kind = await reader.readexactly(4)
        await reader.readexactly(ANSWERS[kind])
        if failed:
            raise ConnectionRefusedError(f"the proxy says {failed}")
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


async def copy(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


def gateway(stack, proxy):
    """Nothing is accepted before the proxy has reached the destination."""

    async def forward(request):
        try:
            there, back = await through(proxy, request.destination)
        except (OSError, asyncio.IncompleteReadError, KeyError):
            request.refuse()
            return
        reader, writer = await aio.open_connection(stack, sock=request.accept())
        await asyncio.gather(copy(reader, back), copy(there, writer))
        writer.close()
        back.close()

    return aio.listen_any(stack, forward)


async def main(network, host, port):
    from pystack import TunDevice

    async with aio.Stack(network, device=TunDevice("socks0")) as stack:
        with gateway(stack, (host, int(port))):
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
