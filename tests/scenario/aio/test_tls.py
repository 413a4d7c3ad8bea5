"""TLS, start_tls and sendfile work on a stack's transports as they do on asyncio's own."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from pathlib import Path

import pytest
from scenario.aio.conftest import Recorder, in_loop

PEM = Path(__file__).with_name("server.pem")  # server.test, 10.1.0.5, 127.0.0.1; its own authority
BIG = 3 << 20


def contexts():
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(PEM)
    return server, ssl.create_default_context(cafile=PEM)


async def tls_pair(world, **options):
    server_context, client_context = contexts()
    accepted = asyncio.Queue()

    class Server(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            accepted.put_nowait(self)

    server, port = await world.serve(Server, ssl=server_context)
    try:
        _, near = await world.connect(Recorder, port, ssl=client_context, **options)
        return near, await accepted.get()
    finally:
        server.close()


@in_loop
async def test_tls_carries_data_both_ways(world):
    near, far = await tls_pair(world)
    near.transport.write(bytes(BIG))
    await far.received(BIG)
    far.transport.write(b"answer")
    await near.received(6)
    assert near.transport.get_extra_info("peername")[0] == world.host
    assert near.transport.get_extra_info("cipher")
    assert near.transport.get_extra_info("ssl_object").version() == "TLSv1.3"
    assert near.transport.get_extra_info("socket").getpeername()[0] == world.host
    near.transport.close()
    assert await near.lost is None
    await far.lost
    assert far.events[-1] == "lost"


@in_loop
async def test_a_certificate_of_somebody_else_is_refused(world):
    with pytest.raises(ssl.SSLCertVerificationError):
        await tls_pair(world, server_hostname="other.test")


@in_loop
async def test_a_handshake_that_never_comes_times_out(world):
    """Its transport is ended by _force_close, a private name of asyncio's transports."""
    server, port = await world.serve(Recorder)
    with pytest.raises(ConnectionAbortedError):
        await world.connect(Recorder, port, ssl=contexts()[1], ssl_handshake_timeout=0.02)
    server.close()


@in_loop
async def test_options_of_tls_need_tls(world):
    for options in (
        {"server_hostname": "x"},
        {"ssl_handshake_timeout": 1.0},
    ):
        with pytest.raises(ValueError, match="only meaningful with ssl"):
            await world.connect(Recorder, 5, **options)
    with pytest.raises(TypeError, match="SSLContext"):
        await world.serve(Recorder, ssl=True)


@in_loop
async def test_a_tls_connection_that_is_aborted_is_lost(world):
    near, far = await tls_pair(world)
    near.transport.abort()
    await near.lost
    await far.lost


@in_loop
async def test_start_tls_turns_a_plain_connection_into_a_secure_one(world):
    loop = asyncio.get_running_loop()
    server_context, client_context = contexts()
    near, far = await world.pair()
    near.transport.write(b"STARTTLS")
    await far.received(8)
    near.transport, far.transport = await asyncio.gather(
        loop.start_tls(near.transport, near, client_context, server_hostname="server.test"),
        loop.start_tls(far.transport, far, server_context, server_side=True),
    )
    near.transport.write(b", then secretly")
    assert await far.received(23) == b"STARTTLS, then secretly"
    assert near.transport.get_extra_info("cipher")
    near.transport.close()
    await asyncio.gather(near.lost, far.lost)


@pytest.mark.parametrize("secure", [False, True])
def test_sendfile_sends_a_file(world, secure, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 4096)

    async def claim(world):
        near, far = await (tls_pair(world) if secure else world.pair())
        with path.open("rb") as file:
            sent = await asyncio.get_running_loop().sendfile(near.transport, file, 5, 1 << 20)
        assert sent == (1 << 20) - 5
        near.transport.close()
        await far.lost
        assert far.data == path.read_bytes()[5:]

    in_loop(claim)(world=world)


@in_loop
async def test_sendfile_waits_for_a_peer_that_reads_slowly(world):
    near, far = await world.pair()
    far.transport.pause_reading()
    with tempfile.TemporaryFile() as file:
        file.write(bytes(16 << 20))
        file.seek(0)
        sending = asyncio.ensure_future(asyncio.get_running_loop().sendfile(near.transport, file))
        done, _ = await asyncio.wait([sending], timeout=0.05)
        assert not done
        far.transport.resume_reading()
        assert await sending == 16 << 20
    near.transport.close()
    await far.lost
    assert len(far.data) == 16 << 20
