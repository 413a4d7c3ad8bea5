# Our networks: the struct; what is done with it is in networks.
# Called by: layer, which embeds it.
# RFCs: none.

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.wire.address cimport Addr

ctypedef struct Network:
    Addr first                  # the prefix
    Addr last                   # all host bits set
    uint8_t prefix_length       # 0..128; IPv4 adds 96
    bint v4

# Written by ip_add_network and ip_exclude_address only. Few of either: both are searched one by
# one.
ctypedef struct NetworkList:
    Network* items
    Addr* excluded
    uint32_t count
    uint32_t excluded_count
