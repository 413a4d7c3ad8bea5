# Native services: echo, discard, character generator, answered inside the core, for any number of
# connections.
# Called by: stack, for endpoints whose `service` is set.
# RFCs: 862, 863, 864.

from libc.stdint cimport int64_t, uint8_t, uint32_t
from pystack.core.endpoint cimport (
    ENDPOINT_DATAGRAM, SERVICE_CHARGEN, SERVICE_ECHO, Endpoint,
)
from pystack.core.memory.packet cimport Packet, packet_free
from pystack.core.memory.random cimport random_below
from pystack.core.memory.ring cimport ring_spans
from pystack.core.tcp.calls cimport tcp_close
from pystack.core.tcp.layer cimport STATE_CLOSED, STATE_LISTEN, Tcb, TcpLayer
from pystack.core.tcp.transfer cimport tcp_consume, tcp_send, tcp_send_pattern
from pystack.core.udp.datagram cimport datagram_send, datagram_take
from pystack.core.udp.layer cimport Datagram, DatagramInfo, UdpLayer

# RFC 864: lines of 72 of the 95 printable characters, each line starting one character later.
cdef enum:
    PRINTABLE = 95
    LINE = 74                   # with CR LF
    PATTERN = PRINTABLE * LINE
    # So much that the text of a train lies in one stretch wherever it begins.
    PATTERN_MEMORY = PATTERN + (1 << 16)
    MAX_DATAGRAM = 512          # RFC 864 section on UDP
    LEAST_CLIENT_PORT = 1024    # an "answer" to a service would be answered for ever

cdef uint8_t[PATTERN_MEMORY] pattern


cdef void pattern_fill() noexcept:
    cdef int i, line, column
    for i in range(PATTERN_MEMORY):
        line = i // LINE
        column = i % LINE
        if column < LINE - 2:
            pattern[i] = <uint8_t>(32 + (line + column) % PRINTABLE)
        else:
            pattern[i] = 13 if column == LINE - 2 else 10


pattern_fill()


cdef void tcp_echo(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """From the receive ring to the send ring; when that is full the window closes, and READY_WRITE
    goes on.
    """
    cdef const uint8_t* spans[2]
    cdef uint32_t lengths[2]
    cdef int64_t sent
    while tcb.busy.received.length:
        ring_spans(&tcb.busy.received.ring, 0, tcb.busy.received.length, spans, lengths)
        sent = tcp_send(tcp, tcb, spans[0], lengths[0], False, False, NULL)
        if sent <= 0:
            return
        tcp_consume(tcp, tcb, <uint32_t>sent)


cdef void tcp_chargen(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    tcp_consume(tcp, tcb, tcb.busy.received.length)
    tcp_send_pattern(tcp, tcb, pattern, PATTERN_MEMORY, PATTERN)


cdef void tcp_service(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    if tcb.state == STATE_LISTEN:
        return
    if tcb.state == STATE_CLOSED:
        tcp_close(tcp, tcb)
        return
    if tcb.endpoint.service == SERVICE_ECHO:
        tcp_echo(tcp, tcb)
    elif tcb.endpoint.service == SERVICE_CHARGEN and not tcb.fin_received:
        tcp_chargen(tcp, tcb)
    else:
        tcp_consume(tcp, tcb, tcb.busy.received.length)
    if tcb.fin_received and tcb.busy.received.length == 0 and tcb.held:
        tcp_close(tcp, tcb)


cdef void answer_pieces(
        UdpLayer* udp, Datagram* socket, const DatagramInfo* info, const uint8_t* data,
        uint32_t length) noexcept nogil:
    """Send a train's pieces one by one: on a path so narrow that each has to be fragmented."""
    cdef uint32_t size
    while length:
        size = min(length, <uint32_t>info.gso_size)
        datagram_send(udp, socket, &info.source, info.source_port, &info.destination, data, size, 0)
        data += size
        length -= size


cdef void udp_service(UdpLayer* udp, Datagram* socket) noexcept nogil:
    cdef DatagramInfo info
    cdef Packet* packet = datagram_take(socket, &info)
    cdef const uint8_t* data
    cdef uint32_t length
    cdef int64_t sent
    while packet != NULL:
        data = packet.data
        length = packet.length
        if socket.endpoint.service == SERVICE_CHARGEN:
            length = random_below(&udp.ip.context.random, MAX_DATAGRAM + 1)
            data = pattern
        if info.source_port >= LEAST_CLIENT_PORT and (
                socket.endpoint.service in (SERVICE_ECHO, SERVICE_CHARGEN)):
            sent = datagram_send(udp, socket, &info.source, info.source_port, &info.destination,
                                 data, length, info.gso_size)
            if sent < 0 and info.gso_size:
                answer_pieces(udp, socket, &info, data, length)
        packet_free(&udp.ip.context.slab, packet)
        packet = datagram_take(socket, &info)


cdef void service_run(TcpLayer* tcp, UdpLayer* udp, Endpoint* endpoint) noexcept nogil:
    """Something happened at an endpoint of a native service: answer it."""
    if endpoint.kind == ENDPOINT_DATAGRAM:
        udp_service(udp, <Datagram*>endpoint)
    else:
        tcp_service(tcp, <Tcb*>endpoint)
