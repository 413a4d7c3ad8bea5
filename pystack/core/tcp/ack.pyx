# The ACK field, step five of SEGMENT ARRIVES: what has arrived, how large the peer's window is, how
# long it took.
# Called by: input, handshake (the first window).
# RFCs: 9293 section 3.10.7.4, 5961 section 5, 7323 section 4, 2018, 2883.

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.memory.deadline cimport DEADLINE_NEVER
from pystack.core.memory.loan cimport loan_repay_below
from pystack.core.memory.ring cimport ring_consume
from pystack.core.tcp.arrival cimport arrival_acked, arrival_sacked
from pystack.core.tcp.busy cimport tcb_rare
from pystack.core.tcp.challenge cimport challenge_ack
from pystack.core.tcp.chrono cimport CHRONO_BUSY, chrono_stop
from pystack.core.tcp.clock cimport timestamp_now
from pystack.core.tcp.congestion.interface cimport congestion_sample
from pystack.core.tcp.ecn cimport ecn_is_echoed
from pystack.core.tcp.layer cimport CA_OPEN, Sent, Tcb, TcpLayer, TcpRare
from pystack.core.tcp.mss cimport sync_mss
from pystack.core.tcp.mtu_search cimport mtu_search_acked
from pystack.core.tcp.news cimport (
    NEWS_ACKED, NEWS_ADVANCED, NEWS_ALERT, NEWS_DATA, NEWS_DUPLICATE, NEWS_ECE, NEWS_NOT_DUPLICATE,
    NEWS_ORIGINAL_ARRIVED, NEWS_RETRANSMITTED_ACKED, NEWS_SET_TIMER, NEWS_WINDOW, AckNews,
)
from pystack.core.tcp.rack cimport rack_update_window
from pystack.core.tcp.recovery cimport recovery_acked, recovery_control
from pystack.core.tcp.reordering cimport duplicates_eat
from pystack.core.tcp.retransmission cimport (
    retransmit_timer_backed_off, retransmit_timer_restart,
)
from pystack.core.tcp.rtt cimport rtt_min, rtt_min_sample, rtt_sample
from pystack.core.tcp.scoreboard cimport sent_first, sent_highest_sacked, sent_in_flight
from pystack.core.tcp.send_buffer cimport send_buffer_moved
from pystack.core.tcp.tcb cimport tcb_idle, tcb_output_later, tcb_unsent
from pystack.core.tcp.tlp cimport tail_probe_acked
from pystack.core.wire.tcp cimport (
    TCP_FIN, TCP_OPT_SACK, TCP_OPT_TIMESTAMP, TCP_SYN, TcpOptions, TcpSegment, seq_ge, seq_gt,
    seq_le, seq_lt, seq_max,
)

cdef enum:
    MAX_WINDOW = 1 << 30        # RFC 7323 section 2.3


cdef bint fin_is_acked(const Tcb* tcb) noexcept nogil:
    return tcb.fin_sent and tcb.snd_una == tcb.snd_nxt


cdef void news_start(
        const Tcb* tcb, const TcpSegment* seg, const TcpOptions* options,
        AckNews* news) noexcept nogil:
    memset(news, 0, sizeof(AckNews))
    news.prior_una = tcb.snd_una
    news.reordered = tcb.snd_nxt
    news.delivered_before = tcb.delivered
    news.lost_before = tcb.rare.lost
    if tcb.timestamps_ok and options.present & TCP_OPT_TIMESTAMP:
        news.has_echo = True
        news.echoed = options.ts_ecr
    if seg.length or seg.flags & TCP_FIN:
        news.flags |= NEWS_DATA
    if ecn_is_echoed(tcb, seg):
        news.flags |= NEWS_ECE


cdef bint has_blocks(const Tcb* tcb, const TcpOptions* options) noexcept nogil:
    return tcb.sack_ok and options.present & TCP_OPT_SACK and options.sack_count != 0


cdef bint is_lone_and_short(const Tcb* tcb, const AckNews* news, uint32_t acked) noexcept nogil:
    """Its ACK may have been delayed: what was measured says little about the path (as Linux)."""
    return (news.acked_segments == 1 and acked < tcb.smss and tcb.busy.sacked_out == 0
            and tcb.busy.packets_out == 0)


cdef bint measure(
        TcpLayer* tcp, Tcb* tcb, uint32_t acked, AckNews* news) noexcept nogil:
    """One RTT sample per ACK: of the oldest segment that it acknowledges, if none of them was
    retransmitted (Karn); or of a selective acknowledgment; or of the echoed timestamp.
    """
    cdef int64_t now = tcp.context.now
    cdef int64_t sample = -1
    cdef int64_t latest = -1
    if news.first_acked_at and not news.flags & NEWS_RETRANSMITTED_ACKED:
        sample = now - news.first_acked_at
        latest = now - news.last_acked_at
    if news.first_sacked_at:
        latest = now - news.last_sacked_at
        if sample < 0:
            sample = now - news.first_sacked_at
    if sample < 0 and news.has_echo and news.echoed and news.flags & NEWS_ACKED:
        sample = <int64_t>(timestamp_now(tcp, tcb) - news.echoed) * 1_000_000
        if sample > <int64_t>0x7FFFFFFF * 1_000_000:
            return False
        sample = latest = max(sample, 1_000_000)
    if sample < 0:
        return False
    news.rtt = max(latest, 1)
    news.rtt_delayed = is_lone_and_short(tcb, news, acked)
    if latest <= rtt_min(&tcb.rtt) or not news.rtt_delayed:
        rtt_min_sample(tcp, tcb, latest)
    rtt_sample(tcp, tcb, sample)
    congestion_sample(tcp, tcb, latest)
    return True


cdef void advance(TcpLayer* tcp, Tcb* tcb, uint32_t ack, AckNews* news) noexcept nogil:
    """SND.UNA moves: free what the peer has."""
    cdef uint32_t acked = ack - tcb.snd_una
    news.flags |= NEWS_ADVANCED
    ring_consume(&tcb.busy.send_ring, acked - (1 if tcb.fin_sent and ack == tcb.snd_nxt else 0))
    loan_repay_below(&tcb.busy.loans, ack)
    tcb.snd_una = ack
    tcb.totals.bytes_acked += acked
    if ack - tcb.iss > MAX_WINDOW:
        tcb.far_from_iss = True
    # It stays within reach of comparison, however long no small segment is sent.
    tcb.busy.snd_small = seq_max(tcb.busy.snd_small, ack)
    tcb.busy.retransmits = 0
    tcb.busy.first_unacked_at = tcp.context.now
    if tcb.busy.urgent_out and seq_ge(ack, tcb.busy.snd_up):
        tcb.busy.urgent_out = False
    send_buffer_moved(tcp, tcb)


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


cdef void probing_input(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Something answered: probes go on only while the window stays too small (RFC 9293 section
    3.8.6.1).
    """
    cdef uint32_t edge = tcb.snd_una + tcb.snd_wnd
    # RFC 9293 sections 3.8.6 (SHLD-17) and 3.8.6.1 (MUST-37): whoever answers may keep its window
    # closed, even one that had been open.
    if tcb.busy.probing or tcb.snd_wnd == 0:
        tcb.busy.retransmits = 0
    if not tcb.busy.probing:
        return
    if seq_lt(edge, tcb.snd_nxt + min(tcb_unsent(tcb), tcb.smss)) or edge == tcb.snd_nxt:
        # As Linux, the next one waits from here, as long as it would have.
        retransmit_timer_backed_off(tcp, tcb)
        return
    tcb.busy.probing = False
    tcb.backoff = 0
    tcb.busy.retransmit_at = DEADLINE_NEVER


cdef uint32_t oldest_ack(const Tcb* tcb) noexcept nogil:
    """How far below SND.UNA an ACK may lie: MAX.SND.WND (RFC 5961 section 5.2), but nobody can have
    acknowledged what lies before our SYN.
    """
    return tcb.max_snd_wnd if tcb.far_from_iss else min(
        tcb.max_snd_wnd, tcb.snd_una - tcb.iss - tcb.passive)


cdef bint sack_is_later(TcpLayer* tcp, const Tcb* tcb, const AckNews* news) noexcept nogil:
    """What was sacked had been sent before the oldest outstanding segment last was: progress enough
    to start the timer anew. Otherwise it could be put off for ever.
    """
    cdef const Sent* sent = sent_first(tcb)
    return (sent != NULL and news.first_sacked_at != 0
            and tcp.context.now - news.first_sacked_at > tcp.context.now - sent.sent_at)


cdef bint is_dubious(const Tcb* tcb, const AckNews* news) noexcept nogil:
    return (not news.flags & NEWS_NOT_DUPLICATE or news.flags & NEWS_ALERT
            or tcb.busy.ca_state != CA_OPEN)


cdef void outstanding_acked(
        TcpLayer* tcp, Tcb* tcb, uint32_t ack, AckNews* news) noexcept nogil:
    """Linux's tcp_ack() from where something is outstanding: scoreboard, timing, loss recovery,
    timer, congestion window.
    """
    cdef bint duplicate
    cdef bint timed
    arrival_acked(tcp, tcb, news)
    timed = measure(tcp, tcb, ack - news.prior_una, news)
    if news.flags & NEWS_ACKED:
        news.flags |= NEWS_SET_TIMER
        if tcb.rare.search != NULL:
            mtu_search_acked(tcp, tcb)
        if not tcb.sack_ok:
            duplicates_eat(tcp, tcb, news.acked_segments)
            # Nothing tells which of the segments has arrived as an original.
            if news.flags & NEWS_RETRANSMITTED_ACKED:
                news.flags &= ~NEWS_ORIGINAL_ARRIVED
    elif timed and sack_is_later(tcp, tcb, news):
        news.flags |= NEWS_SET_TIMER
    rack_update_window(tcp, tcb, news)
    if tcb.busy.tail_probing:
        tail_probe_acked(tcp, tcb, ack, news)
    if is_dubious(tcb, news):
        duplicate = not news.flags & (NEWS_ADVANCED | NEWS_NOT_DUPLICATE | NEWS_DUPLICATE)
        recovery_acked(tcp, tcb, news, duplicate)
    if news.flags & NEWS_SET_TIMER:
        retransmit_timer_restart(tcp, tcb)
    recovery_control(tcp, tcb, news)


cdef void nothing_outstanding_acked(
        TcpLayer* tcp, Tcb* tcb, uint32_t ack, AckNews* news) noexcept nogil:
    """A D-SACK may still undo; a tail loss probe may still be answered."""
    tcb.keepalive_probes = 0
    if news.flags & NEWS_DUPLICATE:
        recovery_acked(tcp, tcb, news, False)
    if tcb.busy.tail_probing:
        tail_probe_acked(tcp, tcb, ack, news)


cdef void count_marked(Tcb* tcb, uint32_t segments) noexcept nogil:
    cdef TcpRare* rare = tcb_rare(tcb)
    if rare != NULL:
        rare.delivered_marked += segments


cdef bint ack_input(
        TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg, const TcpOptions* options) noexcept nogil:
    """Step five for the synchronized states (RFC 9293 section 3.10.7.4 with RFC 5961 section 5)."""
    cdef AckNews news
    cdef bint outstanding = tcb.busy.packets_out != 0
    cdef uint32_t largest = tcb.max_snd_wnd
    if seq_gt(seg.ack, tcb.snd_nxt) or seq_lt(seg.ack, tcb.snd_una - oldest_ack(tcb)):
        count(tcp.context, Counter.TCP_DROP_BAD_ACK)
        challenge_ack(tcp, tcb)
        return False
    news_start(tcb, seg, options, &news)
    if seq_lt(seg.ack, tcb.snd_una):
        # Old, but its data may be new (RFC 9293: the ACK can be ignored). Its SACK blocks still
        # hold.
        if has_blocks(tcb, options):
            arrival_sacked(tcp, tcb, seg.ack, options, &news)
            recovery_acked(tcp, tcb, &news, False)
            tcb_output_later(tcp, tcb)
        return True
    tcb.soft_error = 0          # as Linux: the path works
    if outstanding:
        news.in_flight_before = sent_in_flight(tcb)
        news.prior_highest = sent_highest_sacked(tcb)
    if window_input(tcb, seg):
        news.flags |= NEWS_WINDOW
    if tcb.max_snd_wnd != largest:
        sync_mss(tcp, tcb)
    if seg.ack != tcb.snd_una:
        advance(tcp, tcb, seg.ack, &news)
    if has_blocks(tcb, options):
        arrival_sacked(tcp, tcb, seg.ack, options, &news)
    if outstanding:
        outstanding_acked(tcp, tcb, seg.ack, &news)
    else:
        nothing_outstanding_acked(tcp, tcb, seg.ack, &news)
    probing_input(tcp, tcb)
    if news.flags & NEWS_ECE:
        count_marked(tcb, tcb.delivered - news.delivered_before)
    if tcb.snd_una == tcb.snd_nxt:
        chrono_stop(tcp, tcb, CHRONO_BUSY)
        tcb_idle(tcp, tcb)
        if tcb.busy.send_ring.length or tcb.fin_queued:
            tcb_output_later(tcp, tcb)
    elif outstanding:
        tcb_output_later(tcp, tcb)
    return True
