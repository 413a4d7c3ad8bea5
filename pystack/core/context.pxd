# Context: what every layer of one stack shares: the time of this entry, memory, queues, counters.
# Called by: ip, udp, tcp, stack. Only the stack sets `now`, the limits of the device and the seed.
# RFCs: none.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from pystack.core.counters cimport Counter, COUNTER_COUNT
from pystack.core.endpoint cimport Endpoint, ReadyList
from pystack.core.memory.deadline cimport DeadlineQueue
from pystack.core.memory.packet cimport Packet, PacketQueue, PacketSlab, packet_free
from pystack.core.memory.random cimport Random

cdef enum DeviceFeature:
    FEATURE_CSUM = 0x01         # completes CSUM_PARTIAL itself
    FEATURE_TSO4 = 0x02         # takes trains of TCP segments
    FEATURE_TSO6 = 0x04
    FEATURE_USO4 = 0x08         # takes trains of UDP datagrams
    FEATURE_USO6 = 0x10

cdef enum DeadlineKind:
    DEADLINE_CONNECTION = 1     # owner: Tcb
    DEADLINE_FRAGMENTS = 2      # owner: the IpLayer (oldest reassembly)
    DEADLINE_MEMBERSHIP = 3     # owner: the IpLayer (reports to multicast routers)
    DEADLINE_REST = 4           # owner: the TcpLayer (connections that come to rest)

ctypedef struct Context:
    int64_t now                 # ns, monotonic; set at each entry, constant until the next
    uint32_t mtu                # of the device
    # largest packet handed to the device, whatever its features (<= PACKET_MAX)
    uint32_t max_train
    uint64_t secret[2]          # for hash tables
    Random random
    PacketSlab slab
    PacketQueue tx              # to the device
    PacketQueue loop            # from one of our addresses to another
    DeadlineQueue deadlines
    ReadyList ready             # for the driver
    ReadyList service_ready     # for the services inside the core
    uint64_t counters[<int>COUNTER_COUNT]


cdef inline void count(Context* context, Counter counter) noexcept nogil:
    context.counters[<int>counter] += 1


cdef inline void count_many(Context* context, Counter counter, uint64_t number) noexcept nogil:
    context.counters[<int>counter] += number


cdef inline void packet_drop(Context* context, Packet* packet, Counter reason) noexcept nogil:
    """Free a packet and count why."""
    context.counters[<int>reason] += 1
    packet_free(&context.slab, packet)


cdef inline void endpoint_ready(Context* context, Endpoint* endpoint, int events) noexcept nogil:
    """Tell the driver (or the native service) that something happened; told once until it is taken.
    """
    cdef ReadyList* ready = &context.service_ready if endpoint.service else &context.ready
    endpoint.ready |= <uint8_t>events
    if endpoint.on_ready_list:
        return
    endpoint.on_ready_list = True
    endpoint.ready_next = NULL
    if ready.last != NULL:
        ready.last.ready_next = endpoint
    else:
        ready.first = endpoint
    ready.last = endpoint


cdef inline Endpoint* ready_pop(ReadyList* ready) noexcept nogil:
    """The endpoint that became ready first, its events still in `ready`; NULL if there is none."""
    cdef Endpoint* endpoint = ready.first
    if endpoint != NULL:
        ready.first = endpoint.ready_next
        if ready.first == NULL:
            ready.last = NULL
        endpoint.on_ready_list = False
    return endpoint


cdef inline void endpoint_unready(Context* context, Endpoint* endpoint) noexcept nogil:
    """Take an endpoint that is about to be freed off the ready list."""
    cdef ReadyList* ready = &context.service_ready if endpoint.service else &context.ready
    cdef Endpoint* previous = NULL
    cdef Endpoint* at = ready.first
    if not endpoint.on_ready_list:
        return
    while at != endpoint:
        previous = at
        at = at.ready_next
    if previous == NULL:
        ready.first = endpoint.ready_next
    else:
        previous.ready_next = endpoint.ready_next
    if ready.last == endpoint:
        ready.last = previous
    endpoint.on_ready_list = False
