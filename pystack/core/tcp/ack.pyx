# The ACK field, step five of SEGMENT ARRIVES: what has arrived, how large the peer's window is, how
# long it took.
# Called by: input.
# RFCs: 9293 section 3.10.7.4, 5961 section 5, 7323 section 4, 2018, 2883.

from libc.stdint cimport int32_t, int64_t, uint32_t
from pystack.core.context cimport count, endpoint_ready
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport READY_WRITE
from pystack.core.memory.deadline cimport DEADLINE_NEVER
from pystack.core.memory.ring cimport ring_consume
from pystack.core.tcp.challenge cimport challenge_ack
from pystack.core.tcp.clock cimport timestamp_now
from pystack.core.tcp.congestion.interface cimport congestion_sample
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.recovery cimport recovery_acked
from pystack.core.tcp.rtt cimport rtt_sample, rtt_timeout
from pystack.core.tcp.scoreboard cimport sent_acknowledge, sent_sack
from pystack.core.tcp.tcb cimport tcb_idle, tcb_output_later, tcb_rearm
from pystack.core.wire.tcp cimport (
    TCP_FIN, TCP_OPT_SACK, TCP_OPT_TIMESTAMP, TCP_SYN, TcpOptions, TcpSegment, seq_ge, seq_gt,
    seq_le, seq_lt, seq_max,
)

cdef enum:
    MAX_WINDOW = 1 << 30        # RFC 7323 section 2.3


cdef bint fin_is_acked(const Tcb* tcb) noexcept nogil:
    return tcb.fin_sent and tcb.snd_una == tcb.snd_nxt


cdef bint send_buffer_has_room(const Tcb* tcb) noexcept nogil:
    """A third of the buffer is free: worth waking a writer for (as Linux)."""
    return tcb.send_ring.length <= tcb.settings.send_buffer - tcb.settings.send_buffer // 3


cdef uint32_t sack_input(Tcb* tcb, const TcpOptions* options) noexcept nogil:
    """Bring the scoreboard up to date; return the bytes that are news.

    Blocks outside (snd_una, snd_nxt] say nothing that we could use: D-SACKs and lies
    (RFC 2883, RFC 6675).
    """
    cdef uint32_t news = 0
    cdef int i
    if not tcb.sack_ok or not options.present & TCP_OPT_SACK:
        return 0
    for i in range(options.sack_count):
        if (seq_lt(options.sack[i].start, options.sack[i].end)
                and seq_gt(options.sack[i].start, tcb.snd_una)
                and seq_le(options.sack[i].end, tcb.snd_nxt)):
            news += sent_sack(tcb, options.sack[i].start, options.sack[i].end)
    return news


cdef void measure(
        TcpLayer* tcp, Tcb* tcb, int64_t sent_at, const TcpOptions* options) noexcept nogil:
    """One RTT sample per ACK of new data: our own clock, or the echoed timestamp after a
    retransmission.
    """
    cdef int32_t ticks
    if sent_at:
        rtt_sample(&tcb.rtt, tcp.context.now - sent_at, &tcp.config)
        congestion_sample(tcp, tcb, tcp.context.now - sent_at)
    elif tcb.timestamps_ok and options.present & TCP_OPT_TIMESTAMP and options.ts_ecr:
        ticks = <int32_t>(timestamp_now(tcp, tcb) - options.ts_ecr)
        if ticks >= 0:
            rtt_sample(&tcb.rtt, <int64_t>ticks * 1_000_000, &tcp.config)
            congestion_sample(tcp, tcb, <int64_t>ticks * 1_000_000)


cdef void advance(TcpLayer* tcp, Tcb* tcb, uint32_t ack, const TcpOptions* options) noexcept nogil:
    """SND.UNA moves: free what the peer has, time it, restart the timer (RFC 6298 section 5.3)."""
    cdef uint32_t acked = ack - tcb.snd_una
    cdef int64_t sent_at
    sent_acknowledge(tcb, ack, &sent_at)
    measure(tcp, tcb, sent_at, options)
    ring_consume(&tcb.send_ring, acked - (1 if tcb.fin_sent and ack == tcb.snd_nxt else 0))
    tcb.snd_una = ack
    if ack - tcb.iss > MAX_WINDOW:
        tcb.far_from_iss = True
    # It stays within reach of comparison, however long no small segment is sent.
    tcb.snd_small = seq_max(tcb.snd_small, ack)
    tcb.retransmits = 0
    tcb.soft_error = 0
    tcb.first_unacked_at = tcp.context.now
    if tcb.urgent_out and seq_ge(ack, tcb.snd_up):
        tcb.urgent_out = False
    if ack == tcb.snd_nxt:
        tcb.retransmit_at = DEADLINE_NEVER
    else:
        tcb.retransmit_at = tcp.context.now + rtt_timeout(&tcb.rtt, &tcp.config)
        tcb_rearm(tcp, tcb)
    if tcb.write_blocked and send_buffer_has_room(tcb):
        tcb.write_blocked = False
        endpoint_ready(tcp.context, &tcb.endpoint, READY_WRITE)


cdef uint32_t segment_window(const Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """SEG.WND in bytes; that of a SYN is never scaled (RFC 7323 section 2.2)."""
    return seg.window if seg.flags & TCP_SYN else <uint32_t>seg.window << tcb.snd_scale


cdef bint window_input(Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """Take over the peer's window if the segment is not older than the last one; True if it
    changed.

    As Linux, an ACK of something new is newer, whatever its sequence number: one from beyond a hole
    (RFC 9293 section 3.10.7.4 fifth) would otherwise hide all windows until the hole is filled.
    """
    cdef uint32_t window = segment_window(tcb, seg)
    cdef bint changed
    if not (seq_gt(seg.ack, tcb.snd_una) or seq_lt(tcb.snd_wl1, seg.seq)
            or (tcb.snd_wl1 == seg.seq and seq_le(tcb.snd_wl2, seg.ack))):
        return False
    changed = window != tcb.snd_wnd
    tcb.snd_wnd = window
    tcb.snd_wl1 = seg.seq
    tcb.snd_wl2 = seg.ack
    tcb.max_snd_wnd = max(tcb.max_snd_wnd, window)
    return changed


cdef void probing_input(Tcb* tcb) noexcept nogil:
    """Something answered: probes go on only while the window stays too small (RFC 9293 section
    3.8.6.1).
    """
    # RFC 9293 sections 3.8.6 (SHLD-17) and 3.8.6.1 (MUST-37): whoever answers may keep its window
    # closed, even one that had been open.
    if tcb.snd_wnd == 0:
        tcb.retransmits = 0
        return
    if not tcb.probing:
        return
    tcb.retransmits = 0
    tcb.probing = False
    tcb.rtt.backoff = 0
    tcb.retransmit_at = DEADLINE_NEVER


cdef uint32_t oldest_ack(const Tcb* tcb) noexcept nogil:
    """How far below SND.UNA an ACK may lie: MAX.SND.WND (RFC 5961 section 5.2), but nobody can have
    acknowledged what lies before our SYN.
    """
    return tcb.max_snd_wnd if tcb.far_from_iss else min(
        tcb.max_snd_wnd, tcb.snd_una - tcb.iss - tcb.passive)


cdef bint ack_input(
        TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg, const TcpOptions* options) noexcept nogil:
    """Step five for the synchronized states (RFC 9293 section 3.10.7.4 with RFC 5961 section 5)."""
    cdef uint32_t acked = seg.ack - tcb.snd_una
    cdef uint32_t sacked
    cdef bint duplicate
    cdef bint window_changed
    if seq_gt(seg.ack, tcb.snd_nxt) or seq_lt(seg.ack, tcb.snd_una - oldest_ack(tcb)):
        count(tcp.context, Counter.TCP_DROP_BAD_ACK)
        challenge_ack(tcp, tcb)
        return False
    if seq_lt(seg.ack, tcb.snd_una):
        # Old, but its data may be new (RFC 9293: the ACK can be ignored). Its SACK blocks still
        # hold.
        if sack_input(tcb, options):
            tcb_output_later(tcp, tcb)
        return True
    sacked = sack_input(tcb, options)
    window_changed = window_input(tcb, seg)
    # RFC 6675 section 2: with SACK a duplicate has news; without, RFC 5681 section 2.
    duplicate = acked == 0 and tcb.snd_nxt != tcb.snd_una and (
        sacked != 0 if tcb.sack_ok
        else seg.length == 0 and not window_changed and not seg.flags & TCP_FIN)
    if acked:
        advance(tcp, tcb, seg.ack, options)
    if acked or sacked or duplicate:
        recovery_acked(tcp, tcb, acked, sacked, duplicate)
    probing_input(tcb)
    if tcb.snd_una == tcb.snd_nxt:
        if tcb.busy != NULL or tcb.send_ring.length == 0:
            tcb_idle(tcb)
        if tcb.send_ring.length or tcb.fin_queued:
            tcb_output_later(tcp, tcb)
    elif acked or sacked or duplicate or window_changed:
        tcb_output_later(tcp, tcb)
    return True
