# Counters: the names of the numbers, for whoever shows them.
# Called by: the stack's statistics.
# RFCs: none.

# By globals(): in here the bare name is the C type, which has no members.
NAMES = tuple(
    name.lower() for name in globals()["Counter"].__members__ if name != "COUNTER_COUNT"
)
