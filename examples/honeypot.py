"""A honeypot: every port of every address of a network listens, and logs what is said to it.

    sudo python honeypot.py 10.66.0.0/16

One line of JSON for each connection and each datagram. See docs/how-to/honeypot.md.
"""

import asyncio
import json
import sys
import time

from pystack import aio

PATIENCE = 30  # seconds that a connection may be silent
HEARD = 4096  # bytes that are logged of it


class Honeypot:
    def __init__(self, stack, log=print):
        self.stack = stack
        self.log = log
        self.began = time.time()

    def listen(self):
        return aio.listen_any(self.stack, self.on_tcp, self.on_udp, limit=10_000)

    def report(self, request, data, **more):
        entry = {
            "time": round(time.time(), 3),
            "protocol": request.protocol,
            "source": ":".join(map(str, request.source)),
            "destination": ":".join(map(str, request.destination)),
            "heard": data.decode("ascii", "backslashreplace"),
        }
        self.log(json.dumps(entry | more))

    async def on_tcp(self, request):
        reader, writer = await aio.open_connection(self.stack, sock=request.accept())
        heard, ended = b"", "closed"
        try:
            while len(heard) < HEARD:
                data = await asyncio.wait_for(reader.read(HEARD - len(heard)), PATIENCE)
                if not data:
                    break
                heard += data
        except asyncio.TimeoutError:
            ended = "silent"
        except OSError:
            ended = "reset"
        writer.close()
        self.report(request, heard, ended=ended)

    async def on_udp(self, request):
        with request.accept() as sock:  # without an answer: a scanner sees an open port
            self.report(request, sock.recv(HEARD))


async def main(network):
    from pystack import TunDevice

    async with aio.Stack(network, device=TunDevice("honeypot0")) as stack:
        with Honeypot(stack).listen():
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
