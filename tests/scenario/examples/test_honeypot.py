"""The honeypot hears what is said to any port of any address."""

from __future__ import annotations

import asyncio
import json

from pystack import PipeDevice, aio

EXAMPLE = "honeypot"


def test_the_honeypot_logs_who_says_what_to_which_port(example):
    async def main():
        lines = []
        near, far = PipeDevice.pair()
        async with (
            aio.Stack("10.66.0.0/16", device=near) as stack,
            aio.Stack("10.2.0.0/24", device=far, address="10.2.0.9") as visitor,
        ):
            pot = example.Honeypot(stack, lines.append)
            with pot.listen():
                for number, port in enumerate((22, 80, 6379)):
                    reader, writer = await visitor.open_connection(f"10.66.{number}.1", port)
                    writer.write(b"hello\r\n\xff")
                    writer.write_eof()
                    assert await reader.read() == b""
                    writer.close()
                transport, _ = await visitor.create_datagram_endpoint(
                    asyncio.DatagramProtocol, remote_addr=("10.66.9.9", 161)
                )
                transport.sendto(b"public")
                example.PATIENCE = 0.05
                _, silent = await visitor.open_connection("10.66.200.1", 23)
                while len(lines) < 5:
                    await asyncio.sleep(0.01)
                transport.close()
                silent.close()
        return [json.loads(line) for line in lines]

    told = {one["destination"]: one for one in asyncio.run(asyncio.wait_for(main(), 20))}
    assert told["10.66.0.1:22"]["heard"] == "hello\r\n\\xff"
    assert told["10.66.2.1:6379"]["ended"] == "closed"
    assert told["10.66.2.1:6379"]["source"].startswith("10.2.0.9:")
    assert told["10.66.200.1:23"]["ended"] == "silent"
    assert told["10.66.9.9:161"]["heard"] == "public"
    assert told["10.66.9.9:161"]["protocol"] == "udp"
