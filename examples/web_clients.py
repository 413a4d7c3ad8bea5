"""Three clients, each from an address of its own: requests, httpx and aiohttp, unchanged.

    pip install requests httpx aiohttp
    python -m http.server &
    sudo python web_clients.py 10.3.0.0/24 http://10.3.0.1:8000/

See docs/how-to/web-clients.md.
"""

import asyncio
import sys

import aiohttp
import httpx
import requests
from requests.adapters import HTTPAdapter

import pystack

PATIENCE = 20  # seconds


class From(HTTPAdapter):
    """Connections of requests that come from an address."""

    def __init__(self, source):
        self.source = source
        super().__init__()

    def init_poolmanager(self, *sizes, **options):
        super().init_poolmanager(*sizes, source_address=(self.source, 0), **options)


def with_requests(url, source):
    with requests.Session() as client:
        client.trust_env = False
        client.mount("http://", From(source))
        answer = client.get(url, timeout=PATIENCE)
        return answer.status_code, answer.content


def with_httpx(url, source):
    transport = httpx.HTTPTransport(local_address=source)
    with httpx.Client(transport=transport, timeout=PATIENCE) as client:
        answer = client.get(url)
        return answer.status_code, answer.content


def with_aiohttp(url, source):
    async def ask():
        connector = aiohttp.TCPConnector(local_addr=(source, 0))
        async with (
            aiohttp.ClientSession(connector=connector) as client,
            client.get(url, timeout=aiohttp.ClientTimeout(PATIENCE)) as answer,
        ):
            return answer.status, await answer.read()

    return asyncio.run(ask())


CLIENTS = {"requests": with_requests, "httpx": with_httpx, "aiohttp": with_aiohttp}


def ask_all(stack, url):
    """What each of the clients gets."""
    with pystack.patch(stack):
        for number, (name, client) in enumerate(CLIENTS.items()):
            source = str(stack.networks[0][10 + number])
            yield name, source, *client(url, source)


def main(network, url):
    with pystack.Stack(network, device=pystack.TunDevice("clients0")) as stack:
        for name, source, status, body in ask_all(stack, url):
            print(f"{name:8} from {source}: {status}, {len(body)} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:3])
