# SEGMENT ARRIVES: one function per step of RFC 9293 section 3.10.7.
# Called by: stack.
# RFCs: 9293 section 3.10.7, 5961, 7323 section 5, 6191, 1337.

from libc.errno cimport ECONNREFUSED, ECONNRESET, EPIPE
from libc.stdint cimport int32_t, int64_t, uint32_t
from pystack.core.context cimport count, endpoint_ready, packet_drop
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport READY_WRITE
from pystack.core.ip.doorman cimport doorman_ask, doorman_wants
from pystack.core.ip.input cimport ip_mirror
from pystack.core.ip.layer cimport (
    POLICY_ACCEPT, POLICY_DROP, POLICY_MIRROR, POLICY_REFUSE, PROTOCOL_TCP, IpView, PolicyAction,
)
from pystack.core.ip.policy cimport policy_find
from pystack.core.memory.deadline cimport DEADLINE_NEVER
from pystack.core.memory.flow cimport FlowKey
from pystack.core.memory.interval cimport IntervalSet
from pystack.core.memory.packet cimport CSUM_FULL, packet_free
from pystack.core.tcp.ack cimport ack_input, fin_is_acked
from pystack.core.tcp.busy cimport tcb_wake
from pystack.core.tcp.challenge cimport challenge_ack
from pystack.core.tcp.clock cimport timestamp_now
from pystack.core.tcp.ecn cimport ECN_MASK, ecn_input
from pystack.core.tcp.fast_open cimport fast_open_reset, is_early
from pystack.core.tcp.handshake cimport (
    become_established, early_established, echo_is_ours, syn_sent_input,
)
from pystack.core.tcp.layer cimport (
    STATE_CLOSED, STATE_CLOSE_WAIT, STATE_CLOSING, STATE_FIN_WAIT_1, STATE_FIN_WAIT_2,
    STATE_LAST_ACK, STATE_SYN_RECEIVED, STATE_SYN_SENT, STATE_TIME_WAIT, Tcb, TcpLayer,
)
from pystack.core.tcp.listen cimport listen_input
from pystack.core.tcp.lookup cimport (
    connection_elsewhere, connection_find, connection_key, listener_find, listener_share,
)
from pystack.core.tcp.metrics cimport metrics_save
from pystack.core.tcp.receive cimport duplicate_seen
from pystack.core.tcp.segments cimport send_ack, send_reset_for, send_syn
from pystack.core.tcp.tcb cimport tcb_finish, tcb_output_later, tcb_set_state
from pystack.core.tcp.text cimport text_steps, text_trim
from pystack.core.tcp.timers cimport enter_time_wait, fin_wait_2_timer
from pystack.core.tcp.user_timeout cimport user_timeout_adopt
from pystack.core.tcp.window cimport window_round_trip
from pystack.core.wire.checksum cimport csum_add, csum_finish, csum_pseudo
from pystack.core.wire.tcp cimport (
    TCP_ACK, TCP_FIN, TCP_OPT_TIMESTAMP, TCP_OPT_USER_TIMEOUT, TCP_RST, TCP_SYN, TcpOptions,
    TcpSegment, seq_ge, seq_gt, seq_le, seq_lt, seq_max, seq_min, tcp_parse, tcp_parse_options,
)

# After this long an idle connection's TS.Recent says nothing any more (RFC 7323 section 5.5).
cdef int64_t MILLISECOND = 1_000_000    # a tick of the timestamp clock
cdef int64_t PAWS_IDLE = 24 * 24 * 3600 * <int64_t>1_000_000_000


cdef inline uint32_t segment_length(const TcpSegment* seg) noexcept nogil:
    """SEG.LEN: SYN and FIN count."""
    return seg.length + (seg.flags & TCP_SYN != 0) + (seg.flags & TCP_FIN != 0)


cdef bint checksum_is_good(const IpView* view) noexcept nogil:
    if view.packet.csum != CSUM_FULL:
        return True
    return csum_finish(csum_add(
        csum_pseudo(&view.source, &view.destination, PROTOCOL_TCP, view.length),
        view.payload, view.length)) == 0


cdef inline void count_in(Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    cdef uint32_t segments = 1
    if seg.gso_size:
        segments = (seg.length + seg.gso_size - 1) // seg.gso_size
    tcb.totals.segments_in += max(segments, <uint32_t>1)
    if seg.length:
        tcb.totals.data_segments_in += segments


cdef void tcp_input(TcpLayer* tcp, IpView* view) noexcept nogil:
    """One segment or train to one of our addresses. Takes view.packet."""
    cdef TcpSegment seg
    cdef Tcb* tcb
    count(tcp.context, Counter.TCP_SEGMENTS_IN)
    if tcp_parse(view.payload, view.length, &seg) < 0:
        packet_drop(tcp.context, view.packet, Counter.TCP_DROP_TOO_SHORT)
        return
    if not checksum_is_good(view):
        packet_drop(tcp.context, view.packet, Counter.TCP_DROP_BAD_CHECKSUM)
        return
    seg.gso_size = view.packet.gso_size if view.packet.gso else 0
    seg.ecn = view.tos & ECN_MASK
    tcb = connection_find(
        tcp, &view.destination, seg.destination_port, &view.source, seg.source_port)
    if tcb != NULL:
        if view.ttl < tcb.settings.min_ttl:     # RFC 5082, as Linux
            packet_drop(tcp.context, view.packet, Counter.TCP_DROP_TTL)
            return
        if not tcb_wake(tcp, tcb):
            packet_free(&tcp.context.slab, view.packet)
            return
        count_in(tcb, &seg)
    tcp.arriving = view.packet
    if tcb == NULL:
        if not unknown_input(tcp, view, &seg):
            return
    elif tcb.state == STATE_SYN_SENT:
        syn_sent_input(tcp, tcb, view, &seg)
    elif tcb.state == STATE_TIME_WAIT and is_reopening(tcp, tcb, &seg):
        reopen(tcp, tcb, view, &seg)
    else:
        segment_arrives(tcp, tcb, view, &seg)
    if tcp.arriving != NULL:
        packet_free(&tcp.context.slab, tcp.arriving)


cdef inline bint is_opening(const TcpSegment* seg) noexcept nogil:
    return seg.flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN) == TCP_SYN


cdef bint unknown_input(TcpLayer* tcp, IpView* view, const TcpSegment* seg) noexcept nogil:
    """No connection: the policy, then a listener, then whoever decides about the rest, then
    refusal. False: the packet has been taken.
    """
    cdef uint32_t token
    cdef PolicyAction action = policy_find(
        tcp.ip, &view.destination, PROTOCOL_TCP, seg.destination_port, &token)
    cdef Tcb* listener
    cdef Tcb* tcb
    cdef FlowKey key
    if action == POLICY_MIRROR:
        ip_mirror(tcp.ip, view)
        return False
    if action == POLICY_DROP:
        packet_drop(tcp.context, view.packet, Counter.IP_DROP_BY_POLICY)
        return False
    listener = listener_find(tcp, &view.destination, seg.destination_port)
    if listener == NULL and action == POLICY_ACCEPT and is_opening(seg) and (
            doorman_wants(tcp.ip, PROTOCOL_TCP)):
        connection_key(
            &key, &view.destination, seg.destination_port, &view.source, seg.source_port)
        doorman_ask(tcp.ip, view, &key)
        return False
    if listener == NULL or action == POLICY_REFUSE:
        if connection_elsewhere(tcp, view, seg):
            return False
        count(tcp.context, Counter.TCP_DROP_NO_CONNECTION)
        send_reset_for(tcp, view, seg)
        return True
    listener = listener_share(tcp, listener, &view.destination, &view.source, seg.source_port)
    if view.ttl < listener.settings.min_ttl:
        count(tcp.context, Counter.TCP_DROP_TTL)
        return True
    tcb = listen_input(tcp, listener, view, seg, NULL)
    if tcb != NULL:
        segment_arrives(tcp, tcb, view, seg)
    return True


cdef bint is_reopening(
        const TcpLayer* tcp, const Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """May this SYN replace a connection in TIME-WAIT? (RFC 6191 section 2)"""
    cdef TcpOptions options
    cdef bint timestamps
    if not is_opening(seg):
        return False
    tcp_parse_options(seg, &options)
    timestamps = tcb.config.timestamps and options.present & TCP_OPT_TIMESTAMP
    if timestamps and not tcb.timestamps_ok:
        return True
    if timestamps and options.ts_val != tcb.ts_recent:
        return seq_gt(options.ts_val, tcb.ts_recent)
    return seq_gt(seg.seq, tcb.rcv_nxt)


cdef void reopen(TcpLayer* tcp, Tcb* tcb, IpView* view, const TcpSegment* seg) noexcept nogil:
    """The old connection ends and the SYN goes to whoever listens; if nobody does, the old one
    stays and answers it.
    """
    cdef uint32_t token
    cdef Tcb* listener = listener_find(tcp, &view.destination, seg.destination_port)
    if listener == NULL or POLICY_ACCEPT != policy_find(
            tcp.ip, &view.destination, PROTOCOL_TCP, seg.destination_port, &token):
        segment_arrives(tcp, tcb, view, seg)
        return
    count(tcp.context, Counter.TCP_TIME_WAIT_REUSED)
    listener = listener_share(tcp, listener, &view.destination, &view.source, seg.source_port)
    tcb_finish(tcp, tcb, 0)
    listen_input(tcp, listener, view, seg, tcb)


# --- all states but CLOSED, LISTEN and SYN-SENT: RFC 9293 section 3.10.7.4
# -------------------------------------------------------------------------

cdef void segment_arrives(
        TcpLayer* tcp, Tcb* tcb, IpView* view, const TcpSegment* received) noexcept nogil:
    """The steps in their order; each returns False when the segment is done with."""
    cdef TcpSegment seg = received[0]
    cdef TcpOptions options
    cdef bint crossing = is_crossing_syn_ack(tcb, received)
    if is_without_purpose(tcb, &seg):
        count(tcp.context, Counter.TCP_DROP_NO_ACK)
        return
    tcp_parse_options(&seg, &options)
    if is_retransmitted_syn(tcb, &seg):
        # The peer has not seen our SYN-ACK: RFC 9293 would send a bare ACK, Linux the SYN-ACK once
        # more.
        send_syn(tcp, tcb)
        return
    if not timestamp_is_good(tcp, tcb, &seg, &options) or not (
            echo_is_good(tcp, tcb, &seg, &options)):
        return
    if not crossing and not sequence_is_acceptable(tcp, tcb, &seg):
        return
    if not reset_step(tcp, tcb, &seg):
        return
    if not crossing and not syn_step(tcp, tcb, view, &seg):
        return
    tcb.last_received_at = tcp.context.now
    if not ack_step(tcp, tcb, view, &seg, &options):
        return
    if tcb.state == STATE_CLOSED:
        return
    if crossing:
        # The SYN came before, so an ACK is due (first step), which tells the peer, too, that its
        # SYN-ACK need not come again.
        tcb.busy.ack_now = True
        tcb_output_later(tcp, tcb)
        seg.seq += 1
        seg.flags &= ~TCP_SYN
    text_trim(tcp, tcb, &seg)
    text_steps(tcp, tcb, view, &seg)


cdef inline bint is_half_open(const Tcb* tcb) noexcept nogil:
    return tcb.state == STATE_SYN_RECEIVED and tcb.passive


cdef bint is_without_purpose(const Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """Neither ACK nor RST nor SYN: the fifth step would drop it; as Linux, nothing answers it
    before that.
    """
    return (seg.flags & (TCP_ACK | TCP_RST | TCP_SYN) == 0 and tcb.state != STATE_TIME_WAIT
            and not is_half_open(tcb))


cdef bint is_crossing_syn_ack(const Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """Simultaneous open: the peer's SYN-ACK repeats the SYN that we know (RFC 9293 figure 8)."""
    return (tcb.state == STATE_SYN_RECEIVED and not tcb.passive and seg.seq == tcb.irs
            and seg.flags & (TCP_SYN | TCP_ACK | TCP_RST) == TCP_SYN | TCP_ACK)


cdef bint is_retransmitted_syn(const Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    return ((tcb.state == STATE_SYN_RECEIVED or is_early(tcb)) and seg.seq == tcb.irs
            and seg.flags & (TCP_SYN | TCP_ACK | TCP_RST) == TCP_SYN)


cdef void acknowledge_out_of_window(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """RFC 9293: an unacceptable segment draws an ACK. Bare ones are limited, so that two stacks
    cannot loop.
    """
    if (seg.length or seg.flags & TCP_FIN) and not seg.flags & TCP_SYN:
        send_ack(tcp, tcb)
    else:
        challenge_ack(tcp, tcb)


cdef inline bint is_bare_ack(const TcpSegment* seg) noexcept nogil:
    return seg.length == 0 and seg.flags & (TCP_ACK | TCP_SYN | TCP_FIN | TCP_RST) == TCP_ACK


cdef void report_duplicate(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """What came again and is not taken, with its FIN, is the D-SACK of the answer (RFC 2883)."""
    cdef uint32_t end = seg.seq + segment_length(seg)
    if (end != seg.seq and seq_lt(seg.seq, tcb.rcv_nxt) and not seg.flags & TCP_SYN
            and tcb.state != STATE_SYN_RECEIVED):
        duplicate_seen(tcp, tcb, seg.seq, seq_min(end, tcb.rcv_nxt))


cdef bint timestamp_is_good(
        TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg, const TcpOptions* options) noexcept nogil:
    """PAWS: a segment with an older timestamp is itself old (RFC 7323 section 5.3 R1)."""
    if (not tcb.timestamps_ok or not options.present & TCP_OPT_TIMESTAMP
            or (seg.flags & TCP_RST and tcb.state != STATE_TIME_WAIT)
            or not seq_lt(options.ts_val, tcb.ts_recent)
            or tcp.context.now - tcb.ts_recent_at >= PAWS_IDLE):
        return True
    count(tcp.context, Counter.TCP_DROP_PAWS)
    if seg.flags & TCP_RST:
        return False            # of the time before TIME-WAIT: it must not end it (RFC 1337)
    if is_bare_ack(seg) and seq_lt(seg.seq, tcb.rcv_nxt) and not is_half_open(tcb):
        return False            # as Linux: one that was overtaken, nothing is missing
    report_duplicate(tcp, tcb, seg)
    acknowledge_out_of_window(tcp, tcb, seg)
    return False


cdef bint echo_is_good(
        TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg, const TcpOptions* options) noexcept nogil:
    """SYN-RECEIVED: the handshake is completed only by who has seen the timestamp of our SYN-ACK.

    As Linux; in SYN-SENT it is RFC 7323 section 3.2 that asks for it.
    """
    if (not is_half_open(tcb) or not tcb.timestamps_ok or seg.flags & TCP_RST
            or tcb.busy.retransmit_at == DEADLINE_NEVER      # a cookie: we have kept nothing
            or is_early(tcb)    # it may have seen later ones
            or echo_is_ours(tcp, tcb, options)):
        return True
    count(tcp.context, Counter.TCP_DROP_BAD_ACK)
    challenge_ack(tcp, tcb)
    return False


cdef void timestamp_take(
        TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg, const TcpOptions* options) noexcept nogil:
    """TS.Recent is what the segment that our next ACK answers has said (RFC 7323 section 4.3).

    As Linux, not before its ACK field has been found good: who only guesses a sequence number
    cannot move it.
    """
    if (not tcb.timestamps_ok or not options.present & TCP_OPT_TIMESTAMP or seg.flags & TCP_RST
            or seq_gt(seg.seq, tcb.busy.last_ack_sent)):
        return
    tcb.ts_recent = options.ts_val
    tcb.ts_recent_at = tcp.context.now


cdef bint is_in_window(const Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """Does any of it lie in the window? (RFC 9293 section 3.4, table 6)"""
    cdef uint32_t length = segment_length(seg)
    cdef uint32_t edge = seq_max(tcb.rcv_edge, tcb.rcv_nxt)
    if seg.flags & TCP_RST:
        return seg.seq == tcb.rcv_nxt or (seq_gt(seg.seq, tcb.rcv_nxt) and seq_lt(seg.seq, edge))
    if length == 0:
        # As Linux: it may be as old as our last ACK (reordering), and lie at the edge (the peer has
        # filled the window).
        return seq_ge(seg.seq, tcb.busy.last_ack_sent) and seq_le(seg.seq, edge)
    # What begins at a closed window is let in for its ACK; trim() takes its text.
    return seq_gt(seg.seq + length, tcb.rcv_nxt) and (
        seq_lt(seg.seq, edge) or seg.seq == tcb.rcv_nxt)


cdef bint is_reset_at_fin(const Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """As Linux: some stacks (macOS) reset from where their FIN was, not from beyond it."""
    return (seg.flags & TCP_RST != 0 and seg.seq == tcb.rcv_nxt - 1
            and tcb.state in (STATE_CLOSE_WAIT, STATE_LAST_ACK, STATE_CLOSING))


cdef bint is_reset_behind_sacked(const Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """As Linux: what is missing was lost, and who resets does not send it again."""
    cdef const IntervalSet* held = &tcb.busy.out_of_order
    return tcb.sack_ok and held.count and seg.seq == held.items[held.count - 1].end


cdef bint sequence_is_acceptable(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """First, check sequence number."""
    if is_in_window(tcb, seg) or is_reset_at_fin(tcb, seg):
        return True
    if seg.flags & TCP_RST:
        count(tcp.context, Counter.TCP_DROP_RESET_OUT_OF_WINDOW)
        return False
    if (tcb.state == STATE_TIME_WAIT and seg.flags & TCP_FIN
            and seg.seq + segment_length(seg) == tcb.rcv_nxt):
        # The peer has not seen our last ACK: start 2 MSL anew (RFC 9293, TIME-WAIT in step eight).
        enter_time_wait(tcp, tcb)
    count(tcp.context, Counter.TCP_DROP_OUT_OF_WINDOW)
    report_duplicate(tcp, tcb, seg)
    acknowledge_out_of_window(tcp, tcb, seg)
    return False


cdef bint reset_step(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """Second, check the RST bit (RFC 5961 section 3.2; TIME-WAIT: RFC 1337 section 3, fix F1)."""
    if not seg.flags & TCP_RST:
        return True
    if tcb.state == STATE_TIME_WAIT and (tcb.config.rfc1337 or seg.seq != tcb.rcv_nxt):
        count(tcp.context, Counter.TCP_DROP_RESET_IN_TIME_WAIT)
        return False
    if seg.seq != tcb.rcv_nxt and not (
            is_reset_at_fin(tcb, seg) or is_reset_behind_sacked(tcb, seg)):
        count(tcp.context, Counter.TCP_DROP_RESET_OUT_OF_WINDOW)
        challenge_ack(tcp, tcb)
        return False
    count(tcp.context, Counter.TCP_RESETS_IN)
    count(tcp.context, Counter.TCP_CONNECTIONS_RESET)
    if is_early(tcb):
        fast_open_reset(tcp, tcb)
    if tcb.state == STATE_SYN_RECEIVED and not tcb.passive:
        tcb_finish(tcp, tcb, ECONNREFUSED)
    elif tcb.state == STATE_CLOSE_WAIT:
        tcb_finish(tcp, tcb, EPIPE)     # as Linux: the peer had said that it would send no more
    elif tcb.state in (STATE_CLOSING, STATE_LAST_ACK, STATE_TIME_WAIT):
        tcb_finish(tcp, tcb, 0)
    else:
        tcb_finish(tcp, tcb, ECONNRESET)
    return False


cdef bint syn_step(
        TcpLayer* tcp, Tcb* tcb, const IpView* view, const TcpSegment* seg) noexcept nogil:
    """Fourth, check the SYN bit (RFC 5961 section 4.2): in any synchronized state a challenge,
    never a reset.
    """
    if not seg.flags & TCP_SYN:
        return True
    if is_half_open(tcb):
        # RFC 9293: "return this connection to the LISTEN state"; as Linux (and RFC 793) the peer is
        # told, whose earlier attempt that may have been.
        send_reset_for(tcp, view, seg)
        if not is_early(tcb):   # as Linux: somebody may use it, whom a stranger shall not disturb
            tcb_finish(tcp, tcb, 0)
        return False
    challenge_ack(tcp, tcb)
    return False


cdef bint ack_step(
        TcpLayer* tcp, Tcb* tcb, IpView* view, const TcpSegment* seg,
        const TcpOptions* options) noexcept nogil:
    """Fifth, check the ACK field."""
    if not seg.flags & TCP_ACK:
        count(tcp.context, Counter.TCP_DROP_NO_ACK)
        return False
    if is_early(tcb):
        if not early_established(tcp, tcb, view, seg):
            return False
    elif tcb.state == STATE_SYN_RECEIVED and not become_established(tcp, tcb, view, seg, options):
        return False
    if tcb.ecn:
        ecn_input(tcp, tcb, seg)
    if not ack_input(tcp, tcb, seg, options):
        return False
    timestamp_take(tcp, tcb, seg, options)
    if seg.length >= tcb.ack_segment and tcb.timestamps_ok and (
            options.present & TCP_OPT_TIMESTAMP and options.ts_ecr != tcb.busy.rcv_rtt_seq):
        # What a receiver can know of the round trip: once for each timestamp of ours.
        tcb.busy.rcv_rtt_seq = options.ts_ecr
        window_round_trip(
            tcb, <int64_t><int32_t>(timestamp_now(tcp, tcb) - options.ts_ecr) * 1_000_000)
    if options.present & TCP_OPT_USER_TIMEOUT:
        user_timeout_adopt(tcp, tcb, options.user_timeout)
    if fin_is_acked(tcb):
        fin_acknowledged(tcp, tcb)
        if tcb.state == STATE_FIN_WAIT_2 and not tcb.held and tcb.settings.linger2_s < 0:
            # As Linux: nobody is there to wait for the peer's FIN.
            count(tcp.context, Counter.TCP_ORPHANS_ABORTED)
            send_reset_for(tcp, view, seg)
            tcb_finish(tcp, tcb, 0)
            return False
    return True


cdef void fin_acknowledged(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """The peer has our FIN, and only an ACK of the FIN itself counts as that."""
    if tcb.state == STATE_FIN_WAIT_1:
        tcb_set_state(tcp, tcb, STATE_FIN_WAIT_2)
        fin_wait_2_timer(tcp, tcb)
        endpoint_ready(tcp.context, &tcb.endpoint, READY_WRITE)
    elif tcb.state == STATE_CLOSING:
        tcb_set_state(tcp, tcb, STATE_TIME_WAIT)
        enter_time_wait(tcp, tcb)
    elif tcb.state == STATE_LAST_ACK:
        metrics_save(tcp, tcb)
        tcb_finish(tcp, tcb, 0)
