# The core's contract: packets in, time forward, packets out, who became ready. One Core is one
# stack.
# Called by: the drivers in engine/, one caller at a time (they hold the lock). Never calls anything
# above it.
# RFCs: none of its own.

from libc.errno cimport EINVAL, ENOMEM
from libc.stdint cimport int64_t, uint16_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from pystack.core.context cimport (
    DEADLINE_CONNECTION, DEADLINE_MEMBERSHIP, DEADLINE_REST, count, count_many, packet_hand_on,
    ready_pop,
)
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport SERVICE_CHARGEN, Endpoint
from pystack.core.ip.fragments cimport ip_fragments_expire
from pystack.core.ip.input cimport ip_input
from pystack.core.ip.layer cimport (
    ICMP_ERROR_TOO_BIG, IP_ECHO_REPLY, IP_TCP, IP_TRANSPORT_ERROR, IP_UDP, PROTOCOL_TCP,
    PROTOCOL_UDP, IcmpError, IpVerdict, IpView,
)
from pystack.core.ip.membership_query cimport ip_membership_expire
from pystack.core.ip.setup cimport ip_init, ip_release
from pystack.core.memory.deadline cimport (
    DeadlineNode, deadline_first, deadline_pop, deadline_queue_release,
)
from pystack.core.memory.packet cimport (
    GSO_NONE, PACKET_MAX, Packet, PacketQueue, packet_free, packet_linearize, packet_pop,
    packet_push, packet_queue_release, packet_slab_release, packet_total,
)
from pystack.core.memory.random cimport random_init, random_next
from pystack.core.memory.ring cimport ring_pool_release
from pystack.core.service cimport service_run
from pystack.core.tcp.busy cimport tcp_rest
from pystack.core.tcp.calls cimport tcp_abort, tcp_bind, tcp_listen, tcp_open
from pystack.core.tcp.errors cimport tcp_error
from pystack.core.tcp.input cimport tcp_input
from pystack.core.tcp.layer cimport Tcb
from pystack.core.tcp.output cimport tcp_output
from pystack.core.tcp.setup cimport tcp_abort_all, tcp_default_config, tcp_init, tcp_release
from pystack.core.tcp.shared_settings cimport settings_edit, settings_of
from pystack.core.tcp.tcb cimport tcb_output_pop, tcp_reap
from pystack.core.tcp.timers cimport tcp_timer
from pystack.core.udp.datagram cimport datagram_bind, datagram_close, datagram_open
from pystack.core.udp.errors cimport udp_error
from pystack.core.udp.input cimport echo_input, udp_input
from pystack.core.udp.layer cimport Datagram
from pystack.core.udp.setup cimport udp_init, udp_release
from pystack.core.wire.address cimport Addr, addr_any

cdef enum:
    DEFAULT_MTU = 1500
    # Packets between our own addresses that one entry delivers; the rest waits for the next, as on
    # a real wire.
    MAX_LOOPED = 256
    SERVICE_BACKLOG = 4096
    SERVICE_QUEUE = 8 << 20     # bytes: what a batch may bring; it is answered before the next


cdef void core_default_config(CoreConfig* config) noexcept nogil:
    memset(config, 0, sizeof(CoreConfig))
    config.mtu = DEFAULT_MTU
    config.max_train = PACKET_MAX
    tcp_default_config(&config.tcp)


cdef Core* core_new(const CoreConfig* config, int64_t now) noexcept nogil:
    """A stack without networks; NULL when out of memory."""
    cdef Core* core = <Core*>calloc(1, sizeof(Core))
    if core == NULL:
        return NULL
    core.context.now = now
    core.context.mtu = config.mtu
    core.context.max_train = config.max_train
    core.context.other_shards = config.other_shards
    random_init(&core.context.random, config.seed)
    core.context.secret[0] = random_next(&core.context.random)
    core.context.secret[1] = random_next(&core.context.random)
    if ip_init(&core.ip, &core.context) < 0:
        free(core)
        return NULL
    udp_init(&core.udp, &core.ip)
    tcp_init(&core.tcp, &core.ip, &config.tcp)
    return core


cdef void release_lists(Core* core) noexcept nogil:
    """Free what has ended already, but for its place in a list."""
    while tcb_output_pop(&core.tcp) != NULL:
        pass
    while ready_pop(&core.context.ready) != NULL:
        pass
    while ready_pop(&core.context.service_ready) != NULL:
        pass


cdef void core_free(Core* core) noexcept nogil:
    tcp_release(&core.tcp)
    udp_release(&core.udp)
    ip_release(&core.ip)
    release_lists(core)
    packet_queue_release(&core.context.slab, &core.context.tx)
    packet_queue_release(&core.context.slab, &core.context.loop)
    packet_queue_release(&core.context.slab, &core.context.strays)
    deadline_queue_release(&core.context.deadlines)
    packet_slab_release(&core.context.slab)
    ring_pool_release(&core.context.rings)
    free(core)


cdef void core_enter(Core* core, int64_t now) noexcept nogil:
    """Time never goes back, whatever a caller's clock does."""
    core.context.now = max(core.context.now, now)


cdef void deliver_error(Core* core, Packet* packet, const IcmpError* error) noexcept nogil:
    cdef bint is_tcp = error.protocol == PROTOCOL_TCP
    cdef bint ours = tcp_error(&core.tcp, error) if is_tcp else udp_error(&core.udp, error)
    # A service's datagrams to one host leave from several shards: all have to know the path MTU.
    cdef bint concerns_others = not ours or (not is_tcp and error.kind == ICMP_ERROR_TOO_BIG)
    if concerns_others and packet_hand_on(&core.context, packet):
        return
    if not ours:
        count(&core.context, Counter.ICMP_DROP_ERROR_NOT_OURS)
    packet_free(&core.context.slab, packet)


cdef void deliver(Core* core, Packet* packet) noexcept nogil:
    cdef IpView view
    cdef IcmpError error
    cdef IpVerdict verdict = ip_input(&core.ip, packet, &view, &error)
    if verdict == IP_TCP:
        tcp_input(&core.tcp, &view)
    elif verdict == IP_UDP:
        udp_input(&core.udp, &view)
    elif verdict == IP_ECHO_REPLY:
        echo_input(&core.udp, &view)
    elif verdict == IP_TRANSPORT_ERROR:
        deliver_error(core, view.packet, &error)


cdef void core_input(Core* core, Packet* packet, int64_t now) noexcept nogil:
    core_enter(core, now)
    if not packet.handed_on:
        count(&core.context, Counter.PACKETS_IN)
        count_many(&core.context, Counter.BYTES_IN, packet.length)
        if packet.gso != GSO_NONE:
            count(&core.context, Counter.TRAINS_IN)
    deliver(core, packet)


cdef void fire(Core* core, DeadlineNode* node) noexcept nogil:
    if node.kind == DEADLINE_CONNECTION:
        tcp_timer(&core.tcp, <Tcb*>node.owner)
    elif node.kind == DEADLINE_REST:
        tcp_rest(&core.tcp)
    elif node.kind == DEADLINE_MEMBERSHIP:
        ip_membership_expire(&core.ip)
    else:
        ip_fragments_expire(&core.ip)


cdef void core_advance(Core* core, int64_t now) noexcept nogil:
    cdef DeadlineNode* node
    core_enter(core, now)
    node = deadline_pop(&core.context.deadlines, core.context.now)
    while node != NULL:
        fire(core, node)
        node = deadline_pop(&core.context.deadlines, core.context.now)
    tcp_reap(&core.tcp)


cdef int64_t core_deadline(const Core* core) noexcept nogil:
    """What waits to be finished makes the deadline now; otherwise it is the first timer."""
    if (core.context.loop.first != NULL or core.tcp.output_first != NULL
            or core.context.service_ready.first != NULL):
        return core.context.now
    return deadline_first(&core.context.deadlines)


cdef void own_bytes(Core* core) noexcept nogil:
    """Give the packets that are to be sent what they have borrowed: the rings may move."""
    cdef PacketQueue waiting = core.context.tx
    cdef Packet* packet = packet_pop(&waiting)
    core.context.tx.first = core.context.tx.last = NULL
    core.context.tx.count = 0
    while packet != NULL:
        packet = packet_linearize(&core.context.slab, packet)
        if packet == NULL:
            count(&core.context, Counter.OUT_OF_MEMORY)
        else:
            packet_push(&core.context.tx, packet)
        packet = packet_pop(&waiting)


cdef bint settle_once(Core* core) noexcept nogil:
    """One round of services and output; False when there was nothing to do."""
    cdef Endpoint* endpoint = ready_pop(&core.context.service_ready)
    cdef Tcb* tcb
    cdef bint busy = endpoint != NULL or core.tcp.output_first != NULL
    # Rare: sending has made room for a service, whose ring now may grow.
    if endpoint != NULL and core.context.tx.first != NULL:
        own_bytes(core)
    while endpoint != NULL:
        endpoint.ready = 0
        service_run(&core.tcp, &core.udp, endpoint)
        endpoint = ready_pop(&core.context.service_ready)
    tcp_reap(&core.tcp)
    while core.tcp.output_first != NULL:
        tcb = tcb_output_pop(&core.tcp)
        if tcb != NULL:
            tcp_output(&core.tcp, tcb)
    return busy


cdef void core_take_tx(Core* core, PacketQueue* out) noexcept nogil:
    """Finish what is in motion, then hand over all packets for the device."""
    cdef Packet* packet
    cdef int looped = 0
    while settle_once(core) or (core.context.loop.first != NULL and looped < MAX_LOOPED):
        packet = packet_pop(&core.context.loop) if looped < MAX_LOOPED else NULL
        if packet != NULL:
            looped += 1
            deliver(core, packet)
    tcp_reap(&core.tcp)
    packet = packet_pop(&core.context.tx)
    while packet != NULL:
        count(&core.context, Counter.PACKETS_OUT)
        count_many(&core.context, Counter.BYTES_OUT, packet_total(packet))
        if packet.gso != GSO_NONE:
            count(&core.context, Counter.TRAINS_OUT)
        packet_push(out, packet)
        packet = packet_pop(&core.context.tx)


cdef void core_take_strays(Core* core, PacketQueue* out) noexcept nogil:
    out[0] = core.context.strays
    core.context.strays.first = core.context.strays.last = NULL
    core.context.strays.count = 0


cdef Endpoint* core_take_ready(Core* core, int* events) noexcept nogil:
    cdef Endpoint* endpoint = ready_pop(&core.context.ready)
    while endpoint != NULL:
        events[0] = endpoint.ready
        endpoint.ready = 0
        if endpoint.owner != NULL:
            return endpoint
        endpoint = ready_pop(&core.context.ready)
    return NULL


cdef int serve_tcp(Core* core, int service, int port, bint v6) noexcept nogil:
    cdef Tcb* tcb = tcp_open(&core.tcp, v6)
    cdef Addr any = addr_any(v6)
    cdef int result
    if tcb == NULL:
        return -ENOMEM
    tcb.endpoint.v6only = True
    if settings_edit(&core.tcp, tcb) != NULL:
        settings_of(tcb).reuse_address = True
    tcb.endpoint.service = <unsigned char>service
    result = tcp_bind(&core.tcp, tcb, &any, <uint16_t>port)
    if result == 0:
        result = tcp_listen(&core.tcp, tcb, SERVICE_BACKLOG)
    if result < 0:
        tcp_abort(&core.tcp, tcb)
    return result


cdef int serve_udp(Core* core, int service, int port, bint v6) noexcept nogil:
    cdef Datagram* socket = datagram_open(&core.udp, PROTOCOL_UDP, v6)
    cdef Addr any = addr_any(v6)
    cdef int result
    if socket == NULL:
        return -ENOMEM
    socket.endpoint.v6only = True
    socket.reuse_address = True
    socket.queue_limit = SERVICE_QUEUE
    socket.endpoint.service = <unsigned char>service
    socket.gro = service != SERVICE_CHARGEN     # which answers each datagram with another one
    result = datagram_bind(&core.udp, socket, &any, <uint16_t>port)
    if result < 0:
        datagram_close(&core.udp, socket)
    return result


cdef int core_serve(Core* core, int service, int protocol, int port) noexcept nogil:
    """Both families, every address. 0, -EINVAL, -EADDRINUSE or -ENOMEM."""
    cdef int v6
    cdef int result = -EINVAL
    if not 0 < port < 65536:
        return -EINVAL
    for v6 in range(2):
        if protocol == PROTOCOL_TCP:
            result = serve_tcp(core, service, port, v6)
        elif protocol == PROTOCOL_UDP:
            result = serve_udp(core, service, port, v6)
        if result < 0:
            return result
    return 0


cdef void core_abort_all(Core* core) noexcept nogil:
    tcp_abort_all(&core.tcp)
