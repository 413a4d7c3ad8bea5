# Ports (and identifiers of echo sockets): which are taken, and which one is free.
# Called by: udp.
# RFCs: 6056 (choice of ephemeral ports), 3493 section 5.3 (IPV6_V6ONLY).

from libc.errno cimport EADDRINUSE, ENOMEM
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from pystack.core.endpoint cimport MANNER_REUSE_PORT, SERVICE_NONE
from pystack.core.ip.layer cimport PROTOCOL_UDP
from pystack.core.memory.flow cimport FlowKey, flow_find, flow_insert, flow_remove
from pystack.core.memory.random cimport random_below
from pystack.core.udp.layer cimport Datagram, DatagramPort, UdpLayer
from pystack.core.wire.address cimport Addr, addr_eq, addr_is_any, addr_is_v4

cdef enum:
    EPHEMERAL_FIRST = 32768     # Linux's ip_local_port_range
    EPHEMERAL_LAST = 60999
    IDENTIFIER_FIRST = 1
    IDENTIFIER_LAST = 65535


cdef void port_key(FlowKey* key, uint8_t protocol, uint16_t port) noexcept nogil:
    memset(key, 0, sizeof(FlowKey))
    key.protocol = protocol
    key.local_port = port


cdef DatagramPort* port_find(UdpLayer* udp, uint8_t protocol, uint16_t port) noexcept nogil:
    cdef FlowKey key
    port_key(&key, protocol, port)
    return <DatagramPort*>flow_find(&udp.ports, &key)


cdef Datagram* port_first(UdpLayer* udp, uint8_t protocol, uint16_t port) noexcept nogil:
    """The sockets of a port, whatever their addresses."""
    cdef DatagramPort* found = port_find(udp, protocol, port)
    return NULL if found == NULL else found.first


cdef DatagramPort* port_new(UdpLayer* udp, uint8_t protocol, uint16_t port) noexcept nogil:
    """A port without sockets, in the table; NULL: out of memory."""
    cdef DatagramPort* made = <DatagramPort*>calloc(1, sizeof(DatagramPort))
    if made == NULL:
        return NULL
    port_key(&made.key, protocol, port)
    if flow_insert(&udp.ports, &made.key) < 0:
        free(made)
        return NULL
    return made


cdef int port_join(UdpLayer* udp, Datagram* socket) noexcept nogil:
    """Count a socket, whose key is set, among those of its port: 0, or -ENOMEM."""
    cdef FlowKey* key = &socket.endpoint.key
    cdef DatagramPort* port = port_find(udp, key.protocol, key.local_port)
    if port == NULL:
        port = port_new(udp, key.protocol, key.local_port)
    if port == NULL:
        return -ENOMEM
    socket.port_next = port.first
    port.first = socket
    return 0


cdef void port_leave(UdpLayer* udp, Datagram* socket) noexcept nogil:
    """Undo port_join; the key must still name the same port."""
    cdef FlowKey* key = &socket.endpoint.key
    cdef DatagramPort* port = port_find(udp, key.protocol, key.local_port)
    cdef Datagram** link = &port.first
    while link[0] != socket:
        link = &link[0].port_next
    link[0] = socket.port_next
    socket.port_next = NULL
    if port.first == NULL:
        flow_remove(&udp.ports, &port.key)
        free(port)


cdef bint covers(const Addr* wildcard, bint v6only, const Addr* address) noexcept nogil:
    """Whether who is bound to the first address is there at the second too."""
    if not addr_is_any(wildcard):
        return False
    if addr_is_v4(wildcard):
        return addr_is_v4(address)
    return not (v6only and addr_is_v4(address))


cdef bint overlaps(
    const Datagram* socket, const Addr* address, const Datagram* other
) noexcept nogil:
    """Whether a datagram could be for `socket`, at that address, and for the other as well."""
    cdef const Addr* theirs = &other.endpoint.key.local
    if socket == other:
        return False
    # A service of the stack's own answers where no program does: it is in nobody's way.
    if other.endpoint.service != SERVICE_NONE:
        return False
    return (
        addr_eq(address, theirs)
        or covers(address, socket.endpoint.v6only, theirs)
        or covers(theirs, other.endpoint.v6only, address)
    )


cdef bint port_is_taken(
    UdpLayer* udp, const Datagram* socket, const Addr* address, uint16_t port
) noexcept nogil:
    """True if another socket forbids this one to bind to address and port.

    As in Linux only two sockets that both have reuse_address, or both SO_REUSEPORT, can share them.
    """
    cdef DatagramPort* found = port_find(udp, socket.endpoint.key.protocol, port)
    cdef Datagram* other = found.first if found != NULL else NULL
    while other != NULL:
        if overlaps(socket, address, other):
            if not (socket.reuse_address and other.reuse_address) and not (
                    socket.endpoint.key.protocol == PROTOCOL_UDP
                    and socket.endpoint.manners & other.endpoint.manners & MANNER_REUSE_PORT):
                return True
        other = other.port_next
    return False


cdef bint port_is_free(
    UdpLayer* udp, const Datagram* socket, const Addr* address, uint16_t port
) noexcept nogil:
    """True if nobody is at address and port, not even somebody who would share."""
    cdef DatagramPort* found = port_find(udp, socket.endpoint.key.protocol, port)
    cdef Datagram* other = found.first if found != NULL else NULL
    while other != NULL:
        if overlaps(socket, address, other):
            return False
        other = other.port_next
    return True


cdef int port_choose(UdpLayer* udp, const Datagram* socket, const Addr* address) noexcept nogil:
    """A port that nobody uses at this address, from a random one upwards; -EADDRINUSE if none.

    RFC 6056 section 3.3.1, algorithm 1. An echo socket may have any identifier but 0.
    """
    cdef uint32_t first = EPHEMERAL_FIRST, last = EPHEMERAL_LAST
    cdef uint32_t number, start, i
    cdef uint16_t port
    if socket.endpoint.key.protocol != PROTOCOL_UDP:
        first = IDENTIFIER_FIRST
        last = IDENTIFIER_LAST
    elif first <= socket.port_low <= last:
        first = socket.port_low
    if socket.endpoint.key.protocol == PROTOCOL_UDP and EPHEMERAL_FIRST <= socket.port_high <= last:
        last = socket.port_high
    if last < first:
        return -EADDRINUSE
    number = last - first + 1
    start = random_below(&udp.ip.context.random, number)
    for i in range(number):
        port = <uint16_t>(first + (start + i) % number)
        if port_is_free(udp, socket, address, port):
            return port
    return -EADDRINUSE
