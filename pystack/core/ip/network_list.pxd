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

ctypedef struct AddressPair:
    Addr source
    Addr destination
    bint is_set

# Written by networks only. Few networks and excluded addresses: both are searched one by one.
ctypedef struct NetworkList:
    Network* items
    Addr* excluded
    uint32_t count
    uint32_t excluded_count
    # Of the last packet that a device gave us for an address of ours, IPv4 and IPv6: most that
    # follow have the same.
    AddressPair[2] noted
