# Passive opens: SYNs to a listener, half-open connections and their bound, the accept queue.
# Called by: input, handshake, calls, timers.
# RFCs: 9293 sections 3.10.7.2 and 3.10.7.4, 4987 section 3.6, 7323, 6528.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy, memset
from pystack.core.context cimport count, endpoint_ready
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport MANNER_NO_LABEL, MANNER_OWN_LABEL, READY_READ, READY_WRITE
from pystack.core.ip.flow_label cimport flow_label_new
from pystack.core.ip.layer cimport IpView
from pystack.core.memory.deadline cimport DEADLINE_NEVER
from pystack.core.memory.flow cimport flow_insert
from pystack.core.tcp.acknowledge cimport acknowledge_start
from pystack.core.tcp.busy cimport tcb_rare
from pystack.core.tcp.clock cimport initial_sequence, timestamp_offset
from pystack.core.tcp.congestion.interface cimport congestion_start
from pystack.core.tcp.cookie cimport cookie_accept, cookie_ecn, cookie_send
from pystack.core.tcp.ecn cimport ECN_MASK, ecn_is_agreed
from pystack.core.tcp.fast_open cimport (
    fast_open_child, fast_open_input, fast_open_leave, fast_open_release, is_early,
)
from pystack.core.tcp.fast_open_cookie cimport FastOpenCookie
from pystack.core.tcp.layer cimport (
    ECN_OK, STATE_CLOSED, STATE_SYN_RECEIVED, Backlog, SavedSyn, Tcb, TcpLayer, TcpRare,
)
from pystack.core.tcp.pacing cimport pacing_update
from pystack.core.tcp.lookup cimport connection_elsewhere
from pystack.core.tcp.metrics cimport metrics_apply
from pystack.core.tcp.mss cimport announced_mss, default_mss, sync_mss
from pystack.core.tcp.mtu_search cimport mtu_search_start
from pystack.core.tcp.segments cimport send_first_syn, send_reset, send_reset_for
from pystack.core.tcp.tcb cimport (
    tcb_bury, tcb_finish, tcb_list_push, tcb_list_remove, tcb_new, tcb_rearm, tcb_set_state,
)
from pystack.core.tcp.user_timeout cimport user_timeout_adopt
from pystack.core.tcp.window cimport window_at_first, window_scale_for, window_start
from pystack.core.wire.tcp cimport (
    TCP_ACK, TCP_FIN, TCP_OPT_MSS, TCP_OPT_SACK_PERMITTED, TCP_OPT_TIMESTAMP,
    TCP_OPT_USER_TIMEOUT, TCP_OPT_WINDOW_SCALE, TCP_RST, TCP_SYN, TcpOptions, TcpSegment, seq_gt,
    seq_max, tcp_parse, tcp_parse_options,
)

cdef enum:
    MAX_WINDOW_SCALE = 14       # RFC 7323 section 2.3
    REUSE_GAP = 65537
    COOKIES_ALWAYS = 2          # of TcpConfig.syn_cookies

cdef int64_t RTO_AFTER_SYN_LOSS = 3_000_000_000     # RFC 6298 section 5.7


cdef void take_syn_options(TcpLayer* tcp, Tcb* tcb, const TcpOptions* options) noexcept nogil:
    """What we offer and the peer's SYN offers too is agreed (RFC 7323 section 1.3, RFC 2018 section
    2).
    """
    tcb.peer_mss = default_mss(tcb)
    if options.present & TCP_OPT_MSS and options.mss:       # as Linux: 0 is none
        # Smaller ones than tcp_min_snd_mss would only serve to exhaust us.
        tcb.peer_mss = <uint16_t>max(<uint32_t>options.mss, tcb.config.min_snd_mss)
    tcb.timestamps_ok = tcb.timestamps_ok and options.present & TCP_OPT_TIMESTAMP != 0
    tcb.sack_ok = tcb.sack_ok and options.present & TCP_OPT_SACK_PERMITTED != 0
    tcb.rcv_scale_offered = tcb.rcv_scale_offered and options.present & TCP_OPT_WINDOW_SCALE != 0
    if tcb.rcv_scale_offered:
        tcb.snd_scale = min(options.window_scale, <uint8_t>MAX_WINDOW_SCALE)
    else:
        tcb.snd_scale = tcb.rcv_scale = 0
    if options.present & TCP_OPT_USER_TIMEOUT:
        user_timeout_adopt(tcp, tcb, options.user_timeout)
    if tcb.timestamps_ok:
        tcb.ts_recent = options.ts_val
        tcb.ts_recent_at = tcp.context.now


cdef void open_window(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """The first window: as Linux, a whole number of segments. RFC 7323 section 2.2: a SYN's is not
    scaled.
    """
    cdef uint32_t mss = announced_mss(tcp, tcb) - (12 if tcb.passive and tcb.timestamps_ok else 0)
    tcb.rcv_ssthresh = window_at_first(tcp, tcb, mss)
    tcb.rcv_edge = tcb.rcv_nxt + min(tcb.rcv_ssthresh, <uint32_t>0xFFFF)


cdef void handshake_was_slow(Tcb* tcb) noexcept nogil:
    """RFC 6298 section 5.7: its SYN was repeated, and nothing could be measured."""
    if tcb.rtt.srtt == 0:
        tcb.rtt.rto = RTO_AFTER_SYN_LOSS
        tcb.rtt.mdev = RTO_AFTER_SYN_LOSS // 1000


cdef void connection_start(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """The handshake is done, options are known: SMSS, IW, quick ACKs."""
    # RFC 5482 section 3.2: the SYN's may have been lost with a cookie.
    tcb.busy.user_timeout_owed = tcb.config.user_timeout_option
    mtu_search_start(tcp, tcb)
    sync_mss(tcp, tcb)
    congestion_start(tcp, tcb)
    if tcb.busy.retransmits:
        handshake_was_slow(tcb)
    metrics_apply(tcp, tcb)
    acknowledge_start(tcb, tcb.smss)
    if tcb.rcv_scale_offered:
        # As Linux, what a SYN's field could not say counts as offered too.
        tcb.rcv_edge = seq_max(tcb.rcv_edge, tcb.irs + 1 + tcb.rcv_ssthresh)
    window_start(tcp, tcb, announced_mss(tcp, tcb) - (12 if tcb.timestamps_ok else 0))
    if tcb.passive:
        # As Linux counts: the SYN, and what completes the handshake.
        tcb.totals.segments_in = 0 if is_early(tcb) else 2
        if tcb.rare.path_changes:
            tcb.rare.path_changes = 0
    tcb.busy.retransmits = 0
    pacing_update(tcp, tcb)
    tcb.last_received_at = tcb.last_text_at = tcb.last_sent_at = tcp.context.now


cdef void save_syn(Tcb* child, const IpView* view, const TcpSegment* seg) noexcept nogil:
    """TCP_SAVE_SYN; without memory there is none."""
    cdef uint8_t* start = view.packet.data
    cdef uint32_t length = <uint32_t>(seg.payload - start)
    cdef TcpRare* rare = tcb_rare(child)
    if rare == NULL:
        return
    rare.saved_syn = <SavedSyn*>malloc(sizeof(SavedSyn) + length)
    if rare.saved_syn != NULL:
        rare.saved_syn.length = length
        memcpy(rare.saved_syn.headers, start, length)


cdef Tcb* child_new(
        TcpLayer* tcp, Tcb* listener, const IpView* view, const TcpSegment* seg) noexcept nogil:
    """A TCB for a SYN to a listener, with the listener's settings, in the table; NULL: out of
    memory.
    """
    cdef Tcb* child = tcb_new(tcp, listener)
    if child == NULL:
        return NULL
    child.endpoint.key.local = view.destination
    child.endpoint.key.remote = view.source
    child.endpoint.key.local_port = seg.destination_port
    child.endpoint.key.remote_port = seg.source_port
    child.endpoint.marking = listener.endpoint.marking
    child.endpoint.marking.flow_label = 0 if listener.endpoint.manners & MANNER_NO_LABEL else (
        flow_label_new(tcp.context))
    child.endpoint.manners = listener.endpoint.manners & ~<int>MANNER_OWN_LABEL
    child.endpoint.service = listener.endpoint.service
    child.endpoint.v6only = listener.endpoint.v6only
    child.passive = True
    child.timestamps_ok = child.config.timestamps
    child.sack_ok = child.config.sack
    child.rcv_scale_offered = child.config.window_scaling
    child.rcv_scale = listener.rcv_scale
    if flow_insert(&tcp.connections, &child.endpoint.key) < 0:
        tcb_bury(tcp, child)
        return NULL
    child.ts_offset = timestamp_offset(tcp, &child.endpoint.key)
    child.irs = seg.seq
    child.rcv_nxt = seg.seq + 1
    return child


cdef bint is_flooded(const Tcb* listener) noexcept nogil:
    """As Linux: a listener's SYN queue is no longer than its accept queue, but for a few."""
    return listener.rare.backlog.half_open.count >= min(
        listener.config.max_syn_backlog, max(listener.rare.backlog.limit, <uint32_t>8))


cdef void receive_syn(
        TcpLayer* tcp, Tcb* child, const TcpSegment* seg, const TcpOptions* options,
        const Tcb* after) noexcept nogil:
    """Take over what a SYN says; the new connection is in SYN-RECEIVED."""
    child.iss = initial_sequence(tcp, &child.endpoint.key)
    # RFC 1122 section 4.2.2.13: larger than what the previous incarnation used.
    if after != NULL and not seq_gt(child.iss, after.snd_nxt):
        child.iss = after.snd_nxt + REUSE_GAP
    child.snd_una = child.iss
    child.snd_nxt = child.busy.snd_small = child.iss + 1
    take_syn_options(tcp, child, options)
    child.ecn = ECN_OK if ecn_is_agreed(child.config, seg) else 0
    open_window(tcp, child)
    child.snd_wnd = child.max_snd_wnd = seg.window
    child.snd_wl1 = seg.seq
    tcb_set_state(tcp, child, STATE_SYN_RECEIVED)


cdef void answer_syn(TcpLayer* tcp, Tcb* child, const FastOpenCookie* cookie) noexcept nogil:
    """Send the SYN-ACK, and repeat it if it draws no ACK."""
    child.busy.first_unacked_at = tcp.context.now
    child.busy.retransmit_at = tcp.context.now + min(
        child.config.rto_initial, child.config.rto_max)
    tcb_rearm(tcp, child)
    send_first_syn(tcp, child, cookie, 0)


cdef void syn_input(
        TcpLayer* tcp, Tcb* listener, const IpView* view, const TcpSegment* seg,
        const Tcb* after) noexcept nogil:
    """A SYN for a listener: a half-open connection, a cookie, or nothing (RFC 4987)."""
    cdef Backlog* backlog = listener.rare.backlog
    cdef TcpOptions options
    cdef FastOpenCookie cookie
    cdef Tcb* child
    cdef bint early
    cdef bint stateless = is_flooded(listener)
    # As Linux: who comes out of TIME-WAIT is known, and never gets one without need.
    if listener.config.syn_cookies == COOKIES_ALWAYS and after == NULL:
        stateless = True
    tcp_parse_options(seg, &options)
    if backlog.accept.count > backlog.limit:
        count(tcp.context, Counter.TCP_DROP_BACKLOG_FULL)
        return
    if stateless:
        if listener.config.syn_cookies:
            cookie_send(tcp, listener, view, seg, &options)
        else:
            count(tcp.context, Counter.TCP_DROP_BACKLOG_FULL)
        return
    child = child_new(tcp, listener, view, seg)
    if child == NULL:
        count(tcp.context, Counter.OUT_OF_MEMORY)
        return
    if listener.settings.save_syn:
        save_syn(child, view, seg)
    early = fast_open_input(tcp, listener, view, seg, &options, &cookie)
    receive_syn(tcp, child, seg, &options, after)
    child.busy.listener = listener
    if early:
        fast_open_child(tcp, listener, child, seg)
    else:
        tcb_list_push(&backlog.half_open, child)
    answer_syn(tcp, child, &cookie)


cdef Tcb* listen_admit(TcpLayer* tcp, const IpView* view) noexcept nogil:
    """A connection out of a SYN that no listener is for, in SYN-RECEIVED and held by the caller.

    NULL: out of memory, or there is such a connection.
    """
    cdef Tcb* template = tcb_new(tcp, NULL)
    cdef Tcb* child = NULL
    cdef TcpSegment seg
    cdef TcpOptions options
    cdef FastOpenCookie cookie
    if template == NULL:
        return NULL
    template.rcv_scale = window_scale_for(tcp, template)
    memset(&cookie, 0, sizeof(cookie))
    if tcp_parse(view.payload, view.length, &seg) == 0:
        seg.gso_size = 0
        seg.ecn = view.tos & ECN_MASK
        tcp_parse_options(&seg, &options)
        child = child_new(tcp, template, view, &seg)
    tcb_bury(tcp, template)
    if child == NULL:
        return NULL
    child.held = True
    child.v6 = view.v6
    receive_syn(tcp, child, &seg, &options, NULL)
    answer_syn(tcp, child, &cookie)
    return child


cdef void listen_turn_away(TcpLayer* tcp, const IpView* view) noexcept nogil:
    """Refuse a SYN that no listener is for."""
    cdef TcpSegment seg
    if tcp_parse(view.payload, view.length, &seg) == 0:
        count(tcp.context, Counter.TCP_DROP_NO_CONNECTION)
        send_reset_for(tcp, view, &seg)


cdef Tcb* cookie_input(
        TcpLayer* tcp, Tcb* listener, const IpView* view, const TcpSegment* seg,
        const TcpOptions* syn) noexcept nogil:
    """An ACK with a cookie of ours: a SYN-RECEIVED connection that goes on with the segment.

    NULL: there is no room. As Linux, nothing is sent: its sender is connected, and will say it
    again.
    """
    cdef Tcb* child
    if listener.rare.backlog.accept.count > listener.rare.backlog.limit:
        count(tcp.context, Counter.TCP_DROP_BACKLOG_FULL)
        return NULL
    child = child_new(tcp, listener, view, seg)
    if child == NULL:
        return NULL
    child.irs = seg.seq - 1
    child.rcv_nxt = seg.seq
    child.iss = child.snd_una = seg.ack - 1
    child.snd_nxt = child.busy.snd_small = seg.ack
    take_syn_options(tcp, child, syn)
    child.ecn = ECN_OK if cookie_ecn(listener, seg) else 0
    open_window(tcp, child)
    child.snd_wl1 = seg.seq - 1
    child.busy.listener = listener
    child.busy.last_ack_sent = child.rcv_nxt
    tcb_list_push(&listener.rare.backlog.half_open, child)
    tcb_set_state(tcp, child, STATE_SYN_RECEIVED)
    count(tcp.context, Counter.TCP_SYN_COOKIES_ACCEPTED)
    return child


cdef Tcb* listen_input(
        TcpLayer* tcp, Tcb* listener, const IpView* view, const TcpSegment* seg,
        const Tcb* after) noexcept nogil:
    """RFC 9293 section 3.10.7.2: RST, ACK, SYN, in this order."""
    cdef TcpOptions syn
    if seg.flags & TCP_RST:
        count(tcp.context, Counter.TCP_DROP_NO_CONNECTION)
        return NULL
    if seg.flags & TCP_ACK:
        if not seg.flags & TCP_SYN and listener.rare.backlog.cookies_until > tcp.context.now:
            if cookie_accept(tcp, listener, view, seg, &syn):
                return cookie_input(tcp, listener, view, seg, &syn)
        if connection_elsewhere(tcp, view, seg):
            tcp.arriving = NULL
        else:
            send_reset_for(tcp, view, seg)
        return NULL
    if seg.flags & TCP_SYN and not seg.flags & TCP_FIN:
        syn_input(tcp, listener, view, seg, after)
        return NULL
    count(tcp.context, Counter.TCP_DROP_BAD_FLAGS)
    return NULL


cdef bint listen_defers(Tcb* child, const TcpSegment* seg) noexcept nogil:
    """TCP_DEFER_ACCEPT: an ACK without text or FIN does not complete the handshake, for a while."""
    if (child.busy.listener == NULL
            or child.busy.retransmit_at == DEADLINE_NEVER       # from a cookie
            or child.busy.retransmits >= child.busy.listener.settings.defer_accept
            or seg.length or seg.flags & TCP_FIN):
        return False
    child.busy.handshake_acked = True
    return True


cdef bint listen_established(TcpLayer* tcp, Tcb* child) noexcept nogil:
    """Move a child from the half-open to the accept queue, or to the native service that it is for.
    """
    cdef Tcb* listener = child.busy.listener
    if listener == NULL:
        return True
    if child.endpoint.service:
        tcb_list_remove(child)
        child.busy.listener = NULL
        child.held = True
        endpoint_ready(tcp.context, &child.endpoint, READY_READ | READY_WRITE)
        return True
    if listener.rare.backlog.accept.count > listener.rare.backlog.limit:
        count(tcp.context, Counter.TCP_DROP_BACKLOG_FULL)
        child.busy.handshake_acked = True
        return False
    tcb_list_remove(child)
    tcb_list_push(&listener.rare.backlog.accept, child)
    endpoint_ready(tcp.context, &listener.endpoint, READY_READ)
    return True


cdef void abort_children(TcpLayer* tcp, Tcb* first) noexcept nogil:
    cdef Tcb* child = first
    cdef Tcb* following
    while child != NULL:
        following = child.next
        if child.state == STATE_CLOSED:
            tcb_bury(tcp, child)        # reset before it was accepted
        else:
            send_reset(tcp, child)
            if is_early(child):
                fast_open_leave(child)
            child.busy.listener = NULL
            tcb_finish(tcp, child, 0)
        child = following


cdef void listen_close(TcpLayer* tcp, Tcb* listener) noexcept nogil:
    """RFC 9293 section 3.10.4, LISTEN; as Linux, what was not accepted is reset."""
    abort_children(tcp, listener.rare.backlog.half_open.first)
    abort_children(tcp, listener.rare.backlog.accept.first)
    fast_open_release(listener.rare.backlog)
