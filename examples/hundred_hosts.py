"""A hundred web servers in one process: FastAPI under uvicorn, each at an address of its own.

    pip install fastapi uvicorn
    sudo python hundred_hosts.py 10.3.0.0/24
    curl http://10.3.0.42/

See docs/how-to/hundred-hosts.md.
"""

import asyncio
import sys
from collections import Counter
from ipaddress import ip_network

import uvicorn
from fastapi import FastAPI, HTTPException, Request

from pystack import aio

HOSTS, PORT = 100, 80


def application():
    """One application for all hosts, each with a count and notes of its own."""
    app = FastAPI(title="A hundred hosts")
    visits, notes = Counter(), {}

    @app.get("/")
    async def index(request: Request):
        host = asked(request)
        visits[host] += 1
        return {"host": host, "visitor": request.client.host, "visits": visits[host]}

    @app.put("/notes/{name}")
    async def write(request: Request, name: str, text: str):
        notes[asked(request), name] = text
        return {"host": asked(request), name: text}

    @app.get("/notes/{name}")
    async def read(request: Request, name: str):
        if (asked(request), name) not in notes:
            raise HTTPException(404, f"{asked(request)} has no note {name}")
        return {"host": asked(request), name: notes[asked(request), name]}

    return app


def asked(request):
    """The host that was asked: the server's own address, whatever the Host header says."""
    return request.scope["server"][0]


async def serve(server, stack, hosts):
    """Serve until the server is told to exit, at these addresses of the stack."""
    sockets = [stack.socket() for _ in hosts]
    for host, sock in zip(hosts, sockets, strict=True):
        sock.bind((host, PORT))
    with aio.install(asyncio.get_running_loop(), stack):
        await server.serve(sockets=sockets)


async def main(network):
    from pystack import TunDevice

    hosts = [str(ip_network(network)[number]) for number in range(2, HOSTS + 2)]
    server = uvicorn.Server(uvicorn.Config(application(), log_level="warning"))
    async with aio.Stack(network, device=TunDevice("hosts0")) as stack:
        print(f"http://{hosts[0]}/ ... http://{hosts[-1]}/")
        await serve(server, stack, hosts)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
