"""The SSH server lets in whom it knows, and answers commands."""

from __future__ import annotations

import asyncio

import pytest

from pystack import PipeDevice, aio

EXAMPLE = "ssh_host"


@pytest.mark.needs("asyncssh")
def test_commands_are_answered_whoever_knows_the_password(example):
    async def main():
        import asyncssh

        near, far = PipeDevice.pair()
        async with (
            aio.Stack("10.3.0.0/24", device=near) as stack,
            aio.Stack("10.4.0.0/24", device=far, address="10.4.0.9") as visitor,
        ):
            loop = asyncio.get_running_loop()
            key = asyncssh.generate_private_key("ssh-ed25519")
            with aio.install(loop, stack):
                server = await example.listen(stack, "10.3.0.22", "secret", key)
            known = asyncssh.import_known_hosts(
                f"10.3.0.22 {key.export_public_key().decode().strip()}\n"
            )
            me = {"username": "guest", "known_hosts": known, "client_keys": None, "config": None}
            with aio.install(loop, visitor, routes=["10.3.0.0/24"]):
                async with asyncssh.connect("10.3.0.22", password="secret", **me) as ssh:
                    assert (await ssh.run("who")).stdout == "10.4.0.9\n"
                    assert "ESTABLISHED" in (await ssh.run("connections")).stdout
                    unknown = await ssh.run("reboot")
                    assert (unknown.exit_status, unknown.stdout) == (127, "")
                    lines = await ssh.run(input="who\nexit\nwho\n")
                    assert (lines.exit_status, lines.stdout) == (0, "10.4.0.9\n")
                with pytest.raises(asyncssh.PermissionDenied):
                    await asyncssh.connect("10.3.0.22", password="guess", **me)
            server.close()
            await server.wait_closed()

    asyncio.run(asyncio.wait_for(main(), 60))
