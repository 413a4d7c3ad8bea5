"""What a connection takes: the bounds that a new field may break.

A field that is needed only while something is in motion belongs in TcpBusy, one that few
connections ever need in TcpRare (core/tcp/layer.pxd).
"""

from __future__ import annotations

from native.core import BUSY_SIZE, TCB_SIZE

MOST = 512  # bytes of a connection at rest, tables included
BLOCK = 8  # what malloc keeps of each block, which is a multiple of 16
FLOW_SLOT, DEADLINE_ENTRY = 12, 16
FEWEST_FLOWS, FEWEST_DEADLINES = 3 / 8, 1 / 2  # how full these are after they have grown
MOST_BUSY = 744


def test_a_control_block_and_its_share_of_the_tables_stay_below_the_bound():
    block = (TCB_SIZE + BLOCK + 15) // 16 * 16
    tables = FLOW_SLOT / FEWEST_FLOWS + DEADLINE_ENTRY / FEWEST_DEADLINES
    assert block + tables <= MOST


def test_what_motion_needs_stays_below_its_bound():
    assert BUSY_SIZE <= MOST_BUSY
