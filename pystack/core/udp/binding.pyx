# Where a socket is found: its key and its port, set and cleared together.
# Called by: udp/datagram.
# RFCs: 6056 (by port_choose).

from libc.errno cimport EAGAIN
from libc.stdint cimport uint16_t
from pystack.core.memory.flow cimport FlowKey
from pystack.core.udp.layer cimport Datagram, UdpLayer
from pystack.core.udp.ports cimport port_choose, port_join, port_leave
from pystack.core.udp.table cimport table_move, table_remove


cdef int binding_set(UdpLayer* udp, Datagram* socket, const FlowKey* key) noexcept nogil:
    """Let a socket be found under a key: 0, or -ENOMEM and all as before.

    The port of a bound socket does not change.
    """
    cdef FlowKey old = socket.endpoint.key
    cdef int code = table_move(udp, socket, key)
    if code < 0 or socket.bound:
        return code
    code = port_join(udp, socket)
    if code < 0:
        table_remove(udp, socket)
        socket.endpoint.key = old
        return code
    socket.bound = True
    return 0


cdef void binding_clear(UdpLayer* udp, Datagram* socket) noexcept nogil:
    """Let a socket be found no more; its key stays as it was."""
    if not socket.bound:
        return
    table_remove(udp, socket)
    port_leave(udp, socket)
    socket.bound = False


cdef int binding_set_ephemeral(UdpLayer* udp, Datagram* socket, FlowKey* key) noexcept nogil:
    """Set a key; if the socket has no port yet, with one that is free: 0, -EAGAIN or -ENOMEM."""
    cdef int port
    if not socket.bound:
        port = port_choose(udp, socket, &key.local)
        if port < 0:
            return -EAGAIN
        key.local_port = <uint16_t>port
    return binding_set(udp, socket, key)
