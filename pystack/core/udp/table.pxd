# Datagram sockets by address and port: who is a datagram for.
# Called by: udp.
# RFCs: 768, 3493 section 5.3 (IPV6_V6ONLY).

from pystack.core.memory.flow cimport FlowKey
from pystack.core.udp.layer cimport Datagram, UdpLayer

# Give a socket another key, under which it is found from then on: 0, or -ENOMEM and all as before.
cdef int table_move(UdpLayer* udp, Datagram* socket, const FlowKey* key) noexcept nogil
cdef void table_remove(UdpLayer* udp, Datagram* socket) noexcept nogil
# The socket connected to just this remote address and port, or NULL.
cdef Datagram* table_find_connected(UdpLayer* udp, const FlowKey* flow) noexcept nogil
# The socket bound to the local address and port of a flow, else to the port at every address.
cdef Datagram* table_find_bound(UdpLayer* udp, const FlowKey* flow) noexcept nogil
