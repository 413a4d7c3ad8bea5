"""Simulated wires: what may happen to a packet between two hosts.

Called by: pystack.testing, the command line.
RFCs: see way, node, forwarding.
"""

from pystack.link.quality import GilbertElliott, Quality
from pystack.link.way import Way

__all__ = ["GilbertElliott", "Quality", "Way"]
