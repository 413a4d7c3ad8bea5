"""Shortest paths through a virtual network.

Called by: network.
RFCs: none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pystack.testing.network import Host


class Neighbour(NamedTuple):
    """Who is at the other end of a link, and the number of the link's port here."""

    host: Host
    port: int


def routes_from(
    start: Host, neighbours: Callable[[Host], list[Neighbour]]
) -> Iterator[tuple[Host, int]]:
    """Each host that can be reached, with the port that the fewest hops begin with.

    Of ways with equally many hops that whose links were made first is taken. Hosts do not forward.
    """
    from pystack.testing.network import Router

    known = {start.name}
    front: deque[tuple[Host, int]] = deque()
    for host, port in neighbours(start):
        if host.name not in known:
            known.add(host.name)
            front.append((host, port))
    while front:
        host, port = front.popleft()
        yield host, port
        if not isinstance(host, Router):
            continue
        for further, _ in neighbours(host):
            if further.name not in known:
                known.add(further.name)
                front.append((further, port))
