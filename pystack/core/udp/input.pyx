# Datagrams in: to the socket that they are for, or port unreachable.
# Called by: stack.
# RFCs: 768, 1122 section 4.1, 8200 section 8.1, 792, 4443.

from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memset
from pystack.core.context cimport Context, count, packet_drop, packet_hand_on
from pystack.core.counters cimport (
    ICMP_DROP_REPLY_NOT_OURS,
    IP_DROP_BROADCAST_OR_MULTICAST,
    IP_DROP_BY_POLICY,
    UDP_DROP_BAD_CHECKSUM,
    UDP_DROP_BAD_LENGTH,
    UDP_DROP_TOO_SHORT,
    UDP_DROP_ZERO_CHECKSUM,
    UDP_PORT_UNREACHABLE,
)
from pystack.core.ip.doorman cimport doorman_ask, doorman_wants
from pystack.core.ip.icmp cimport icmp_port_unreachable
from pystack.core.ip.input cimport ip_mirror
from pystack.core.ip.layer cimport (
    POLICY_ACCEPT,
    POLICY_DROP,
    POLICY_MIRROR,
    PROTOCOL_UDP,
    AskedFlow,
    IpView,
    PolicyAction,
)
from pystack.core.ip.policy cimport policy_find
from pystack.core.memory.flow cimport FlowKey
from pystack.core.memory.packet cimport (
    CSUM_PARTIAL,
    CSUM_VERIFIED,
    GSO_UDP4,
    GSO_UDP6,
    Packet,
    packet_free,
)
from pystack.core.udp.binding cimport binding_set
from pystack.core.udp.datagram cimport datagram_close, datagram_open
from pystack.core.udp.layer cimport Datagram, DatagramInfo, UdpLayer
from pystack.core.udp.multicast cimport multicast_is_for
from pystack.core.udp.ports cimport port_first
from pystack.core.udp.receive cimport (
    datagram_copy,
    datagram_deliver,
    datagram_deliver_train,
)
from pystack.core.udp.table cimport table_find_bound, table_find_connected
from pystack.core.wire.bytes cimport load16
from pystack.core.wire.checksum cimport csum_add, csum_finish, csum_pseudo
from pystack.core.wire.udp cimport UDP_HEADER_LENGTH, UDP_TOO_SHORT, UdpHeader, udp_parse

cdef enum:
    ICMP_IDENTIFIER_OFFSET = 4  # of echo requests and replies


cdef void flow_of_view(
    const IpView* view, uint16_t local_port, uint16_t remote_port, FlowKey* flow
) noexcept nogil:
    """The key that a socket connected to just the sender of a packet has."""
    memset(flow, 0, sizeof(FlowKey))
    flow.local = view.destination
    flow.remote = view.source
    flow.local_port = local_port
    flow.remote_port = remote_port
    flow.protocol = view.protocol


cdef void info_of_view(const IpView* view, uint16_t source_port, DatagramInfo* info) noexcept nogil:
    memset(info, 0, sizeof(DatagramInfo))
    info.source = view.source
    info.destination = view.destination
    info.source_port = source_port
    info.ttl = view.ttl
    info.tos = view.tos
    info.flow_label = view.flow_label


cdef bint checksum_is_good(
    Context* context, const IpView* view, const UdpHeader* header, bint zero6
) noexcept nogil:
    """False, and counted, if a datagram has a wrong checksum, or none where it must have one."""
    cdef uint32_t sum
    if view.packet.csum == CSUM_PARTIAL:
        return True
    if header.checksum == 0:
        # RFC 768: the sender made none. RFC 8200 section 8.1: in IPv6 it must, unless the receiver
        # does without (RFC 6936).
        if view.v6 and zero6:
            return True
        if view.v6:
            count(context, UDP_DROP_ZERO_CHECKSUM)
        return not view.v6
    if view.packet.csum == CSUM_VERIFIED:
        return True
    sum = csum_pseudo(&view.source, &view.destination, PROTOCOL_UDP, header.length)
    if csum_finish(csum_add(sum, view.payload, header.length)) == 0:
        return True
    count(context, UDP_DROP_BAD_CHECKSUM)
    return False


cdef void refuse(UdpLayer* udp, IpView* view) noexcept nogil:
    """Nobody is at this port (RFC 1122 section 4.1.3.1)."""
    icmp_port_unreachable(udp.ip, view)
    packet_drop(udp.ip.context, view.packet, UDP_PORT_UNREACHABLE)


cdef inline bint is_train(const Packet* packet) noexcept nogil:
    """Whether the payload at packet.data is that of several datagrams."""
    if packet.gso != GSO_UDP4 and packet.gso != GSO_UDP6:
        return False
    return 0 < packet.gso_size < packet.length


cdef void deliver(
    UdpLayer* udp, Datagram* socket, IpView* view, const UdpHeader* header
) noexcept nogil:
    """Queue the payload for its socket: a datagram, or the datagrams of a train."""
    cdef Context* context = udp.ip.context
    cdef Packet* packet = view.packet
    cdef DatagramInfo info
    info_of_view(view, header.source_port, &info)
    packet.data = view.payload + UDP_HEADER_LENGTH
    packet.length = header.length - UDP_HEADER_LENGTH
    if is_train(packet):
        datagram_deliver_train(context, socket, packet, &info, packet.gso_size)
        return
    datagram_deliver(context, socket, packet, &info)


cdef Datagram* find_receiver(
    UdpLayer* udp, const IpView* view, const FlowKey* flow, PolicyAction* action
) noexcept nogil:
    """The socket that a datagram is for, or NULL; *action says what to do without one.

    A connected socket comes before the address policy, because its peer is somebody whom we asked;
    a bound one after it, because the policy may take addresses away from the sockets.
    """
    cdef Datagram* socket = table_find_connected(udp, flow)
    cdef uint32_t token
    action[0] = POLICY_ACCEPT
    if socket != NULL:
        return socket
    action[0] = policy_find(udp.ip, &view.destination, PROTOCOL_UDP, flow.local_port, &token)
    if action[0] != POLICY_ACCEPT:
        return NULL
    return table_find_bound(udp, flow)


cdef void deliver_copy(
    Context* context, Datagram* socket, const Packet* packet, DatagramInfo* info
) noexcept nogil:
    """Queue a copy of a payload, datagram or train, for one of its receivers."""
    cdef Packet* copy = datagram_copy(context, packet)
    if copy == NULL:
        return
    if is_train(packet):
        datagram_deliver_train(context, socket, copy, info, packet.gso_size)
    else:
        datagram_deliver(context, socket, copy, info)


cdef void input_to_many(UdpLayer* udp, IpView* view, const UdpHeader* header) noexcept nogil:
    """Give each socket that hears it a copy of a datagram to a group or to all.

    If there is none it is dropped in silence (RFC 1122 section 3.2.2).
    """
    cdef Context* context = udp.ip.context
    cdef Packet* packet = view.packet
    cdef Datagram* socket = port_first(udp, PROTOCOL_UDP, header.destination_port)
    cdef DatagramInfo info
    cdef bint heard = False
    if not checksum_is_good(context, view, header, False):
        packet_free(&context.slab, packet)
        return
    packet.data = view.payload + UDP_HEADER_LENGTH
    packet.length = header.length - UDP_HEADER_LENGTH
    while socket != NULL:
        if multicast_is_for(socket, view, header.source_port):
            heard = True
            info_of_view(view, header.source_port, &info)
            deliver_copy(context, socket, packet, &info)
        socket = socket.port_next
    if heard:
        packet_free(&context.slab, packet)
    else:
        packet_drop(context, packet, IP_DROP_BROADCAST_OR_MULTICAST)


cdef void udp_input(UdpLayer* udp, IpView* view) noexcept nogil:
    """Give a datagram or train to its socket, or do with it what the address policy says."""
    cdef Context* context = udp.ip.context
    cdef UdpHeader header
    cdef FlowKey flow
    cdef PolicyAction action
    cdef Datagram* socket
    cdef int fault = udp_parse(view.payload, view.length, &header)
    if fault == UDP_TOO_SHORT:
        packet_drop(context, view.packet, UDP_DROP_TOO_SHORT)
        return
    if fault < 0:
        packet_drop(context, view.packet, UDP_DROP_BAD_LENGTH)
        return
    if view.to_many:
        input_to_many(udp, view, &header)
        return
    flow_of_view(view, header.destination_port, header.source_port, &flow)
    socket = find_receiver(udp, view, &flow, &action)
    if action == POLICY_MIRROR:
        # Unverified: the checksum stays as it is, and the receiver will verify it.
        ip_mirror(udp.ip, view)
        return
    if action == POLICY_DROP:
        packet_drop(context, view.packet, IP_DROP_BY_POLICY)
        return
    if not checksum_is_good(
            context, view, &header, socket != NULL and socket.zero_checksum6):
        packet_free(&context.slab, view.packet)
        return
    if socket == NULL and action == POLICY_ACCEPT and doorman_wants(udp.ip, PROTOCOL_UDP):
        doorman_ask(udp.ip, view, &flow)
        return
    if socket == NULL:
        if not packet_hand_on(context, view.packet):
            refuse(udp, view)
        return
    deliver(udp, socket, view, &header)


cdef Datagram* udp_admit(UdpLayer* udp, AskedFlow* asked) noexcept nogil:
    """A socket connected to the sender of a flow, with what this has sent; NULL: out of memory.

    It speaks as the address that was asked for, whoever else may be bound to its port. NULL also
    if there is a socket for the flow by now.
    """
    cdef Datagram* socket = NULL
    cdef UdpHeader header
    cdef uint32_t i
    cdef IpView view
    if table_find_connected(udp, &asked.key) == NULL:
        socket = datagram_open(udp, PROTOCOL_UDP, asked.views[0].v6)
    if socket == NULL:
        return NULL
    if binding_set(udp, socket, &asked.key) < 0:
        datagram_close(udp, socket)
        return NULL
    socket.bound_address = asked.key.local
    socket.port_given = socket.connected = True
    udp.connected_count += 1
    for i in range(asked.count):
        view = asked.views[i]
        asked.views[i].packet = NULL
        udp_parse(view.payload, view.length, &header)
        deliver(udp, socket, &view, &header)
    return socket


cdef void udp_turn_away(UdpLayer* udp, AskedFlow* asked) noexcept nogil:
    """Refuse the first datagram of a flow."""
    cdef IpView view = asked.views[0]
    asked.views[0].packet = NULL
    refuse(udp, &view)


cdef void echo_input(UdpLayer* udp, IpView* view) noexcept nogil:
    """Give an echo reply, ICMP header and all, to the socket that has its identifier."""
    cdef Context* context = udp.ip.context
    cdef Packet* packet = view.packet
    cdef FlowKey flow
    cdef DatagramInfo info
    cdef Datagram* socket
    flow_of_view(view, load16(view.payload + ICMP_IDENTIFIER_OFFSET), 0, &flow)
    socket = table_find_connected(udp, &flow)
    if socket == NULL:
        socket = table_find_bound(udp, &flow)
    if socket == NULL:
        packet_drop(context, packet, ICMP_DROP_REPLY_NOT_OURS)
        return
    info_of_view(view, 0, &info)
    packet.data = view.payload
    packet.length = view.length
    datagram_deliver(context, socket, packet, &info)
