# Counters: the names of the numbers, for whoever shows them.
# Called by: the stack's statistics.
# RFCs: none.

NAMES = tuple(name.lower() for name in Counter.__members__ if name != "COUNTER_COUNT")
