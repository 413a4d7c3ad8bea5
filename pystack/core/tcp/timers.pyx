# What happens when time passes: retransmission, zero-window probe, delayed ACK, keepalive, TIME-
# WAIT, orphans.
# Called by: stack (tcp_timer), input, handshake, text and calls (entering the states that wait).
# RFCs: 6298 section 5, 1122 sections 4.2.2.17, 4.2.3.5 and 4.2.3.6, 9293 section 3.8, 5482.

from libc.errno cimport ETIMEDOUT
from libc.stdint cimport int64_t, uint32_t
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport MANNER_NO_LABEL, MANNER_OWN_LABEL
from pystack.core.ip.flow_label cimport flow_label_new
from pystack.core.memory.deadline cimport DEADLINE_NEVER
from pystack.core.memory.ring cimport ring_release
from pystack.core.tcp.acknowledge cimport acknowledge_timer
from pystack.core.tcp.busy cimport tcb_is_awake, tcb_rare, tcb_wake
from pystack.core.tcp.clock cimport timestamp_now
from pystack.core.tcp.fast_open cimport fast_open_timeout, is_early
from pystack.core.tcp.layer cimport (
    RETRANSMIT_NONE, STATE_CLOSED, STATE_CLOSE_WAIT, STATE_ESTABLISHED, STATE_FIN_WAIT_2,
    STATE_SYN_RECEIVED, STATE_SYN_SENT, STATE_TIME_WAIT, TIMER_REORDERING, TIMER_TAIL_PROBE,
    Tcb, TcpLayer, TcpRare,
)
from pystack.core.tcp.metrics cimport metrics_save
from pystack.core.tcp.mtu_search cimport mtu_search_black_hole
from pystack.core.tcp.recovery cimport recovery_reordering_timeout, recovery_timeout
from pystack.core.tcp.retransmission cimport (
    retransmit_timer_backed_off, retransmit_timer_rearm,
)
from pystack.core.tcp.rtt cimport rtt_back_off, rtt_timeout
from pystack.core.tcp.segments cimport send_probe, send_reset, send_syn
from pystack.core.tcp.tcb cimport (
    tcb_finish, tcb_flight, tcb_idle, tcb_list_push, tcb_list_remove, tcb_output_later, tcb_rearm,
)
from pystack.core.wire.address cimport addr_is_v4
from pystack.core.wire.tcp cimport seq_gt

# As Linux: a thin stream is one with fewer segments outstanding than this; it repeats the first
# timeouts without back-off.
cdef enum:
    THIN = 4
    THIN_TIMEOUTS = 6

cdef int64_t SECOND = 1_000_000_000
cdef int64_t MILLISECOND = 1_000_000


cdef bint user_timeout_is_over(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    return tcb.settings.user_timeout_ms != 0 and tcb.busy.first_unacked_at != 0 and (
        tcp.context.now - tcb.busy.first_unacked_at >= tcb.settings.user_timeout_ms * MILLISECOND)


cdef bint give_up(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """R2 of RFC 1122 section 4.2.3.5; the user timeout, if there is one, decides alone (RFC 5482).
    """
    # As Linux: a peer that answers but never opens its window does not keep an orphan for ever.
    if not tcb.held and tcb.busy.listener == NULL and tcb.snd_wnd == 0 and (
            tcb.backoff >= tcb.config.orphan_retries):
        return True
    if tcb.settings.user_timeout_ms and tcb.held:
        return user_timeout_is_over(tcp, tcb)
    return tcb.busy.retransmits >= (
        tcb.config.retries2 if tcb.held or tcb.busy.listener != NULL
        else tcb.config.orphan_retries)


cdef void time_out(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """An earlier ICMP error says more than "timed out" (RFC 5461 section 3)."""
    count(tcp.context, Counter.TCP_CONNECTIONS_TIMED_OUT)
    tcb_finish(tcp, tcb, tcb.soft_error if tcb.soft_error else ETIMEDOUT)


cdef void change_path(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """As Linux: where routers spread flows by their labels (RFC 6438), another one may lead around
    what has lost the segments.
    """
    cdef int chosen = tcb.endpoint.manners & (MANNER_NO_LABEL | MANNER_OWN_LABEL)
    cdef TcpRare* rare = tcb_rare(tcb)
    if rare != NULL:
        rare.path_changes += 1
    if not chosen and not addr_is_v4(&tcb.endpoint.key.remote):
        tcb.endpoint.marking.flow_label = flow_label_new(tcp.context)


cdef int64_t syn_time(const Tcb* tcb, uint32_t repetitions) noexcept nogil:
    """How long so many SYNs after the first take, with back-off, until they are given up."""
    cdef int64_t rto = tcb.config.rto_initial
    cdef int64_t total = 0
    cdef uint32_t _i
    for _i in range(repetitions + 1):
        total += rto
        rto = min(2 * rto, tcb.config.rto_max)
    return total


cdef void add_timeout(Tcb* tcb) noexcept nogil:
    cdef TcpRare* rare = tcb_rare(tcb)
    if rare != NULL:
        rare.timeouts += 1
        rare.timeout_episodes += tcb.busy.retransmits == 0


cdef void note_timeout(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    count(tcp.context, Counter.TCP_TIMEOUTS)
    change_path(tcp, tcb)
    add_timeout(tcb)


cdef void early_backed_off(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """The SYN-ACK of a fast open, that text may have followed; as Linux, the second timeout takes
    cwnd back to a segment (RFC 5681 section 3.1), as it would before an ordinary connection.
    """
    if tcb.busy.retransmits == 2:
        if tcb.busy.packets_out:
            recovery_timeout(tcp, tcb)
            tcb.busy.retransmit = RETRANSMIT_NONE
        else:
            tcb.congestion.cwnd = tcb.smss
    tcb.busy.retransmit_at = tcp.context.now + min(
        tcb.config.rto_initial << tcb.backoff, tcb.config.rto_max)
    tcb_rearm(tcp, tcb)


cdef uint32_t syn_limit(const Tcb* tcb) noexcept nogil:
    """TCP_SYNCNT counts for a listener's SYN-ACKs too, as in Linux."""
    if tcb.settings.syn_retries:
        return tcb.settings.syn_retries + is_early(tcb)
    return tcb.config.synack_retries + is_early(tcb) if tcb.passive else tcb.config.syn_retries


cdef void repeat_syn(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef TcpRare* rare = tcb_rare(tcb)
    count(tcp.context, Counter.TCP_RETRANSMITTED_SEGMENTS)
    if rare != NULL:
        rare.total_retransmitted += 1
    send_syn(tcp, tcb)


cdef bint deferring(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """TCP_DEFER_ACCEPT: the last ACK came and text is waited for; True: not yet in vain.

    As Linux, the last period of the wait repeats the SYN-ACK, to draw an ACK that counts.
    """
    cdef uint32_t wait = tcb.settings.defer_accept
    if not tcb.busy.handshake_acked or tcb.busy.retransmits >= wait:
        return False
    add_timeout(tcb)
    tcb.busy.retransmits += 1
    rtt_back_off(tcb)
    retransmit_timer_backed_off(tcp, tcb)
    if tcb.busy.retransmits >= wait:
        repeat_syn(tcp, tcb)
    return True


cdef void syn_timer(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef uint32_t limit = syn_limit(tcb)
    cdef uint32_t linear = tcb.config.syn_linear_timeouts if tcb.state == STATE_SYN_SENT else 0
    if tcb.passive and tcb.settings.defer_accept and deferring(tcp, tcb):
        return
    if tcb.busy.retransmits >= limit + linear or user_timeout_is_over(tcp, tcb) or (
            linear and not tcb.settings.user_timeout_ms
            and tcp.context.now - tcb.busy.first_unacked_at >= syn_time(tcb, limit)):
        fast_open_timeout(tcp, tcb, True)
        time_out(tcp, tcb)
        return
    fast_open_timeout(tcp, tcb, False)
    note_timeout(tcp, tcb)
    tcb.busy.retransmits += 1
    # As Linux, the first SYNs of an active open are repeated without back-off, and do not count
    # towards the limit; but all of them take no longer than the limit does with back-off.
    if tcb.busy.retransmits > linear:
        rtt_back_off(tcb)
    if is_early(tcb):
        early_backed_off(tcp, tcb)
    else:
        retransmit_timer_backed_off(tcp, tcb)
    repeat_syn(tcp, tcb)


cdef bint backs_off(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """Not a thin stream, if the stack is so configured: four segments at most cannot bring enough
    duplicates for a fast retransmission, and do no harm (as Linux's tcp_thin_linear_timeouts).
    """
    return not (tcb.config.thin_linear_timeouts and tcb.state == STATE_ESTABLISHED
                and tcb.busy.packets_out < THIN and tcb.busy.retransmits <= THIN_TIMEOUTS)


cdef bint path_is_doubted(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """R1 of RFC 1122 section 4.2.3.5. As Linux it is a time: as long after the first of the
    retransmissions as so many with back-off take where the RTO is at its minimum.
    """
    cdef int64_t least = tcb.config.rto_min
    cdef int64_t total = 0
    cdef uint32_t _i
    if tcb.busy.retransmits == 0 or tcb.busy.first_retransmit == 0:
        return False
    for _i in range(tcb.config.retries1 + 1):
        total += least
        least = min(2 * least, tcb.config.rto_max)
    return <int64_t>(timestamp_now(tcp, tcb) - tcb.busy.first_retransmit) * MILLISECOND >= total


cdef void retransmission_timer(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 6298 section 5.4 to 5.6."""
    if tcb_flight(tcb) == 0:
        return
    if give_up(tcp, tcb):
        fast_open_timeout(tcp, tcb, True)
        time_out(tcp, tcb)
        return
    fast_open_timeout(tcp, tcb, False)
    note_timeout(tcp, tcb)
    if path_is_doubted(tcp, tcb):
        mtu_search_black_hole(tcp, tcb)
    recovery_timeout(tcp, tcb)
    tcb.busy.retransmits += 1
    if backs_off(tcp, tcb):
        rtt_back_off(tcb)
    else:
        tcb.backoff = 0
    retransmit_timer_backed_off(tcp, tcb)
    tcb_output_later(tcp, tcb)


cdef void tail_probe_timer(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 8985 section 7.3: at most one probe is outstanding."""
    if tcb.busy.tail_probing or tcb.busy.packets_out == 0:
        retransmit_timer_rearm(tcp, tcb)
        return
    tcb.busy.tail_probe_due = True
    tcb_output_later(tcp, tcb)


cdef void outstanding_timer(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    if tcb.busy.retransmit_timer == TIMER_TAIL_PROBE:
        tail_probe_timer(tcp, tcb)
    elif tcb.busy.retransmit_timer == TIMER_REORDERING:
        recovery_reordering_timeout(tcp, tcb)
    else:
        retransmission_timer(tcp, tcb)


cdef void probe_timer(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """The zero-window probe; or the override for data that cork or a silly window has held back."""
    if seq_gt(tcb.snd_una + tcb.snd_wnd, tcb.snd_nxt):
        tcb.busy.probing = False
        tcb.busy.more = False        # as Linux, with PSH: nothing has come
        tcb.busy.output_forced = True
        tcb_output_later(tcp, tcb)
        return
    if give_up(tcp, tcb) or user_timeout_is_over(tcp, tcb):
        time_out(tcp, tcb)
        return
    if tcb.busy.first_unacked_at == 0:
        tcb.busy.first_unacked_at = tcp.context.now
    count(tcp.context, Counter.TCP_ZERO_WINDOW_PROBES)
    tcb.busy.retransmits += 1
    rtt_back_off(tcb)
    retransmit_timer_backed_off(tcp, tcb)
    send_probe(tcp, tcb)


cdef void keepalive_timer(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 1122 section 4.2.3.6: only an idle connection is probed."""
    cdef int64_t idle = tcb.settings.keepalive_idle_s * SECOND
    cdef int64_t silence = tcp.context.now - tcb.last_received_at
    if not tcb.settings.keepalive:
        return
    if tcb_flight(tcb) or tcb.busy.probing or silence < idle:
        tcb.keepalive_probes = 0
        tcb.other_at = tcp.context.now + idle
        if not (tcb_flight(tcb) or tcb.busy.probing):
            tcb.other_at -= silence
        return
    if tcb.keepalive_probes and (
            silence >= tcb.settings.user_timeout_ms * MILLISECOND if tcb.settings.user_timeout_ms
            else tcb.keepalive_probes >= tcb.settings.keepalive_count):
        send_reset(tcp, tcb)
        time_out(tcp, tcb)
        return
    count(tcp.context, Counter.TCP_KEEPALIVES)
    tcb.keepalive_probes += 1
    tcb.other_at = tcp.context.now + tcb.settings.keepalive_interval_s * SECOND
    send_probe(tcp, tcb)


cdef void other_timer(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    if tcb.state == STATE_TIME_WAIT or (tcb.state == STATE_FIN_WAIT_2 and not tcb.held):
        tcb_finish(tcp, tcb, 0)
    elif tcb.state >= STATE_ESTABLISHED:
        keepalive_timer(tcp, tcb)


cdef void tcp_timer(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """The TCB's deadline has fired; it may be earlier than any timer, because timers move without
    telling it.
    """
    cdef int64_t now = tcp.context.now
    if (tcb_is_awake(tcb) or tcb.other_at <= now) and not tcb_wake(tcp, tcb):
        tcb.other_at = now + SECOND     # out of memory: later
        tcb_rearm(tcp, tcb)
        return
    if tcb.busy.ack_at <= now:
        acknowledge_timer(tcp, tcb)
    if tcb.busy.retransmit_at <= now:
        tcb.busy.retransmit_at = DEADLINE_NEVER
        if tcb.busy.probing:
            probe_timer(tcp, tcb)
        elif tcb.state in (STATE_SYN_SENT, STATE_SYN_RECEIVED) or is_early(tcb):
            syn_timer(tcp, tcb)
        else:
            outstanding_timer(tcp, tcb)
    if tcb.busy.pace_at <= now:
        tcb.busy.pace_at = DEADLINE_NEVER
        tcb_output_later(tcp, tcb)
    if tcb.other_at <= now:
        tcb.other_at = DEADLINE_NEVER
        other_timer(tcp, tcb)
    if tcb.state != STATE_CLOSED:
        tcb_rearm(tcp, tcb)


cdef void enter_time_wait(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Wait 2 MSL from now (RFC 9293 section 3.6.1); the oldest goes when there are too many."""
    if tcb.busy.list != &tcp.time_wait:
        metrics_save(tcp, tcb)
    ring_release(&tcb.busy.send_ring, &tcp.context.rings)
    tcb_idle(tcp, tcb)
    tcb_list_remove(tcb)
    tcb_list_push(&tcp.time_wait, tcb)
    tcb.busy.probing = False
    tcb.busy.retransmit_at = DEADLINE_NEVER
    tcb.other_at = tcp.context.now + tcb.config.time_wait
    tcb_rearm(tcp, tcb)
    if tcp.time_wait.count > tcp.config.max_time_wait:
        count(tcp.context, Counter.TCP_TIME_WAIT_RECYCLED)
        tcb_finish(tcp, tcp.time_wait.first, 0)


cdef void fin_wait_2_timer(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """As Linux: an orphan waits a bounded time for the peer's FIN."""
    cdef int64_t wait = tcb.config.fin_timeout
    if tcb.held or tcb.state != STATE_FIN_WAIT_2:
        return
    if tcb.settings.linger2_s > 0:
        wait = tcb.settings.linger2_s * SECOND
    # As Linux: time enough for the FIN to be lost and to come again.
    wait = max(wait, rtt_timeout(tcb) * 7 // 2)
    tcb.other_at = tcp.context.now + wait
    tcb_rearm(tcp, tcb)


cdef void keepalive_from(TcpLayer* tcp, Tcb* tcb, int64_t start) noexcept nogil:
    if not tcb.settings.keepalive or tcb.state not in (STATE_ESTABLISHED, STATE_CLOSE_WAIT):
        return
    tcb.keepalive_probes = 0
    tcb.other_at = max(tcp.context.now, start + tcb.settings.keepalive_idle_s * SECOND)
    tcb_rearm(tcp, tcb)


cdef void keepalive_restart(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    keepalive_from(tcp, tcb, tcp.context.now)


cdef void keepalive_retime(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """As Linux, another idle time counts from the last segment, not from now."""
    keepalive_from(tcp, tcb, tcb.last_received_at)
