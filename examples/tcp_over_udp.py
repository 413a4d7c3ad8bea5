"""A TCP tunnel over UDP, a stack at each end. See docs/how-to/tunnel-over-udp.md.

At the far end:  python tcp_over_udp.py far 0.0.0.0 4500 127.0.0.1 22
At the near one: python tcp_over_udp.py near FAR 4500 127.0.0.1 2222
"""

import asyncio
import sys

from pystack import PacketPipe, aio

NEAR, FAR, PORT = "10.255.0.1", "10.255.0.2", 1


class Carrier(asyncio.DatagramProtocol):
    """One IP packet in each UDP datagram; the far end learns from them where the near one is."""

    def __init__(self):
        self.pipe = PacketPipe(self.send, mtu=1400, single=True)  # room for outer headers
        self.peer = None

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.peer = address
        self.pipe.deliver([data])

    def send(self, packet):
        if self.peer or self.transport.get_extra_info("peername"):
            self.transport.sendto(packet, self.peer)


async def copy(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


def joined_with(connect):
    """A server's callback: a connection that comes in is joined with one that goes out."""
    alive = set()  # asyncio itself forgets a task whose peers have both half-closed

    async def serve(reader, writer):
        alive.add(task := asyncio.current_task())
        task.add_done_callback(alive.discard)
        try:
            there, back = await connect()
            await asyncio.gather(copy(reader, back), copy(there, writer))
            writer.close()
            back.close()
        except OSError:
            writer.transport.abort()

    return serve


async def tunnel(side, udp, address):
    """near: listens at the address; far: connects to it. The stack, and the server."""
    where = {"remote_addr" if side == "near" else "local_addr": udp}
    _, carrier = await asyncio.get_running_loop().create_datagram_endpoint(Carrier, **where)
    stack = aio.Stack(NEAR if side == "near" else FAR, device=carrier.pipe)
    if side == "near":
        serve = joined_with(lambda: stack.open_connection(FAR, PORT))
        return stack, await asyncio.start_server(serve, *address)
    serve = joined_with(lambda: asyncio.open_connection(*address))
    return stack, await stack.start_server(serve, FAR, PORT)


async def main(side, host, port, to, at):
    await (await tunnel(side, (host, int(port)), (to, int(at))))[1].serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:6]))
