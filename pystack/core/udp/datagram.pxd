# Datagram sockets: the calls.
# Called by: stack.
# RFCs: 768, 1122 section 4.1, 3493 sections 3.7 and 5.3.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from pystack.core.memory.packet cimport Packet
from pystack.core.udp.layer cimport Datagram, DatagramInfo, UdpLayer
from pystack.core.wire.address cimport Addr

# The socket calls; 0 or a count, or a negative errno. Echo sockets have an identifier for a port.
# protocol: PROTOCOL_UDP, PROTOCOL_ICMP (v6 False), PROTOCOL_ICMPV6 (v6 True). NULL: no memory.
cdef Datagram* datagram_open(UdpLayer* udp, uint8_t protocol, bint v6) noexcept nogil
cdef int datagram_bind(
    UdpLayer* udp, Datagram* socket, const Addr* address, uint16_t port
) noexcept nogil
cdef int datagram_connect(
    UdpLayer* udp, Datagram* socket, const Addr* address, uint16_t port
) noexcept nogil
cdef int datagram_disconnect(UdpLayer* udp, Datagram* socket) noexcept nogil
# address: NULL for the connected one. source: the address of ours to send from, or NULL for the
# bound or the chosen one. gso_size: 0, or the size of the pieces that data is to be cut into
# (UDP_SEGMENT). Binds to an ephemeral port if need be.
cdef int64_t datagram_send(
    UdpLayer* udp, Datagram* socket, const Addr* address, uint16_t port, const Addr* source,
    const uint8_t* data, size_t length, uint16_t gso_size
) noexcept nogil
# As datagram_send; more: it is only a piece of a datagram (MSG_MORE).
cdef int64_t datagram_write(
    UdpLayer* udp, Datagram* socket, const Addr* address, uint16_t port, const Addr* source,
    const uint8_t* data, size_t length, uint16_t gso_size, bint more
) noexcept nogil
# The oldest datagram, which the caller then owns (NULL: none), or left in the queue (peek).
cdef Packet* datagram_take(Datagram* socket, DatagramInfo* info) noexcept nogil
cdef Packet* datagram_peek(Datagram* socket, DatagramInfo* info) noexcept nogil
cdef Packet* datagram_peek_at(
    Datagram* socket, uint32_t* offset, DatagramInfo* info
) noexcept nogil
# End one direction; -ENOTCONN, and in effect all the same, if the socket is not connected.
cdef int datagram_shut_read(UdpLayer* udp, Datagram* socket) noexcept nogil
cdef int datagram_shut_write(UdpLayer* udp, Datagram* socket) noexcept nogil
cdef void datagram_close(UdpLayer* udp, Datagram* socket) noexcept nogil
