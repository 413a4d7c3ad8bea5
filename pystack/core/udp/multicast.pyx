# Sockets and multicast groups: joining and leaving, what goes to one, who hears what comes.
# Called by: udp/datagram, udp/input; engine (options).
# RFCs: 1112, 3376 section 2, 3678, 3810 section 3; ip(7), ipv6(7).

from libc.errno cimport EADDRINUSE, EADDRNOTAVAIL, EINVAL, ENOBUFS
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memset
from pystack.core.endpoint cimport SERVICE_NONE
from pystack.core.ip.layer cimport MULTICAST_LOOP, MULTICAST_STAY, IpSend, IpView
from pystack.core.ip.membership cimport (
    ip_multicast_accepts,
    membership_accepts,
    membership_changed,
    membership_find,
    membership_join,
    membership_leave,
)
from pystack.core.ip.membership_table cimport (
    FILTER_EXCLUDE,
    FILTER_INCLUDE,
    MEMBERSHIPS_MAX,
    SOURCES4_MAX,
    SOURCES6_MAX,
    FilterMode,
    Membership,
    SourceList,
)
from pystack.core.ip.source_list cimport (
    source_list_add,
    source_list_clear,
    source_list_find,
    source_list_remove,
)
from pystack.core.udp.layer cimport Datagram, MulticastOptions, UdpLayer
from pystack.core.wire.address cimport (
    Addr,
    addr_any,
    addr_eq,
    addr_is_any,
    addr_is_multicast,
    addr_is_v4,
)

cdef enum:
    DEFAULT_TTL = 1             # RFC 1112 section 6.1


cdef void multicast_init(Datagram* socket) noexcept nogil:
    """The defaults of Linux."""
    cdef int v6
    for v6 in range(2):
        socket.multicast[v6].source = addr_any(v6)
        socket.multicast[v6].ttl = DEFAULT_TTL
        socket.multicast[v6].loop = True
        socket.multicast[v6].all = True


# Membership


cdef int join(
    UdpLayer* udp, Datagram* socket, const Addr* group, FilterMode mode
) noexcept nogil:
    if membership_find(socket.memberships, group) != NULL:
        return -EADDRINUSE
    if socket.membership_count >= MEMBERSHIPS_MAX:
        return -ENOBUFS
    if membership_join(udp.ip, &socket.memberships, group, mode) == NULL:
        return -ENOBUFS
    socket.membership_count += 1
    return 0


cdef int leave(UdpLayer* udp, Datagram* socket, Membership* membership) noexcept nogil:
    if membership == NULL:
        return -EADDRNOTAVAIL
    membership_leave(udp.ip, &socket.memberships, membership)
    socket.membership_count -= 1
    return 0


cdef void multicast_leave_all(UdpLayer* udp, Datagram* socket) noexcept nogil:
    while socket.memberships != NULL:
        leave(udp, socket, socket.memberships)


cdef int source_add(UdpLayer* udp, Membership* membership, const Addr* source) noexcept nogil:
    cdef uint32_t most = SOURCES4_MAX if addr_is_v4(source) else <int>SOURCES6_MAX
    cdef int code
    if source_list_find(&membership.sources, source) >= 0:
        return -EADDRNOTAVAIL
    if membership.sources.count >= most:
        return -ENOBUFS
    code = source_list_add(&membership.sources, source)
    if code < 0:
        return code
    code = membership_changed(udp.ip, membership)
    if code < 0:
        source_list_remove(&membership.sources, membership.sources.count - 1)
    return code


cdef int source_drop(
    UdpLayer* udp, Datagram* socket, Membership* membership, const Addr* source
) noexcept nogil:
    cdef int index = source_list_find(&membership.sources, source)
    if index < 0:
        return -EADDRNOTAVAIL
    # INCLUDE and nobody is to have left (RFC 3376 section 3.1).
    if membership.sources.count == 1 and membership.mode == FILTER_INCLUDE:
        return leave(udp, socket, membership)
    source_list_remove(&membership.sources, <uint32_t>index)
    return membership_changed(udp.ip, membership)


cdef int change_source(
    UdpLayer* udp, Datagram* socket, const Addr* group, const Addr* source, FilterMode mode,
    bint add
) noexcept nogil:
    """Linux's ip_mc_source: a filter with sources does not change its mode."""
    cdef Membership* membership = membership_find(socket.memberships, group)
    if membership == NULL:
        return -EINVAL
    if membership.mode != mode:
        if membership.sources.count:
            return -EINVAL
        membership.mode = mode
        # Without a source it is to be told at once only if it is to stay so.
        if not add:
            membership_changed(udp.ip, membership)
    if add:
        return source_add(udp, membership, source)
    return source_drop(udp, socket, membership, source)


cdef int multicast_call(
    UdpLayer* udp, Datagram* socket, int call, const Addr* group, const Addr* source
) noexcept nogil:
    """Join, leave, or change which sources are heard; 0, or the errno of Linux."""
    cdef int code
    if not addr_is_multicast(group):
        return -EINVAL
    if call == MEMBERSHIP_JOIN:
        return join(udp, socket, group, FILTER_EXCLUDE)
    if call == MEMBERSHIP_LEAVE:
        return leave(udp, socket, membership_find(socket.memberships, group))
    if addr_is_v4(source) != addr_is_v4(group):
        return -EINVAL
    if call == MEMBERSHIP_JOIN_SOURCE:
        code = join(udp, socket, group, FILTER_INCLUDE)
        if code < 0 and code != -EADDRINUSE:
            return code
        return change_source(udp, socket, group, source, FILTER_INCLUDE, True)
    if call == MEMBERSHIP_LEAVE_SOURCE:
        return change_source(udp, socket, group, source, FILTER_INCLUDE, False)
    if call == MEMBERSHIP_BLOCK:
        return change_source(udp, socket, group, source, FILTER_EXCLUDE, True)
    if call == MEMBERSHIP_UNBLOCK:
        return change_source(udp, socket, group, source, FILTER_EXCLUDE, False)
    return -EINVAL


cdef int multicast_filter(
    UdpLayer* udp, Datagram* socket, const Addr* group, bint only, const Addr* sources,
    uint32_t number
) noexcept nogil:
    """Linux's ip_mc_msfilter."""
    cdef uint32_t most = SOURCES4_MAX if addr_is_v4(group) else <int>SOURCES6_MAX
    cdef Membership* membership = membership_find(socket.memberships, group)
    cdef Membership before
    cdef int code
    cdef uint32_t i
    if not addr_is_multicast(group):
        return -EINVAL
    if only and number == 0:
        return leave(udp, socket, membership)
    if membership == NULL:
        return -EINVAL
    if number > most:
        return -ENOBUFS
    before = membership[0]
    memset(&membership.sources, 0, sizeof(SourceList))
    membership.mode = FILTER_INCLUDE if only else FILTER_EXCLUDE
    code = 0
    for i in range(number):
        if code == 0:
            code = source_list_add(&membership.sources, &sources[i])
    if code == 0:
        code = membership_changed(udp.ip, membership)
    if code == 0:
        source_list_clear(&before.sources)
        return 0
    source_list_clear(&membership.sources)
    membership.sources = before.sources
    membership.mode = before.mode
    return code


# Out and in


cdef void multicast_mark(UdpLayer* udp, const Datagram* socket, IpSend* send) noexcept nogil:
    """TTL, and where it goes: out, to members here, or both (RFC 1112 section 6.1)."""
    cdef bint v6 = not addr_is_v4(&send.destination)
    cdef const MulticastOptions* options = &socket.multicast[v6]
    send.marking.ttl = options.ttl
    send.multicast = 0 if options.ttl else MULTICAST_STAY
    if options.loop and ip_multicast_accepts(udp.ip, &send.destination, &send.source):
        send.multicast |= MULTICAST_LOOP


cdef bint hears_address(const Datagram* socket, const Addr* destination) noexcept nogil:
    """Bound to this address, or to every one of its family."""
    cdef const Addr* local = &socket.endpoint.key.local
    if not addr_is_any(local):
        return addr_eq(local, destination)
    if addr_is_v4(local) or not addr_is_v4(destination):
        return addr_is_v4(local) == addr_is_v4(destination)
    return not socket.endpoint.v6only


cdef bint multicast_is_for(
    const Datagram* socket, const IpView* view, uint16_t source_port
) noexcept nogil:
    """Linux's __udp_is_mcast_sock; the stack's own services, which answer, hear nothing of it."""
    cdef const Membership* membership
    if socket.endpoint.service != SERVICE_NONE:
        return False
    if socket.connected and not (
        addr_eq(&socket.endpoint.key.remote, &view.source)
        and socket.endpoint.key.remote_port == source_port
    ):
        return False
    if not hears_address(socket, &view.destination):
        return False
    if not addr_is_multicast(&view.destination):
        return True
    membership = membership_find(socket.memberships, &view.destination)
    if membership == NULL:
        return socket.multicast[view.v6].all
    return membership_accepts(membership, &view.source)
