# The address policy table: the structs; what is done with them is in policy.
# Called by: layer, which embeds it.
# RFCs: none.

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from pystack.core.memory.flow cimport FlowKey, FlowTable

ctypedef struct PolicyRule:
    uint32_t token
    uint16_t first_port
    uint16_t last_port          # inclusive
    uint8_t protocol            # 0: all
    uint8_t action              # PolicyAction

# The rules of one prefix, oldest first.
ctypedef struct PolicyPrefix:
    FlowKey key                 # local: the prefix; prefix_length
    PolicyRule* rules
    uint32_t count

# Written by policy_set only.
ctypedef struct PolicyTable:
    FlowTable prefixes
    uint8_t lengths[129]        # prefix lengths that occur, longest first
    uint8_t length_count
