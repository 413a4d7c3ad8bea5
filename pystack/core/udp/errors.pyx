# ICMP errors about datagrams of ours: to the socket that sent them, and into its error queue.
# Called by: stack; datagram, for errors of our own.
# RFCs: 1122 section 4.1.3.3, 792, 4443, 4884; Linux's IP_RECVERR.

from libc.errno cimport EMSGSIZE
from libc.stdint cimport int16_t, uint16_t, uint32_t
from libc.string cimport memset
from pystack.core.context cimport Context, count, endpoint_ready
from pystack.core.counters cimport UDP_ERRORS_DELIVERED
from pystack.core.endpoint cimport (
    MANNER_REPORT_ERRORS, MANNER_REPORT_EXTENSIONS, MTU_DISCOVER_DO, MTU_DISCOVER_DONT, READY_ERROR,
)
from pystack.core.error_queue cimport ORIGIN_LOCAL, ErrorReport, error_queue_add
from pystack.core.ip.error_report cimport error_report_of
from pystack.core.ip.icmp_errno cimport icmp_error_is_fatal
from pystack.core.ip.layer cimport (
    ICMP_ERROR_TOO_BIG,
    PROTOCOL_UDP,
    IcmpError,
    IpSend,
)
from pystack.core.ip.path_mtu cimport ip_path_mtu, ip_path_mtu_lower
from pystack.core.memory.flow cimport FlowKey
from pystack.core.udp.layer cimport Datagram, UdpLayer
from pystack.core.udp.table cimport table_find_bound, table_find_connected
from pystack.core.wire.bytes cimport load16
from pystack.core.wire.udp cimport UDP_HEADER_LENGTH

cdef enum:
    ICMP_IDENTIFIER_OFFSET = 4  # of echo requests


cdef void flow_of_error(const IcmpError* error, FlowKey* flow) noexcept nogil:
    """The key of a socket connected to whom the offending packet went to.

    IP has seen to it that the packet was UDP or an echo request, and that 8 bytes are quoted.
    """
    memset(flow, 0, sizeof(FlowKey))
    flow.local = error.local
    flow.remote = error.remote
    flow.protocol = error.protocol
    if error.protocol == PROTOCOL_UDP:
        flow.local_port = load16(error.transport)
        flow.remote_port = load16(error.transport + 2)
    else:
        flow.local_port = load16(error.transport + ICMP_IDENTIFIER_OFFSET)


cdef bint error_is_reported(const Datagram* socket, const IcmpError* error) noexcept nogil:
    """Whether an application hears of an error (RFC 1122 section 4.1.3.3): as in Linux, of all if
    it asks for them (IP_RECVERR), otherwise of those that will not pass.
    """
    if error.kind == ICMP_ERROR_TOO_BIG:
        if socket.endpoint.marking.mtu_discover == MTU_DISCOVER_DONT:
            return False
    if socket.endpoint.manners & MANNER_REPORT_ERRORS:
        return True
    # An unconnected socket could not tell which of its peers is meant.
    return socket.connected and (error.kind == ICMP_ERROR_TOO_BIG or icmp_error_is_fatal(error))


cdef inline uint32_t queue_room(const Datagram* socket) noexcept nogil:
    """Errors and datagrams share SO_RCVBUF."""
    if socket.queue_bytes >= socket.queue_limit:
        return 0
    return socket.queue_limit - socket.queue_bytes


cdef void error_queue(UdpLayer* udp, Datagram* socket, const IcmpError* error) noexcept nogil:
    """Keep an error with what it quotes: of UDP the payload, of an echo request all of it."""
    cdef ErrorReport report
    cdef uint32_t header = 0
    if error.protocol == PROTOCOL_UDP:
        header = UDP_HEADER_LENGTH
    error_report_of(error, header, socket.endpoint.manners & MANNER_REPORT_EXTENSIONS, &report)
    if error.protocol != PROTOCOL_UDP:
        report.port = 0
    error_queue_add(
        &udp.ip.context.slab, &socket.endpoint.errors, &report, error.transport + header,
        error.rest - header, queue_room(socket)
    )


cdef bint udp_error(UdpLayer* udp, const IcmpError* error) noexcept nogil:
    """Tell the socket that sent the offending packet; believe Packet Too Big if there is one.

    False: there is none.
    """
    cdef Context* context = udp.ip.context
    cdef FlowKey flow
    cdef Datagram* socket
    flow_of_error(error, &flow)
    socket = table_find_connected(udp, &flow)
    if socket == NULL:
        socket = table_find_bound(udp, &flow)
    if socket == NULL:
        return False
    if error.kind == ICMP_ERROR_TOO_BIG:
        ip_path_mtu_lower(udp.ip, &error.local, &error.remote, error.mtu)
    if not error_is_reported(socket, error):
        return True
    if socket.endpoint.manners & MANNER_REPORT_ERRORS:
        error_queue(udp, socket, error)
    socket.endpoint.error = <int16_t>error.error
    count(context, UDP_ERRORS_DELIVERED)
    endpoint_ready(context, &socket.endpoint, READY_ERROR)
    return True


cdef void too_big_report(
    UdpLayer* udp, Datagram* socket, const IpSend* send, uint16_t port
) noexcept nogil:
    """Queue an error of our own, with the path MTU (Linux's ip_local_error); tracepath asks so."""
    cdef ErrorReport report
    if (not socket.endpoint.manners & MANNER_REPORT_ERRORS
            or send.marking.mtu_discover != MTU_DISCOVER_DO):
        return
    memset(&report, 0, sizeof(ErrorReport))
    report.error = <int16_t>EMSGSIZE
    report.origin = ORIGIN_LOCAL
    report.remote = send.destination
    report.port = port
    report.info = ip_path_mtu(udp.ip, &send.source, &send.destination)
    error_queue_add(
        &udp.ip.context.slab, &socket.endpoint.errors, &report, NULL, 0, queue_room(socket)
    )
    endpoint_ready(udp.ip.context, &socket.endpoint, READY_ERROR)
