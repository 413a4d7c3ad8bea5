"""asyncio on virtual hosts: transports, servers, streams and datagrams of a stack.

Loaded when first used: `import pystack` does not import asyncio.
Called by: applications.
RFCs: none.
"""

from __future__ import annotations

from pystack.aio.anyone import listen_any
from pystack.aio.calls import (
    connect_accepted_socket,
    create_connection,
    create_datagram_endpoint,
    create_server,
    open_connection,
    start_server,
)
from pystack.aio.datagram import StackDatagramTransport
from pystack.aio.install import Installation, install, loop_factory
from pystack.aio.server import StackServer
from pystack.aio.stack import Stack
from pystack.aio.transport import StackTransport
from pystack.aio.virtual import VirtualLoop, on

__all__ = [
    "Installation",
    "Stack",
    "StackDatagramTransport",
    "StackServer",
    "StackTransport",
    "VirtualLoop",
    "connect_accepted_socket",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "install",
    "listen_any",
    "loop_factory",
    "on",
    "open_connection",
    "start_server",
]
