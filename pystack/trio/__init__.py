"""trio on virtual hosts: streams, listeners, sockets, and install for what runs on trio unchanged.

Called by: applications. Needs trio, which pystack itself does not.
RFCs: none; trio's documentation is the reference.
"""

from __future__ import annotations

from pystack.trio.install import Installation, install
from pystack.trio.sockets import StackSocket, socket
from pystack.trio.stack import Stack
from pystack.trio.streams import open_tcp_listeners, open_tcp_stream, serve_tcp

__all__ = [
    "Installation",
    "Stack",
    "StackSocket",
    "install",
    "open_tcp_listeners",
    "open_tcp_stream",
    "serve_tcp",
    "socket",
]
