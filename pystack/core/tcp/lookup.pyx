# Who is meant: connections by 4-tuple, listeners by address and port; and which port is free.
# Called by: input, calls, errors.
# RFCs: 9293 section 3.10.7, 6056, 3493 section 3.7.

from libc.errno cimport EADDRINUSE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset
from pystack.core.context cimport packet_hand_on
from pystack.core.endpoint cimport MANNER_REUSE_PORT
from pystack.core.ip.layer cimport PROTOCOL_TCP, IpView
from pystack.core.ip.networks cimport ip_is_local
from pystack.core.memory.flow cimport (
    FlowKey, flow_find, flow_insert, flow_next, flow_remove, siphash,
)
from pystack.core.memory.random cimport random_below
from pystack.core.tcp.layer cimport STATE_LISTEN, STATE_TIME_WAIT, Tcb, TcpLayer
from pystack.core.wire.address cimport Addr, addr_any, addr_eq, addr_is_any, addr_is_v4
from pystack.core.wire.tcp cimport TCP_ACK, TcpSegment

cdef enum:
    PORT_TABLE = 4096       # TcpLayer.port_steps
    RANDOM_STEP = 8


cdef void key_init(FlowKey* key, const Addr* local, uint16_t local_port) noexcept nogil:
    memset(key, 0, sizeof(FlowKey))
    key.local = local[0]
    key.local_port = local_port
    key.protocol = PROTOCOL_TCP


cdef void connection_key(
        FlowKey* key, const Addr* local, uint16_t local_port, const Addr* remote,
        uint16_t remote_port) noexcept nogil:
    key_init(key, local, local_port)
    key.remote = remote[0]
    key.remote_port = remote_port


cdef Tcb* connection_find(
        TcpLayer* tcp, const Addr* local, uint16_t local_port, const Addr* remote,
        uint16_t remote_port) noexcept nogil:
    """What arrives together is often of one connection, and then needs no hash."""
    cdef FlowKey key
    connection_key(&key, local, local_port, remote, remote_port)
    if tcp.recent == NULL or memcmp(&tcp.recent.endpoint.key, &key, sizeof(key)) != 0:
        tcp.recent = <Tcb*>flow_find(&tcp.connections, &key)
    return tcp.recent


cdef bint connection_elsewhere(
        TcpLayer* tcp, const IpView* view, const TcpSegment* seg) noexcept nogil:
    """What opens a connection opens it here."""
    return seg.flags & TCP_ACK and packet_hand_on(tcp.context, view.packet)


cdef int bound_insert(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Who shares address and port (SO_REUSEPORT) comes behind who is in the table.

    A TCB that is bound is on no list, so that `next` is free for this.
    """
    cdef Tcb* first = <Tcb*>flow_find(&tcp.bound, &tcb.endpoint.key)
    if first == NULL:
        return flow_insert(&tcp.bound, &tcb.endpoint.key)
    tcb.next = first.next
    first.next = tcb
    return 0


cdef void bound_remove(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef Tcb* at = <Tcb*>flow_find(&tcp.bound, &tcb.endpoint.key)
    if at == tcb:
        flow_remove(&tcp.bound, &tcb.endpoint.key)
        if tcb.next != NULL:
            flow_insert(&tcp.bound, &tcb.next.endpoint.key)     # there is room: one has just left
    else:
        while at.next != tcb:
            at = at.next
        at.next = tcb.next
    tcb.next = NULL


cdef Tcb* listening_at(const TcpLayer* tcp, const Addr* local, uint16_t port) noexcept nogil:
    cdef FlowKey key
    cdef Tcb* tcb
    key_init(&key, local, port)
    tcb = <Tcb*>flow_find(&tcp.bound, &key)
    while tcb != NULL and tcb.state != STATE_LISTEN:
        tcb = tcb.next
    return tcb


cdef Tcb* listener_find(const TcpLayer* tcp, const Addr* local, uint16_t port) noexcept nogil:
    cdef bint v4 = addr_is_v4(local)
    cdef Addr wildcard
    cdef Tcb* tcb = listening_at(tcp, local, port)
    if tcb == NULL and v4:
        wildcard = addr_any(False)
        tcb = listening_at(tcp, &wildcard, port)
    if tcb == NULL:
        wildcard = addr_any(True)
        tcb = listening_at(tcp, &wildcard, port)
        if tcb != NULL and v4 and tcb.endpoint.v6only:
            return NULL
    return tcb


cdef inline bint is_sharing(const Tcb* tcb) noexcept nogil:
    return tcb.state == STATE_LISTEN and tcb.endpoint.manners & MANNER_REUSE_PORT != 0


cdef Tcb* listener_share(
        const TcpLayer* tcp, Tcb* listener, const Addr* local, const Addr* remote,
        uint16_t remote_port) noexcept nogil:
    """Of the listeners that share its address and port (SO_REUSEPORT) the one whose flow it is."""
    cdef FlowKey flow
    cdef Tcb* tcb = listener
    cdef uint64_t number = 0
    cdef uint64_t chosen
    if tcb.next == NULL or not is_sharing(tcb):
        return listener
    while tcb != NULL:
        number += is_sharing(tcb)
        tcb = tcb.next
    key_init(&flow, local, listener.endpoint.key.local_port)
    flow.remote = remote[0]
    flow.remote_port = remote_port
    chosen = siphash(tcp.port_secret, <const uint8_t*>&flow, sizeof(FlowKey)) >> 32
    chosen = chosen * number >> 32
    tcb = listener
    while chosen or not is_sharing(tcb):
        chosen -= is_sharing(tcb)
        tcb = tcb.next
    return tcb


cdef bint addresses_conflict(const Tcb* other, const Tcb* tcb, const Addr* address) noexcept nogil:
    """Would both be asked for the same packets with equal right? (ip(7), ipv6(7))"""
    cdef const Addr* taken = &other.endpoint.key.local
    if other.endpoint.manners & tcb.endpoint.manners & MANNER_REUSE_PORT:
        return False
    if addr_eq(taken, address):
        return True
    if not addr_is_any(taken) and not addr_is_any(address):
        return False
    if addr_is_v4(taken) != addr_is_v4(address):
        # Only an IPv6 wildcard without V6ONLY reaches into the other family.
        if not addr_is_any(address if addr_is_v4(taken) else taken):
            return False
        if (tcb if addr_is_v4(taken) else other).endpoint.v6only:
            return False
    return not (other.settings.reuse_address and tcb.settings.reuse_address)


cdef bint group_conflicts(Tcb* other, const Tcb* tcb, const Addr* address) noexcept nogil:
    """With any of those that are bound to the same address and port."""
    while other != NULL:
        if other != tcb and addresses_conflict(other, tcb, address):
            return True
        other = other.next
    return False


cdef int bind_conflict(
        const TcpLayer* tcp, const Tcb* tcb, const Addr* address, uint16_t port) noexcept nogil:
    """0 or -EADDRINUSE. With SO_REUSEADDR on both, one address may be taken out of a wildcard."""
    cdef uint32_t cursor = 0
    cdef Tcb* other = <Tcb*>flow_next(&tcp.bound, &cursor)
    while other != NULL:
        if other.endpoint.key.local_port == port and group_conflicts(other, tcb, address):
            return -EADDRINUSE
        other = <Tcb*>flow_next(&tcp.bound, &cursor)
    return 0


# The ports that a socket may be given: as many of each half as there are, `step` apart.
ctypedef struct PortRange:
    uint32_t first
    uint32_t count
    uint32_t step


cdef PortRange port_range(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """The stack's; IP_LOCAL_PORT_RANGE moves those ends that lie inside it, and has no halves."""
    cdef PortRange ports
    cdef uint32_t last = tcp.config.first_port + tcp.config.port_count - 1
    cdef uint32_t low = tcb.config.port_low
    cdef uint32_t high = tcb.config.port_high
    ports.first = tcp.config.first_port
    ports.step = 1 if low or high else 2
    if ports.first <= low <= last:
        ports.first = low
    if tcp.config.first_port <= high <= last:
        last = high
    ports.count = last + 1 - ports.first if last >= ports.first else 0
    return ports


cdef inline uint32_t ports_of(const PortRange* ports, uint32_t parity) noexcept nogil:
    """How many ports of the range have this distance from its first, modulo `step`."""
    return (ports.count + ports.step - 1 - parity) // ports.step


cdef uint16_t port_for_bind(TcpLayer* tcp, const Tcb* tcb, const Addr* address) noexcept nogil:
    """A random free port (RFC 6056 section 3.3.1); 0 if there is none.

    As Linux, the odd half of the range comes first: the even one is for connect().
    """
    cdef PortRange ports = port_range(tcp, tcb)
    cdef uint32_t start, number, i, half, parity
    cdef uint16_t port
    for half in range(ports.step):
        parity = ports.step - 1 - half
        number = ports_of(&ports, parity)
        start = random_below(&tcp.context.random, number) if number else 0
        for i in range(number):
            port = <uint16_t>(ports.first + ports.step * ((start + i) % number) + parity)
            if bind_conflict(tcp, tcb, address, port) == 0:
                return port
    return 0


cdef bint time_wait_is_reusable(const TcpLayer* tcp, const Tcb* old) noexcept nogil:
    """May connect() replace a connection of the same 4-tuple? As Linux (tcp_tw_reuse) if timestamps
    tell the two apart (RFC 6191 section 2), and not before the clock of timestamps has surely
    moved on; by default only between addresses of our own.
    """
    cdef int64_t began
    if old.state != STATE_TIME_WAIT or not old.timestamps_ok or not tcp.config.timestamps:
        return False
    if tcp.config.time_wait_reuse == 0 or (
            tcp.config.time_wait_reuse == 2 and not ip_is_local(
                tcp.ip, &old.endpoint.key.remote)):
        return False
    began = old.other_at - tcp.config.time_wait
    return tcp.context.now - began > tcp.config.time_wait_reuse_delay


cdef bint port_is_usable(TcpLayer* tcp, const FlowKey* key) noexcept nogil:
    cdef const Tcb* old = <const Tcb*>flow_find(&tcp.connections, key)
    if old != NULL:
        return time_wait_is_reusable(tcp, old)
    return listener_find(tcp, &key.local, key.local_port) == NULL


cdef uint16_t port_for_connect(TcpLayer* tcp, const Tcb* tcb, FlowKey* key) noexcept nogil:
    """Double-hash selection (RFC 6056 section 3.3.4); 0 if none is free.

    The hash of the addresses and the peer's port gives the offset and, in a table that many of them
    share, how far it has moved on. As Linux, even ports first, and at least a random step further
    for the next connection.
    """
    cdef uint64_t hashed
    cdef uint16_t* moved
    cdef uint32_t i, number, parity
    cdef PortRange ports = port_range(tcp, tcb)
    key.local_port = 0
    hashed = siphash(tcp.port_secret, <const uint8_t*>key, sizeof(FlowKey))
    moved = &tcp.port_steps[hashed & (PORT_TABLE - 1)]
    for parity in range(ports.step):
        number = ports_of(&ports, parity)
        for i in range(number):
            key.local_port = <uint16_t>(ports.first + parity + ports.step * (
                ((hashed >> 32) + moved[0] + i) % number))
            if port_is_usable(tcp, key):
                moved[0] += <uint16_t>(max(i, random_below(&tcp.context.random, RANDOM_STEP)) + 1)
                return key.local_port
    return 0
