# Context: what every layer of one stack shares: the time of this entry, memory, queues, counters.
# Called by: ip, udp, tcp, stack. Only the stack sets `now`, the limits of the device and the seed.
# RFCs: none.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from pystack.core.counters cimport Counter, COUNTER_COUNT
from pystack.core.endpoint cimport ENDPOINT_GONE, Endpoint, ReadyList
from pystack.core.memory.deadline cimport DeadlineQueue
from pystack.core.memory.packet cimport Packet, PacketQueue, PacketSlab, packet_free, packet_push
from pystack.core.memory.random cimport Random
from pystack.core.memory.ring cimport RingPool

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
    uint32_t other_shards       # on the queues of the same device
    uint64_t secret[2]          # for hash tables
    Random random
    PacketSlab slab
    RingPool rings
    PacketQueue tx              # to the device
    PacketQueue loop            # from one of our addresses to another
    PacketQueue strays          # to the next shard
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


cdef inline bint packet_hand_on(Context* context, Packet* packet) noexcept nogil:
    """Let the next shard take a packet that nothing here is for. False: no shard is left to ask.

    A flow's packets come to its shard's queue, but for fragments and ICMP errors, whose ports the
    device does not see. data: at the IP header.
    """
    if packet.handed_on >= context.other_shards:
        return False
    count(context, Counter.PACKETS_HANDED_ON)
    packet.handed_on += 1
    packet_push(&context.strays, packet)
    return True


cdef inline void endpoint_ready(Context* context, Endpoint* endpoint, int events) noexcept nogil:
    """Tell the driver (or the native service) that something happened; told once until it is taken.
    """
    cdef ReadyList* ready = &context.service_ready if endpoint.service else &context.ready
    endpoint.ready |= <uint8_t>events
    if endpoint.listed:
        return
    endpoint.listed = True
    endpoint.ready_next = NULL
    if ready.last != NULL:
        ready.last.ready_next = endpoint
    else:
        ready.first = endpoint
    ready.last = endpoint


cdef inline void endpoint_free(Endpoint* endpoint) noexcept nogil:
    """Free the memory that begins with an endpoint, of which nothing else is left.

    While it is on a ready list ready_pop will do that: the lists are drained at the end of each
    entry into the core, so the thousands that may end at once need not be searched for.
    """
    endpoint.owner = NULL
    endpoint.kind = ENDPOINT_GONE
    if not endpoint.listed:
        free(endpoint)


cdef inline Endpoint* ready_pop(ReadyList* ready) noexcept nogil:
    """The endpoint that became ready first, its events still in `ready`; NULL if there is none."""
    cdef Endpoint* endpoint = ready.first
    while endpoint != NULL:
        ready.first = endpoint.ready_next
        if ready.first == NULL:
            ready.last = NULL
        endpoint.listed = False
        if endpoint.kind != ENDPOINT_GONE:
            break
        free(endpoint)
        endpoint = ready.first
    return endpoint
