# Datagram sockets: the calls.
# Called by: stack.
# RFCs: 768, 1122 section 4.1, 3493 sections 3.7 and 5.3.

from libc.errno cimport EADDRINUSE, EDESTADDRREQ, EINVAL, EMSGSIZE, ENOTCONN, EPIPE
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc
from libc.string cimport memset
from pystack.core.context cimport endpoint_free, endpoint_ready
from pystack.core.endpoint cimport (
    ENDPOINT_DATAGRAM,
    MTU_DISCOVER_WANT,
    READY_HANGUP,
    READY_READ,
    READY_WRITE,
)
from pystack.core.error_queue cimport error_queue_release
from pystack.core.ip.flow_label cimport flow_label_new
from pystack.core.ip.layer cimport PROTOCOL_ICMPV6, PROTOCOL_UDP, IpSend
from pystack.core.memory.flow cimport FlowKey
from pystack.core.memory.packet cimport Packet, packet_pop, packet_queue_release
from pystack.core.udp.addresses cimport (
    is_of_many,
    local_check,
    remote_check,
    source_check,
    source_find,
)
from pystack.core.udp.binding cimport binding_clear, binding_set, binding_set_ephemeral
from pystack.core.udp.cork cimport cork_add, cork_begin, cork_release
from pystack.core.udp.layer cimport Datagram, DatagramInfo, UdpLayer
from pystack.core.udp.errors cimport too_big_report
from pystack.core.udp.multicast cimport multicast_init, multicast_leave_all, multicast_mark
from pystack.core.udp.output cimport echo_is_request, echo_output, udp_output
from pystack.core.udp.ports cimport port_choose, port_is_taken
from pystack.core.udp.receive cimport true_size
from pystack.core.wire.address cimport (
    Addr,
    addr_any,
    addr_is_any,
    addr_is_multicast,
    addr_is_v4,
)

cdef enum:
    RECEIVE_BUFFER = 212992     # Linux's net.core.rmem_default


cdef Datagram* datagram_open(UdpLayer* udp, uint8_t protocol, bint v6) noexcept nogil:
    """Make an unbound socket of one family; NULL: out of memory."""
    cdef Datagram* socket = <Datagram*>calloc(1, sizeof(Datagram))
    if socket == NULL:
        return NULL
    socket.endpoint.kind = ENDPOINT_DATAGRAM
    socket.endpoint.key.protocol = protocol
    socket.endpoint.key.local = socket.bound_address = addr_any(v6)
    socket.endpoint.marking.mtu_discover = MTU_DISCOVER_WANT
    # There is no ICMPv6 over IPv4.
    socket.endpoint.v6only = protocol == PROTOCOL_ICMPV6
    socket.queue_limit = RECEIVE_BUFFER
    socket.v6 = v6
    multicast_init(socket)
    if v6:
        socket.endpoint.marking.flow_label = flow_label_new(udp.ip.context)
    socket.next = udp.first
    if udp.first != NULL:
        udp.first.previous = socket
    udp.first = socket
    return socket


cdef void datagram_close(UdpLayer* udp, Datagram* socket) noexcept nogil:
    """Free a socket and all that waits in its queue."""
    if socket.connected:
        udp.connected_count -= 1
    cork_release(socket)
    multicast_leave_all(udp, socket)
    binding_clear(udp, socket)
    packet_queue_release(&udp.ip.context.slab, &socket.queue)
    error_queue_release(&udp.ip.context.slab, &socket.endpoint.errors)
    if socket.previous != NULL:
        socket.previous.next = socket.next
    else:
        udp.first = socket.next
    if socket.next != NULL:
        socket.next.previous = socket.previous
    endpoint_free(&socket.endpoint)


cdef int datagram_bind(
    UdpLayer* udp, Datagram* socket, const Addr* address, uint16_t port
) noexcept nogil:
    """Take a local address and port; port 0: one that is free.

    -EINVAL: bound already, or a mapped address with v6only. -EADDRNOTAVAIL: not ours. -EADDRINUSE.
    """
    cdef FlowKey key = socket.endpoint.key
    cdef int code = local_check(udp, socket, address)
    if code < 0:
        return code
    if port == 0:
        code = port_choose(udp, socket, address)
        if code < 0:
            return code
        port = <uint16_t>code
    elif port_is_taken(udp, socket, address, port):
        return -EADDRINUSE
    key.local = address[0]
    key.local_port = port
    code = binding_set(udp, socket, &key)
    if code < 0:
        return code
    socket.bound_address = address[0]
    socket.port_given = True
    return 0


cdef int datagram_connect(
    UdpLayer* udp, Datagram* socket, const Addr* address, uint16_t port
) noexcept nogil:
    """Fix the remote address and port, and with them the local ones; again for another remote."""
    cdef FlowKey key = socket.endpoint.key
    cdef int code = remote_check(udp, socket, address)
    if code < 0:
        return code
    code = source_find(udp, socket, &socket.bound_address, address, &key.local)
    if code < 0:
        return code
    # Who is bound to a group goes on listening there.
    if is_of_many(udp, &socket.bound_address):
        key.local = socket.bound_address
    # As in Linux the unspecified address means this host itself.
    key.remote = key.local if addr_is_any(address) else address[0]
    key.remote_port = port if key.protocol == PROTOCOL_UDP else 0
    code = binding_set_ephemeral(udp, socket, &key)
    if code < 0:
        return code
    if not socket.connected:
        udp.connected_count += 1
    socket.connected = True
    return 0


cdef int datagram_disconnect(UdpLayer* udp, Datagram* socket) noexcept nogil:
    """Return to what bind has set, or to an unbound socket: 0, or -ENOMEM."""
    cdef FlowKey key = socket.endpoint.key
    cdef int code
    if not socket.connected:
        return 0
    key.local = socket.bound_address
    key.remote.hi = key.remote.lo = 0
    key.remote_port = 0
    if socket.port_given:
        code = binding_set(udp, socket, &key)
        if code < 0:
            return code
    else:
        binding_clear(udp, socket)
        key.local_port = 0
        socket.endpoint.key = key
    socket.connected = False
    udp.connected_count -= 1
    return 0


cdef int take_error(Datagram* socket) noexcept nogil:
    """The pending error as a return value, 0 if there is none."""
    cdef int32_t error = socket.endpoint.error
    socket.endpoint.error = 0
    return -error


cdef const Addr* source_bound(const Datagram* socket, const Addr* remote) noexcept nogil:
    """The address that a socket is to speak from: the bound one; to groups IP_MULTICAST_IF's."""
    cdef const Addr* source = &socket.multicast[not addr_is_v4(remote)].source
    if not addr_is_any(source) and addr_is_multicast(remote):
        return source
    return &socket.endpoint.key.local


cdef int prepare(
    UdpLayer* udp, const Datagram* socket, const Addr* address, const Addr* source, IpSend* send
) noexcept nogil:
    """Fill in from whom and to whom a datagram goes, and how it is marked: 0, or the errno."""
    cdef const Addr* remote = address
    cdef int code
    if address == NULL:
        if not socket.connected:
            return -EDESTADDRREQ
        remote = &socket.endpoint.key.remote
    code = remote_check(udp, socket, remote)
    if code < 0:
        return code
    memset(send, 0, sizeof(IpSend))
    if source != NULL and not addr_is_any(source):
        code = source_check(udp, socket, source, remote)
        send.source = source[0]
    else:
        code = source_find(udp, socket, source_bound(socket, remote), remote, &send.source)
    if code < 0:
        return code
    send.destination = send.source if addr_is_any(remote) else remote[0]
    send.protocol = socket.endpoint.key.protocol
    send.marking = socket.endpoint.marking
    if addr_is_multicast(remote):
        multicast_mark(udp, socket, send)
    return 0


cdef int64_t datagram_send(
    UdpLayer* udp, Datagram* socket, const Addr* address, uint16_t port, const Addr* source,
    const uint8_t* data, size_t length, uint16_t gso_size
) noexcept nogil:
    """Send one datagram, or with gso_size several; return how many bytes were taken: all.

    A pending error comes first, then -EPIPE after datagram_shut_write. -EDESTADDRREQ, -EMSGSIZE;
    -EINVAL: port 0, a source that is not ours, too many pieces, or not an echo request.
    """
    return datagram_write(udp, socket, address, port, source, data, length, gso_size, False)


cdef int64_t datagram_write(
    UdpLayer* udp, Datagram* socket, const Addr* address, uint16_t port, const Addr* source,
    const uint8_t* data, size_t length, uint16_t gso_size, bint more
) noexcept nogil:
    """datagram_send; with `more` (MSG_MORE), or UDP_CORK, the datagram waits for its other pieces.

    As in Linux the first piece says where it goes.
    """
    cdef FlowKey* key = &socket.endpoint.key
    cdef FlowKey chosen
    cdef IpSend send
    cdef int64_t sent
    cdef int code = take_error(socket)
    if code < 0:
        return code
    if socket.shut_write:
        return -EPIPE
    if socket.cork != NULL:
        return cork_add(udp, socket, data, length, more or socket.corked)
    code = prepare(udp, socket, address, source, &send)
    if code < 0:
        return code
    if key.protocol != PROTOCOL_UDP and not echo_is_request(key.protocol, data, length):
        return -EINVAL
    if key.protocol == PROTOCOL_UDP and address != NULL and port == 0:
        return -EINVAL
    if not socket.bound:
        chosen = key[0]
        code = binding_set_ephemeral(udp, socket, &chosen)
        if code < 0:
            return code
    if address == NULL:
        port = key.remote_port
    if key.protocol == PROTOCOL_UDP and (more or socket.corked):
        return cork_begin(udp, socket, &send, port, gso_size, data, length)
    if key.protocol != PROTOCOL_UDP:
        sent = echo_output(udp, &send, key.local_port, data, length)
    else:
        sent = udp_output(udp, socket, &send, port, data, length, gso_size)
    if sent == -EMSGSIZE:
        too_big_report(udp, socket, &send, port)
    return sent


cdef Packet* datagram_take(Datagram* socket, DatagramInfo* info) noexcept nogil:
    """The oldest datagram, from now on the caller's; NULL: none."""
    cdef Packet* packet = packet_pop(&socket.queue)
    if packet == NULL:
        return NULL
    socket.queue_bytes -= true_size(packet)
    info[0] = (<DatagramInfo*>packet.control)[0]
    return packet


cdef Packet* datagram_peek(Datagram* socket, DatagramInfo* info) noexcept nogil:
    """The oldest datagram, which stays the socket's; NULL: none."""
    cdef Packet* packet = socket.queue.first
    if packet == NULL:
        return NULL
    info[0] = (<DatagramInfo*>packet.control)[0]
    return packet


cdef Packet* datagram_peek_at(
    Datagram* socket, uint32_t* offset, DatagramInfo* info
) noexcept nogil:
    """The datagram at a place of all that is queued (SO_PEEK_OFF), offset: from its beginning.

    NULL: nothing is there yet. An empty one is told of once, as in Linux.
    """
    cdef Packet* packet = socket.queue.first
    while packet != NULL:
        if offset[0] < packet.length or not (
                offset[0] or (<DatagramInfo*>packet.control).peeked):
            break
        offset[0] -= packet.length
        packet = packet.next
    if packet == NULL:
        return NULL
    if packet.length == 0:
        (<DatagramInfo*>packet.control).peeked = True
    info[0] = (<DatagramInfo*>packet.control)[0]
    return packet


cdef int shut(UdpLayer* udp, Datagram* socket, int events) noexcept nogil:
    """Wake who waits for a direction that has ended: 0, or as Linux -ENOTCONN."""
    if socket.shut_read and socket.shut_write:
        events |= READY_HANGUP
    endpoint_ready(udp.ip.context, &socket.endpoint, events)
    return 0 if socket.connected else -ENOTCONN


cdef int datagram_shut_read(UdpLayer* udp, Datagram* socket) noexcept nogil:
    """Queue nothing more; what is queued can still be taken."""
    socket.shut_read = True
    return shut(udp, socket, READY_READ)


cdef int datagram_shut_write(UdpLayer* udp, Datagram* socket) noexcept nogil:
    """Send nothing more."""
    socket.shut_write = True
    return shut(udp, socket, READY_WRITE)
