# The user calls of RFC 9293 section 3.9.1: OPEN, CLOSE, ABORT, STATUS; in the manner of
# sockets. SEND and RECEIVE: transfer.
# Called by: stack's callers (engine), with the lock held and context.now set; native services.
# RFCs: 9293 section 3.9.1 and 3.10.1 to 3.10.6.

from libc.errno cimport (
    EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EALREADY, ECONNRESET, EINVAL, EISCONN, ENETUNREACH,
    ENOMEM, ENOTCONN, EOPNOTSUPP,
)
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc
from pystack.core.context cimport count, endpoint_ready
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport (
    MANNER_FREE_BIND, MANNER_TRANSPARENT, READY_END, READY_ERROR, READY_HANGUP, READY_READ,
    READY_URGENT, READY_WRITE,
)
from pystack.core.error_queue cimport error_queue_is_empty
from pystack.core.ip.networks cimport (
    ip_choose_source, ip_is_broadcast, ip_is_local, ip_leaves_loopback,
)
from pystack.core.memory.deadline cimport DEADLINE_NEVER
from pystack.core.memory.flow cimport FlowKey, flow_insert
from pystack.core.tcp.busy cimport tcb_rare, tcb_wake
from pystack.core.tcp.clock cimport initial_sequence, timestamp_offset
from pystack.core.tcp.fast_open cimport (
    fast_open_accepted, fast_open_possible, fast_open_syn, is_early,
)
from pystack.core.tcp.layer cimport (
    FAST_OPEN_DEFERRED, STATE_CLOSED, STATE_CLOSE_WAIT, STATE_ESTABLISHED, STATE_FIN_WAIT_1,
    STATE_FIN_WAIT_2, STATE_LAST_ACK, STATE_LISTEN, STATE_SYN_RECEIVED, STATE_SYN_SENT,
    STATE_TIME_WAIT, Backlog, Tcb, TcpLayer, TcpRare,
)
from pystack.core.tcp.listen cimport listen_close, open_window
from pystack.core.tcp.lookup cimport (
    bind_conflict, bound_insert, bound_remove, connection_find, port_for_bind, port_for_connect,
    time_wait_is_reusable,
)
from pystack.core.tcp.receive cimport text_is_ready
from pystack.core.tcp.receive_queue cimport received_release
from pystack.core.tcp.rtt cimport rtt_timeout
from pystack.core.tcp.segments cimport send_reset, send_syn
from pystack.core.tcp.send_buffer cimport send_buffer_has_room
from pystack.core.tcp.shared_settings cimport settings_edit, settings_of, settings_settle
from pystack.core.tcp.tcb cimport (
    tcb_bury, tcb_finish, tcb_list_push, tcb_list_remove, tcb_new, tcb_output_later, tcb_rearm,
    tcb_set_state,
)
from pystack.core.tcp.timers cimport fin_wait_2_timer
from pystack.core.tcp.window cimport window_scale_for
from pystack.core.wire.address cimport Addr, addr_any, addr_is_any, addr_is_multicast, addr_is_v4
from pystack.core.wire.tcp cimport seq_lt

cdef enum:
    REUSE_GAP = 65537       # as Linux: beyond any window of the old connection without scale
    SHUT_RD = 0
    SHUT_WR = 1
    SHUT_RDWR = 2
    # of TcpConfig.fastopen
    CLIENT = 0x1
    ALL_LISTENERS = 0x402       # a server, without TCP_FASTOPEN


cdef Tcb* tcp_open(TcpLayer* tcp, bint v6) noexcept nogil:
    """OPEN begins: a TCB in CLOSED that the caller holds; NULL when out of memory."""
    cdef Tcb* tcb = tcb_new(tcp, NULL)
    if tcb == NULL:
        return NULL
    tcb.held = True
    tcb.v6 = v6
    tcb.endpoint.key.local = addr_any(v6)
    return tcb


cdef bint family_fits(const Tcb* tcb, const Addr* address) noexcept nogil:
    """An IPv6 socket speaks IPv4 too, unless V6ONLY; an IPv4 socket nothing else (RFC 3493 section
    3.7).
    """
    return not tcb.endpoint.v6only if tcb.v6 and addr_is_v4(address) else (
        tcb.v6 or addr_is_v4(address))


cdef int tcp_bind(TcpLayer* tcp, Tcb* tcb, const Addr* address, uint16_t port) noexcept nogil:
    """Reserve a local address and port; port 0: any free one. 0 or a negative errno."""
    if tcb.bound or tcb.state != STATE_CLOSED:
        return -EINVAL
    if not family_fits(tcb, address):
        return -EAFNOSUPPORT if not tcb.v6 else -EINVAL
    if not addr_is_any(address) and not ip_is_local(tcp.ip, address) and not (
            tcb.endpoint.manners & (MANNER_FREE_BIND | MANNER_TRANSPARENT)):
        return -EADDRNOTAVAIL
    if port == 0 and tcb.settings.choose_port_late:
        # IP_BIND_ADDRESS_NO_PORT: connect knows the whole 4-tuple, and has more to choose from.
        tcb.endpoint.key.local = address[0]
        return 0
    if port == 0:
        port = port_for_bind(tcp, tcb, address)
    if port == 0 or bind_conflict(tcp, tcb, address, port) < 0:
        return -EADDRINUSE
    tcb.endpoint.key.local = address[0]
    tcb.endpoint.key.local_port = port
    if bound_insert(tcp, tcb) < 0:
        return -ENOMEM
    tcb.bound = True
    return 0


cdef Backlog* tcp_backlog(Tcb* tcb) noexcept nogil:
    """A listener's, or that of what may become one; NULL when out of memory."""
    cdef TcpRare* rare = tcb_rare(tcb)
    if rare == NULL:
        return NULL
    if rare.backlog == NULL:
        rare.backlog = <Backlog*>calloc(1, sizeof(Backlog))
    return rare.backlog


cdef int tcp_listen(TcpLayer* tcp, Tcb* tcb, int backlog) noexcept nogil:
    """Passive OPEN; a second call changes the backlog. 0 or a negative errno."""
    cdef Addr any
    cdef int result
    if tcb.state == STATE_CLOSED:
        if not tcb.bound:
            any = tcb.endpoint.key.local
            if settings_edit(tcp, tcb) == NULL:
                return -ENOMEM
            settings_of(tcb).choose_port_late = False
            settings_settle(tcp, tcb)
            result = tcp_bind(tcp, tcb, &any, 0)
            if result < 0:
                return result
        if tcp_backlog(tcb) == NULL:
            return -ENOMEM
        # As Linux: all listeners, without their asking for it.
        if tcp.config.fastopen & ALL_LISTENERS == ALL_LISTENERS and (
                not tcb.rare.backlog.fast_open.limit):
            tcb.rare.backlog.fast_open.limit = <uint32_t>max(
                0, min(backlog, <int>tcp.config.max_backlog))
        tcb.rcv_scale = window_scale_for(tcp, tcb)
        tcb_set_state(tcp, tcb, STATE_LISTEN)
    elif tcb.state != STATE_LISTEN:
        return -EINVAL
    tcb.rare.backlog.limit = <uint32_t>max(0, min(backlog, <int>tcb.config.max_backlog))
    return 0


cdef Tcb* tcp_accept(TcpLayer* tcp, Tcb* listener) noexcept nogil:
    """The connection that has been established longest, now held by the caller; NULL if there is
    none.
    """
    cdef Tcb* child
    if listener.state != STATE_LISTEN:
        return NULL
    child = listener.rare.backlog.accept.first
    if child == NULL:
        return NULL
    tcb_list_remove(child)
    tcb_wake(tcp, child)        # it was on a list: it is awake, and may rest now
    if is_early(child):
        fast_open_accepted(listener, child)
    else:
        child.busy.listener = NULL
    child.held = True
    child.v6 = listener.v6
    return child


cdef int complete_key(
        TcpLayer* tcp, Tcb* tcb, const Addr* remote, uint16_t port,
        uint32_t* least_iss) noexcept nogil:
    """Fill in the 4-tuple and enter the connection table; an old connection in TIME-WAIT makes room
    where that is allowed, and leaves sequence numbers to be avoided. 0 or a negative errno.
    """
    cdef FlowKey* key = &tcb.endpoint.key
    cdef Tcb* old
    cdef int result
    if addr_is_any(&key.local):
        result = ip_choose_source(tcp.ip, remote, &key.local)
        if result < 0:
            return result
    elif addr_is_v4(&key.local) != addr_is_v4(remote):
        return -ENETUNREACH
    elif addr_is_v4(remote) and not tcb.endpoint.manners & MANNER_TRANSPARENT and not (
            ip_is_local(tcp.ip, &key.local)):
        return -ENETUNREACH     # as Linux: IP_FREEBIND is no right to speak from there
    if ip_leaves_loopback(tcp.ip, &key.local, remote):
        return -EINVAL
    key.remote = remote[0]
    key.remote_port = port
    if key.local_port == 0 and port_for_connect(tcp, tcb, key) == 0:
        return -EADDRNOTAVAIL
    old = connection_find(tcp, &key.local, key.local_port, remote, port)
    if old != NULL:
        if not time_wait_is_reusable(tcp, old):
            return -EADDRNOTAVAIL
        least_iss[0] = old.snd_nxt + REUSE_GAP
        count(tcp.context, Counter.TCP_TIME_WAIT_REUSED)
        tcb_finish(tcp, old, 0)
    result = flow_insert(&tcp.connections, key)
    if result < 0:
        return -EADDRNOTAVAIL if result == -2 else -ENOMEM
    return 0


cdef int prepare(TcpLayer* tcp, Tcb* tcb, const Addr* address, uint16_t port) noexcept nogil:
    """Active OPEN, up to its SYN. 0 or a negative errno."""
    cdef FlowKey before = tcb.endpoint.key
    cdef uint32_t least_iss = 0
    cdef int result
    if not tcb_wake(tcp, tcb):
        return -ENOMEM
    if tcb.fast_open & FAST_OPEN_DEFERRED and tcb.state == STATE_SYN_SENT:
        return -EISCONN         # as Linux, until data is sent
    if tcb.state in (STATE_SYN_SENT, STATE_SYN_RECEIVED):
        return -EALREADY
    if tcb.state != STATE_CLOSED:
        return -EISCONN
    if tcb.smss:
        return -EISCONN         # as Linux: once was; only an open that failed may be repeated
    if not family_fits(tcb, address):
        return -ENETUNREACH if tcb.v6 else -EAFNOSUPPORT
    # RFC 9293 section 3.9.2.3 (MUST-46); the errno is Linux's.
    if addr_is_any(address) or addr_is_multicast(address) or ip_is_broadcast(tcp.ip, address):
        return -ENETUNREACH
    if tcb.bound:
        bound_remove(tcp, tcb)
    result = complete_key(tcp, tcb, address, port, &least_iss)
    if result < 0:
        tcb.endpoint.key = before
        # The slot that was just left is still there: this cannot fail.
        tcb.bound = tcb.bound and bound_insert(tcp, tcb) == 0
        return result
    tcb.bound = False
    prepare_handshake(tcp, tcb, least_iss)
    return 0


cdef void prepare_handshake(TcpLayer* tcp, Tcb* tcb, uint32_t least_iss) noexcept nogil:
    """least_iss: beyond what a connection of the same 4-tuple has used; 0: there was none."""
    # What an attempt that failed may have left.
    tcb.busy.retransmits = tcb.backoff = 0
    tcb.rcv_nxt = 0
    tcb.soft_error = 0
    tcb.fast_open = tcb.fast_open_failure = 0
    tcb.timestamps_ok = tcb.config.timestamps
    tcb.sack_ok = tcb.config.sack
    tcb.rcv_scale_offered = tcb.config.window_scaling
    tcb.rcv_scale = window_scale_for(tcp, tcb)
    tcb.ts_offset = timestamp_offset(tcp, &tcb.endpoint.key)
    tcb.iss = initial_sequence(tcp, &tcb.endpoint.key)
    if least_iss and seq_lt(tcb.iss, least_iss):
        tcb.iss = least_iss         # RFC 9293 section 3.4.1
    tcb.snd_una = tcb.iss
    tcb.snd_nxt = tcb.busy.snd_small = tcb.iss + 1
    open_window(tcp, tcb)
    tcb_set_state(tcp, tcb, STATE_SYN_SENT)


cdef void start_clock(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    tcb.busy.first_unacked_at = tcp.context.now
    tcb.busy.retransmit_at = tcp.context.now + rtt_timeout(tcb)
    tcb_rearm(tcp, tcb)


cdef int tcp_connect(TcpLayer* tcp, Tcb* tcb, const Addr* address, uint16_t port) noexcept nogil:
    """Active OPEN: sends the SYN, or leaves that to the first data (TCP_FASTOPEN_CONNECT). 0 or a
    negative errno.
    """
    cdef int result = prepare(tcp, tcb, address, port)
    if result < 0:
        return result
    if tcb.settings.fast_open_connect and fast_open_possible(tcp, tcb):
        tcb.fast_open |= FAST_OPEN_DEFERRED
        return 0
    start_clock(tcp, tcb)
    if tcb.settings.fast_open_connect:
        fast_open_syn(tcp, tcb, NULL, 0)
    else:
        send_syn(tcp, tcb)
    return 0


cdef int64_t tcp_fast_open(
        TcpLayer* tcp, Tcb* tcb, const Addr* address, uint16_t port, const uint8_t* data,
        size_t length) noexcept nogil:
    """Active OPEN with data (RFC 7413 section 4.2.1); how much of it the SYN carries, or a negative
    errno.
    """
    cdef int result
    if not tcp.config.fastopen & CLIENT:
        return -EOPNOTSUPP
    if not tcb_wake(tcp, tcb):
        return -ENOMEM
    if tcb.state == STATE_SYN_SENT and tcb.fast_open & FAST_OPEN_DEFERRED:
        return deferred_syn(tcp, tcb, data, length)
    if address == NULL:
        return -EINVAL if tcb.state == STATE_CLOSED else -EISCONN
    result = prepare(tcp, tcb, address, port)
    if result < 0:
        return result
    start_clock(tcp, tcb)
    return fast_open_syn(tcp, tcb, data, length)


cdef int64_t deferred_syn(
        TcpLayer* tcp, Tcb* tcb, const uint8_t* data, size_t length) noexcept nogil:
    tcb.fast_open = 0
    start_clock(tcp, tcb)
    return fast_open_syn(tcp, tcb, data, length)


cdef void queue_fin(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """CLOSE of the sending direction: the FIN follows what is queued (RFC 9293 section 3.10.4)."""
    if tcb.fin_queued:
        return
    tcb.fin_queued = True
    if tcb.state == STATE_ESTABLISHED or is_early(tcb):
        tcb_set_state(tcp, tcb, STATE_FIN_WAIT_1)
    elif tcb.state == STATE_CLOSE_WAIT:
        tcb_set_state(tcp, tcb, STATE_LAST_ACK)
    tcb_output_later(tcp, tcb)


cdef void discard_received(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    tcb.shut_read = True
    tcb.urgent_in = False
    received_release(tcp, &tcb.busy.received)


cdef int tcp_shutdown(TcpLayer* tcp, Tcb* tcb, int how) noexcept nogil:
    """Half-close. 0, -EINVAL or -ENOTCONN."""
    if how not in (SHUT_RD, SHUT_WR, SHUT_RDWR):
        return -EINVAL
    if not tcb_wake(tcp, tcb):
        return -ENOMEM
    if tcb.state in (STATE_CLOSED, STATE_TIME_WAIT):
        return -ENOTCONN
    if tcb.state == STATE_LISTEN:       # as Linux: there is no direction but that of accept
        if how != SHUT_WR:
            listen_close(tcp, tcb)
            tcb_finish(tcp, tcb, 0)
        return 0
    if tcb.state == STATE_SYN_SENT:     # as Linux: the attempt is given up
        tcb_finish(tcp, tcb, ECONNRESET)
        tcb.snd_una = tcb.snd_nxt = 0   # and was never one: no end of stream
        return 0
    if how != SHUT_WR:
        discard_received(tcp, tcb)
        endpoint_ready(tcp.context, &tcb.endpoint, READY_READ)
    if how != SHUT_RD:
        queue_fin(tcp, tcb)
    return 0


cdef void become_orphan(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """It goes on without a holder, for a bounded time; there is a bound to their number, and a
    negative TCP_LINGER2 does not wait for the peer's FIN at all (as Linux).
    """
    if tcb.state == STATE_TIME_WAIT:
        return
    if tcp.orphans.count >= tcp.config.max_orphans or (
            tcb.state == STATE_FIN_WAIT_2 and tcb.settings.linger2_s < 0):
        count(tcp.context, Counter.TCP_ORPHANS_ABORTED)
        send_reset(tcp, tcb)
        tcb_finish(tcp, tcb, 0)
        return
    if not is_early(tcb):       # or its listener counts it, and it becomes an orphan afterwards
        tcb_list_push(&tcp.orphans, tcb)
    tcb.other_at = DEADLINE_NEVER
    fin_wait_2_timer(tcp, tcb)


cdef void tcp_close(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """CLOSE by the holder, who forgets the TCB: orderly if possible, RST if data would be lost
    unread.
    """
    tcb.held = False
    tcb.endpoint.owner = NULL
    if tcb.state == STATE_CLOSED:
        tcb_bury(tcp, tcb)
    elif not tcb_wake(tcp, tcb):
        tcb_finish(tcp, tcb, 0)     # out of memory: the peer will hear of it when it asks
    elif tcb.state == STATE_LISTEN:
        listen_close(tcp, tcb)
        tcb_finish(tcp, tcb, 0)
    elif tcb.state == STATE_SYN_SENT:
        tcb_finish(tcp, tcb, 0)
    elif tcb.settings.linger and tcb.settings.linger_s == 0:
        tcp_abort(tcp, tcb)
    elif tcb.busy.received.length and tcb.state != STATE_TIME_WAIT:
        send_reset(tcp, tcb)
        count(tcp.context, Counter.TCP_CONNECTIONS_RESET)
        tcb_finish(tcp, tcb, 0)
    else:
        # What arrives from now on is answered with RST (input: text_step), so that nobody sends to
        # a closed socket.
        discard_received(tcp, tcb)
        queue_fin(tcp, tcb)
        become_orphan(tcp, tcb)


cdef int tcp_take_soft_error(Tcb* tcb) noexcept nogil:
    """RFC 9293 section 3.9.2.2 (SHLD-25); by SO_ERROR, as Linux."""
    cdef int error = tcb.soft_error
    tcb.soft_error = 0
    return error


cdef void tcp_abort(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """ABORT (RFC 9293 section 3.10.5): RST if the peer knows of the connection, and everything is
    forgotten.
    """
    tcb.held = False
    tcb.endpoint.owner = NULL
    if tcb.state == STATE_LISTEN:
        listen_close(tcp, tcb)
    elif tcb_wake(tcp, tcb) and tcb.state in (
            STATE_SYN_RECEIVED, STATE_ESTABLISHED, STATE_FIN_WAIT_1, STATE_FIN_WAIT_2,
            STATE_CLOSE_WAIT):
        send_reset(tcp, tcb)
        count(tcp.context, Counter.TCP_CONNECTIONS_RESET)
    if tcb.state == STATE_CLOSED:
        tcb_bury(tcp, tcb)
    else:
        tcb_finish(tcp, tcb, 0)


cdef int tcp_poll(const Tcb* tcb) noexcept nogil:
    """What poll() would report: Ready bits."""
    cdef int events = 0
    if tcb.endpoint.error or not error_queue_is_empty(tcb.endpoint.errors):
        events |= READY_ERROR
    if tcb.state == STATE_LISTEN:
        return READY_READ if tcb.rare.backlog.accept.count else 0
    if tcb.state == STATE_CLOSED:
        return events | READY_WRITE | READY_HANGUP | (
            READY_READ | READY_END if tcb.snd_nxt else 0)
    if tcb.urgent_in:
        events |= READY_URGENT
    if text_is_ready(tcb):
        events |= READY_READ
    if tcb.fin_received or tcb.shut_read:
        events |= READY_READ | READY_END
        if tcb.fin_queued:
            events |= READY_HANGUP
    if (tcb.state in (STATE_ESTABLISHED, STATE_CLOSE_WAIT) or is_early(tcb)) and (
            send_buffer_has_room(tcb)) or tcb.fin_queued:
        events |= READY_WRITE
    elif tcb.fast_open & FAST_OPEN_DEFERRED:
        events |= READY_WRITE   # whose data makes the SYN
    return events


cdef bint tcp_drained(const Tcb* tcb) noexcept nogil:
    return tcb.state in (STATE_CLOSED, STATE_FIN_WAIT_2, STATE_TIME_WAIT) or (
        tcb.fin_sent and tcb.snd_una == tcb.snd_nxt)
