# Ports (and identifiers of echo sockets): which are taken, and which one is free.
# Called by: udp.
# RFCs: 6056 (choice of ephemeral ports), 3493 section 5.3 (IPV6_V6ONLY).

from libc.stdint cimport uint8_t, uint16_t
from pystack.core.udp.layer cimport Datagram, UdpLayer
from pystack.core.wire.address cimport Addr

# The sockets of a port, linked by port_next; NULL: none.
cdef Datagram* port_first(UdpLayer* udp, uint8_t protocol, uint16_t port) noexcept nogil
# Count a socket, whose key is set, among those of its port: 0, or -ENOMEM.
cdef int port_join(UdpLayer* udp, Datagram* socket) noexcept nogil
cdef void port_leave(UdpLayer* udp, Datagram* socket) noexcept nogil
# True if another socket forbids this one to bind to address and port (EADDRINUSE).
cdef bint port_is_taken(
    UdpLayer* udp, const Datagram* socket, const Addr* address, uint16_t port
) noexcept nogil
# A port that nobody uses at this address; -EADDRINUSE if there is none.
cdef int port_choose(UdpLayer* udp, const Datagram* socket, const Addr* address) noexcept nogil
