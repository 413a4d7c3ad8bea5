"""An SSH server on a virtual host: asyncssh, with commands of its own and one password.

    pip install asyncssh
    sudo python ssh_host.py 10.3.0.0/24 10.3.0.22 secret
    ssh guest@10.3.0.22

See docs/how-to/ssh-host.md.
"""

import asyncio
import hmac
import sys

import asyncssh

from pystack import aio


class Login(asyncssh.SSHServer):
    """Whoever knows the password may come in, under any name."""

    def __init__(self, password):
        self.password = password.encode()

    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return hmac.compare_digest(password.encode(), self.password)


class Shell:
    """What visitors can ask: one command, or line by line."""

    def __init__(self, stack):
        self.stack = stack
        self.commands = {"who": self.who, "connections": self.connections}

    def who(self, process):
        return process.get_extra_info("peername")[0]

    def connections(self, process):
        return "\n".join(f"{one.remote} {one.state}" for one in self.stack.connections())

    def answer(self, process, command):
        if command not in self.commands:
            process.stderr.write(f"{command}: there are {', '.join(self.commands)}\n")
            return 127
        process.stdout.write(self.commands[command](process) + "\n")
        return 0

    async def talk(self, process):
        if process.command:
            return process.exit(self.answer(process, process.command))
        async for line in process.stdin:
            if line.strip() == "exit":
                break
            self.answer(process, line.strip())
        process.exit(0)


async def listen(stack, host, password, key):
    """To be called where the event loop knows the stack."""
    options = {"server_host_keys": [key], "process_factory": Shell(stack).talk}
    return await asyncssh.create_server(lambda: Login(password), host, 22, **options)


async def main(network, host, password):
    from pystack import TunDevice

    key = asyncssh.generate_private_key("ssh-ed25519")
    async with aio.Stack(network, device=TunDevice("ssh0")) as stack:
        with aio.install(asyncio.get_running_loop(), stack):
            await (await listen(stack, host, password, key)).wait_closed()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
