# The doorman: flows that nobody waits for, kept until somebody decides about them.
# Called by: tcp and udp input (ask), tcp and udp admission, the engine (decides), setup.
# RFCs: none; the design's section 6.

from libc.errno cimport EADDRINUSE, ENOMEM
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from pystack.core.context cimport count, endpoint_free, endpoint_ready, packet_drop
from pystack.core.counters cimport (
    IP_DROP_FLOW_UNDECIDED,
    IP_FLOWS_ASKED,
    OUT_OF_MEMORY,
)
from pystack.core.endpoint cimport ENDPOINT_DOORMAN, READY_READ
from pystack.core.ip.layer cimport (
    ASKED_PACKETS,
    PROTOCOL_TCP,
    AskedFlow,
    Doorman,
    IpLayer,
    IpView,
)
from pystack.core.memory.flow cimport (
    FlowKey,
    flow_find,
    flow_insert,
    flow_remove,
    flow_table_init,
    flow_table_release,
)
from pystack.core.memory.packet cimport (
    Packet,
    packet_free,
    packet_new_snug,
)

cdef enum:
    LONGEST_KEPT = 4096     # bytes of a packet, so that few flows cannot hold much memory


cdef Doorman* doorman_open(
    IpLayer* ip, bint tcp, bint udp, uint32_t limit, int* error
) noexcept nogil:
    cdef Doorman* doorman
    error[0] = -EADDRINUSE
    if ip.doorman != NULL:
        return NULL
    error[0] = -ENOMEM
    doorman = <Doorman*>calloc(1, sizeof(Doorman))
    if doorman == NULL:
        return NULL
    doorman.endpoint.kind = ENDPOINT_DOORMAN
    doorman.tcp = tcp
    doorman.udp = udp
    doorman.limit = limit
    flow_table_init(&doorman.flows, ip.context.secret)
    ip.doorman = doorman
    return doorman


cdef void doorman_close(IpLayer* ip) noexcept nogil:
    cdef Doorman* doorman = ip.doorman
    if doorman == NULL:
        return
    while doorman.first != NULL:
        doorman_forget(ip, doorman.first)
    flow_table_release(&doorman.flows)
    ip.doorman = NULL
    endpoint_free(&doorman.endpoint)


cdef bint doorman_wants(const IpLayer* ip, int protocol) noexcept nogil:
    """Whether somebody is to be asked about flows of a protocol."""
    if ip.doorman == NULL:
        return False
    return ip.doorman.tcp if protocol == PROTOCOL_TCP else ip.doorman.udp


cdef bint keep(IpLayer* ip, AskedFlow* flow, const IpView* view) noexcept nogil:
    """Keep a copy of a packet for its flow; False: it is too much."""
    cdef Packet* packet = view.packet
    cdef Packet* copy
    if flow.count == ASKED_PACKETS or packet.length > LONGEST_KEPT:
        return False
    copy = packet_new_snug(&ip.context.slab, packet.length)
    if copy == NULL:
        count(ip.context, OUT_OF_MEMORY)
        return False
    memcpy(copy.data, packet.data, packet.length)
    copy.length = packet.length
    copy.csum = packet.csum
    copy.csum_start = packet.csum_start
    copy.csum_offset = packet.csum_offset
    copy.gso = packet.gso
    copy.gso_size = packet.gso_size
    flow.views[flow.count] = view[0]
    flow.views[flow.count].packet = copy
    flow.views[flow.count].payload = copy.data + (view.payload - packet.data)
    flow.count += 1
    return True


cdef AskedFlow* new_flow(IpLayer* ip, const FlowKey* key) noexcept nogil:
    cdef Doorman* doorman = ip.doorman
    cdef AskedFlow* flow
    if doorman.count >= doorman.limit:
        count(ip.context, IP_DROP_FLOW_UNDECIDED)
        doorman_forget(ip, doorman.first)
    flow = <AskedFlow*>calloc(1, sizeof(AskedFlow))
    if flow == NULL:
        return NULL
    flow.key = key[0]
    if flow_insert(&doorman.flows, &flow.key) < 0:
        free(flow)
        return NULL
    doorman.numbers += 1
    flow.number = doorman.numbers
    flow.previous = doorman.last
    if doorman.last != NULL:
        doorman.last.next = flow
    else:
        doorman.first = flow
    doorman.last = flow
    if doorman.unseen == NULL:
        doorman.unseen = flow
    doorman.count += 1
    return flow


cdef void doorman_ask(IpLayer* ip, const IpView* view, const FlowKey* key) noexcept nogil:
    cdef Doorman* doorman = ip.doorman
    cdef AskedFlow* flow = <AskedFlow*>flow_find(&doorman.flows, key)
    if flow != NULL:
        # A repeated SYN says nothing new.
        if view.protocol == PROTOCOL_TCP or not keep(ip, flow, view):
            packet_drop(ip.context, view.packet, IP_DROP_FLOW_UNDECIDED)
        else:
            packet_free(&ip.context.slab, view.packet)
        return
    flow = new_flow(ip, key)
    if flow == NULL or not keep(ip, flow, view):
        if flow != NULL:
            doorman_forget(ip, flow)
        packet_drop(ip.context, view.packet, IP_DROP_FLOW_UNDECIDED)
        return
    packet_free(&ip.context.slab, view.packet)
    count(ip.context, IP_FLOWS_ASKED)
    endpoint_ready(ip.context, &doorman.endpoint, READY_READ)


cdef AskedFlow* doorman_see(IpLayer* ip) noexcept nogil:
    cdef AskedFlow* flow = ip.doorman.unseen
    if flow != NULL:
        ip.doorman.unseen = flow.next
    return flow


cdef AskedFlow* doorman_find(IpLayer* ip, const FlowKey* key, uint64_t number) noexcept nogil:
    cdef AskedFlow* flow
    if ip.doorman == NULL:
        return NULL
    flow = <AskedFlow*>flow_find(&ip.doorman.flows, key)
    return flow if flow != NULL and flow.number == number else NULL


cdef void doorman_forget(IpLayer* ip, AskedFlow* flow) noexcept nogil:
    cdef Doorman* doorman = ip.doorman
    cdef uint32_t i
    flow_remove(&doorman.flows, &flow.key)
    if doorman.unseen == flow:
        doorman.unseen = flow.next
    if flow.previous != NULL:
        flow.previous.next = flow.next
    else:
        doorman.first = flow.next
    if flow.next != NULL:
        flow.next.previous = flow.previous
    else:
        doorman.last = flow.previous
    for i in range(flow.count):
        if flow.views[i].packet != NULL:
            packet_free(&ip.context.slab, flow.views[i].packet)
    doorman.count -= 1
    free(flow)
