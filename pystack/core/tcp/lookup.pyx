# Who is meant: connections by 4-tuple, listeners by address and port; and which port is free.
# Called by: input, calls, errors.
# RFCs: 9293 section 3.10.7, 6056, 3493 section 3.7.

from libc.errno cimport EADDRINUSE
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset
from pystack.core.ip.layer cimport PROTOCOL_TCP
from pystack.core.memory.flow cimport FlowKey, flow_find, flow_next, siphash
from pystack.core.memory.random cimport random_below
from pystack.core.tcp.layer cimport STATE_LISTEN, Tcb, TcpLayer
from pystack.core.wire.address cimport Addr, addr_any, addr_eq, addr_is_any, addr_is_v4


cdef void key_init(FlowKey* key, const Addr* local, uint16_t local_port) noexcept nogil:
    memset(key, 0, sizeof(FlowKey))
    key.local = local[0]
    key.local_port = local_port
    key.protocol = PROTOCOL_TCP


cdef Tcb* connection_find(
        const TcpLayer* tcp, const Addr* local, uint16_t local_port, const Addr* remote,
        uint16_t remote_port) noexcept nogil:
    cdef FlowKey key
    key_init(&key, local, local_port)
    key.remote = remote[0]
    key.remote_port = remote_port
    return <Tcb*>flow_find(&tcp.connections, &key)


cdef Tcb* listening_at(const TcpLayer* tcp, const Addr* local, uint16_t port) noexcept nogil:
    cdef FlowKey key
    cdef Tcb* tcb
    key_init(&key, local, port)
    tcb = <Tcb*>flow_find(&tcp.bound, &key)
    return tcb if tcb != NULL and tcb.state == STATE_LISTEN else NULL


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


cdef bint addresses_conflict(const Tcb* other, const Tcb* tcb, const Addr* address) noexcept nogil:
    """Would both be asked for the same packets with equal right? (ip(7), ipv6(7))"""
    cdef const Addr* taken = &other.endpoint.key.local
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


cdef int bind_conflict(
        const TcpLayer* tcp, const Tcb* tcb, const Addr* address, uint16_t port) noexcept nogil:
    """0 or -EADDRINUSE. With SO_REUSEADDR on both, one address may be taken out of a wildcard."""
    cdef uint32_t cursor = 0
    cdef Tcb* other = <Tcb*>flow_next(&tcp.bound, &cursor)
    while other != NULL:
        if (other.endpoint.key.local_port == port and other != tcb
                and addresses_conflict(other, tcb, address)):
            return -EADDRINUSE
        other = <Tcb*>flow_next(&tcp.bound, &cursor)
    return 0


cdef uint16_t port_for_bind(TcpLayer* tcp, const Tcb* tcb, const Addr* address) noexcept nogil:
    """A random free port (RFC 6056 section 3.3.1); 0 if there is none."""
    cdef uint32_t start = random_below(&tcp.context.random, tcp.config.port_count)
    cdef uint32_t i
    cdef uint16_t port
    for i in range(tcp.config.port_count):
        port = <uint16_t>(tcp.config.first_port + (start + i) % tcp.config.port_count)
        if bind_conflict(tcp, tcb, address, port) == 0:
            return port
    return 0


cdef uint16_t port_for_connect(TcpLayer* tcp, FlowKey* key) noexcept nogil:
    """Simple hash-based selection: offset by destination, then upwards (RFC 6056 section 3.3.3); 0
    if none is free.
    """
    cdef uint32_t offset, _attempt
    key.local_port = 0
    offset = <uint32_t>siphash(tcp.port_secret, <const uint8_t*>key, sizeof(FlowKey))
    for _attempt in range(tcp.config.port_count):
        key.local_port = <uint16_t>(
            tcp.config.first_port + (offset + tcp.port_counter) % tcp.config.port_count)
        tcp.port_counter += 1
        if (flow_find(&tcp.connections, key) == NULL
                and listener_find(tcp, &key.local, key.local_port) == NULL):
            return key.local_port
    return 0
