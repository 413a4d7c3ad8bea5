# Datagram sockets by address and port: who is a datagram for.
# Called by: udp.
# RFCs: 768, 3493 section 5.3 (IPV6_V6ONLY).

from libc.errno cimport ENOMEM
from libc.stdint cimport uint8_t, uint64_t
from pystack.core.endpoint cimport MANNER_REUSE_PORT
from pystack.core.memory.flow cimport FlowKey, flow_find, flow_insert, flow_remove, siphash
from pystack.core.udp.layer cimport Datagram, UdpLayer
from pystack.core.wire.address cimport addr_any, addr_is_any, addr_is_v4


cdef inline bint has_address(const Datagram* socket) noexcept nogil:
    """Whether it is found by a local address."""
    return not addr_is_any(&socket.endpoint.key.local)


cdef int table_insert(UdpLayer* udp, Datagram* socket) noexcept nogil:
    """Put a socket in front of those with an equal key (reuse_address), as Linux does."""
    cdef Datagram* older = <Datagram*>flow_find(&udp.sockets, &socket.endpoint.key)
    if older != NULL:
        flow_remove(&udp.sockets, &older.endpoint.key)
    socket.twin = older
    # Behind flow_remove there is room: only a key that is new to the table can fail.
    if flow_insert(&udp.sockets, &socket.endpoint.key) < 0:
        return -ENOMEM
    udp.address_count += has_address(socket)
    return 0


cdef void table_remove(UdpLayer* udp, Datagram* socket) noexcept nogil:
    """Let the table forget a socket that is in it."""
    cdef Datagram* at = <Datagram*>flow_find(&udp.sockets, &socket.endpoint.key)
    udp.address_count -= has_address(socket)
    if at == socket:
        flow_remove(&udp.sockets, &socket.endpoint.key)
        if socket.twin != NULL:
            flow_insert(&udp.sockets, &socket.twin.endpoint.key)
    else:
        while at.twin != socket:
            at = at.twin
        at.twin = socket.twin
    socket.twin = NULL


cdef int table_move(UdpLayer* udp, Datagram* socket, const FlowKey* key) noexcept nogil:
    """Give a socket another key; it need not have been in the table before.

    Returns 0, or -ENOMEM: then all is as before.
    """
    cdef FlowKey old = socket.endpoint.key
    if socket.bound:
        table_remove(udp, socket)
    socket.endpoint.key = key[0]
    if table_insert(udp, socket) == 0:
        return 0
    socket.endpoint.key = old
    if socket.bound:
        table_insert(udp, socket)
    return -ENOMEM


cdef Datagram* table_find_connected(UdpLayer* udp, const FlowKey* flow) noexcept nogil:
    """The socket connected to just this remote address and port, or NULL."""
    if udp.connected_count == 0:
        return NULL
    return <Datagram*>flow_find(&udp.sockets, flow)


cdef Datagram* find_mapped_wildcard(UdpLayer* udp, const FlowKey* key) noexcept nogil:
    """The socket bound to :: that takes IPv4 too (RFC 3493 section 5.3), or NULL."""
    cdef Datagram* socket = <Datagram*>flow_find(&udp.sockets, key)
    while socket != NULL and socket.endpoint.v6only:
        socket = socket.twin
    return socket


cdef inline bint is_sharing(const Datagram* socket, bint v6only) noexcept nogil:
    return socket.endpoint.manners & MANNER_REUSE_PORT != 0 and socket.endpoint.v6only == v6only


cdef Datagram* share(UdpLayer* udp, Datagram* socket, const FlowKey* flow) noexcept nogil:
    """Of those that share its address and port (SO_REUSEPORT) the one whose flow it is."""
    cdef bint v6only = socket.endpoint.v6only
    cdef Datagram* at = socket
    cdef uint64_t number = 0
    cdef uint64_t chosen
    if not is_sharing(socket, v6only):
        return socket
    while at != NULL:
        number += is_sharing(at, v6only)
        at = at.twin
    chosen = siphash(udp.ip.context.secret, <const uint8_t*>flow, sizeof(FlowKey)) >> 32
    chosen = chosen * number >> 32
    at = socket
    while chosen or not is_sharing(at, v6only):
        chosen -= is_sharing(at, v6only)
        at = at.twin
    return at


cdef Datagram* table_find_bound(UdpLayer* udp, const FlowKey* flow) noexcept nogil:
    """The socket bound to a flow's local address and port, else to the port at every address."""
    cdef bint v6 = not addr_is_v4(&flow.local)
    cdef FlowKey key = flow[0]
    cdef Datagram* socket = NULL
    key.remote.hi = key.remote.lo = 0
    key.remote_port = 0
    if udp.address_count:
        socket = <Datagram*>flow_find(&udp.sockets, &key)
    if socket == NULL:
        key.local = addr_any(v6)
        socket = <Datagram*>flow_find(&udp.sockets, &key)
    if socket == NULL and not v6:
        key.local = addr_any(True)
        socket = find_mapped_wildcard(udp, &key)
    if socket == NULL or socket.twin == NULL:
        return socket
    return share(udp, socket, flow)
