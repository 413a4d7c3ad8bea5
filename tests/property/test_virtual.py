"""Whatever the link does and whatever both applications do, bytes arrive whole or an error is told.

Afterwards nothing is left: no connection, no packet, no timer. tools/soak does the same for as many
seeds as one likes.
"""

from __future__ import annotations

import pytest
from effort import some
from property.schedule import check

# Seeds that failed once, with what was wrong.
KEPT: dict[int, str] = {
    2978: "two links corrupted one packet, and its checksum was right again",
}


@pytest.mark.parametrize("seed", [*range(some(40)), *KEPT])
def test_any_schedule_over_any_link_ends_well(seed):
    check(seed)
