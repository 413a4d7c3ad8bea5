# The path MTU cache: the structs; what is done with them is in path_mtu.
# Called by: layer, which embeds it.
# RFCs: 1191 section 6, 8201 section 5.2.

from libc.stdint cimport int64_t, uint32_t
from pystack.core.memory.flow cimport FlowKey, FlowTable

cdef enum:
    PATH_MTU_ENTRIES_MAX = 1024

# Written by path_mtu only.
ctypedef struct PathMtuEntry:
    FlowKey key
    PathMtuEntry* older
    PathMtuEntry* newer
    int64_t expires
    uint32_t mtu
    bint locked                 # the path takes less than we go down to: leave DF clear

# Entries in the order in which they expire.
ctypedef struct PathMtuCache:
    FlowTable entries
    PathMtuEntry* oldest
    PathMtuEntry* newest
