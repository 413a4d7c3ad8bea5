# Coalescing at the device's edge: segments of a connection that came in a row, into a train.
# Called by: engine/batch, for devices that do not hand out trains themselves.
# RFCs: 9293 section 3.1; 6864 section 4 (what tells atomic datagrams apart).

from pystack.core.memory.packet cimport Packet

# Join what can be joined of `count` packets, each with room for PACKET_MAX bytes; returns how many
# are left, which stand first, in order. Behind them are those whose text has gone into others.
cdef int packets_coalesce(Packet** packets, int count) noexcept nogil
