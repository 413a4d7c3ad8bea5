# Where a socket is found: its key and its port, set and cleared together.
# Called by: udp/datagram.
# RFCs: 6056 (by port_choose).

from pystack.core.memory.flow cimport FlowKey
from pystack.core.udp.layer cimport Datagram, UdpLayer

# Let a socket be found under a key: 0, or -ENOMEM and all as before. A bound socket keeps its port.
cdef int binding_set(UdpLayer* udp, Datagram* socket, const FlowKey* key) noexcept nogil
# The same; a socket that is not bound yet gets a port that is free, or -EAGAIN.
cdef int binding_set_ephemeral(UdpLayer* udp, Datagram* socket, FlowKey* key) noexcept nogil
cdef void binding_clear(UdpLayer* udp, Datagram* socket) noexcept nogil
