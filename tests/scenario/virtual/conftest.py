"""Virtual networks, closed after each test; afterwards nothing may be left of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pystack.testing import VirtualNetwork


@pytest.fixture
def net() -> Iterator[VirtualNetwork]:
    with VirtualNetwork(seed=1) as made:
        yield made
    assert made._ether.live_packets == 0


@pytest.fixture
def pair(net):
    """Two hosts and a link of 10 ms."""
    a, b = net.host("10.0.0.1", "fd00::1", name="a"), net.host("10.0.0.2", "fd00::2", name="b")
    return a, b, net.link(a, b, delay="10ms")


@pytest.fixture
def connection(pair):
    """Both ends of one, and the link between them; the server reads when it is told to."""
    a, b, link = pair
    address = ("10.0.0.2", 80)
    with b.create_server(address) as listener, a.create_connection(address) as client:
        server, _ = listener.accept()
        with server:
            yield client, server, link
