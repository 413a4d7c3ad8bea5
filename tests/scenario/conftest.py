"""After each scenario of TCP: no packet is lost in the host, and it lets itself be taken down."""

from __future__ import annotations

import pytest
from scenario import tcp_states


@pytest.fixture(autouse=True)
def nothing_is_left():
    tcp_states.hosts.clear()
    yield
    for host in tcp_states.hosts:
        host.take()
        assert host.live_packets == 0
        host.free()
    tcp_states.hosts.clear()
