# Loss recovery: Linux's states Open, Disorder, CWR, Recovery and Loss; when to enter and to leave
# them, and what to send again.
# Called by: ack (after each ACK), timers, errors, output for what to retransmit.
# RFCs: 8985, 6675, 6582, 5681 section 3.2, 3042, 6298 section 5, 2018.

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t
from pystack.core.context cimport count, count_many
from pystack.core.counters cimport Counter
from pystack.core.tcp.congestion.algorithm cimport (
    CONGESTION_ECN, CONGESTION_LOSS, CONGESTION_TIMEOUT, CONGESTION_TIMEOUT_AGAIN,
)
from pystack.core.tcp.congestion.interface cimport (
    congestion_acked, congestion_control, congestion_controls, congestion_reduce,
)
from pystack.core.tcp.frto cimport frto_start, loss_acked
from pystack.core.tcp.layer cimport (
    CA_CWR, CA_DISORDER, CA_LOSS, CA_OPEN, CA_RECOVERY, RETRANSMIT_AFTER_NEW, RETRANSMIT_LOST,
    RETRANSMIT_NONE, SENT_JUDGED, SENT_LOST, SENT_RETRANSMITTED, SENT_SACKED, TIMER_REORDERING,
    TIMER_RTO, Sent, SentQueue, Tcb, TcpLayer,
)
from pystack.core.tcp.mtu_search cimport mtu_search_lost
from pystack.core.tcp.news cimport (
    NEWS_ACKED, NEWS_ADVANCED, NEWS_ECE, NEWS_LOST_AGAIN, NEWS_RENEGED, NEWS_SACKED, NEWS_SET_TIMER,
    AckNews,
)
from pystack.core.tcp.pacing cimport pacing_update
from pystack.core.tcp.prr cimport (
    in_reduction, prr_acked, prr_sent, reduction_end, reduction_start,
)
from pystack.core.tcp.rack cimport rack_detect_loss, rack_is_on, rack_mark_lost, rack_overdue
from pystack.core.tcp.rate cimport RateSample, rate_sample
from pystack.core.tcp.reordering cimport duplicate_add, duplicates_forget
from pystack.core.tcp.retransmission cimport (
    retransmit_timer_backed_off, retransmit_timer_rearm, retransmit_timer_set,
)
from pystack.core.tcp.scoreboard cimport (
    sent_begin, sent_first, sent_in_flight, sent_last, sent_mark_first_lost, sent_mark_lost,
    sent_mark_lost_by_count, sent_mark_too_big, sent_next_doubtful, sent_next_lost, sent_pipe,
    sent_retransmitted, sent_segments,
)
from pystack.core.tcp.tcb cimport tcb_output_later
from pystack.core.tcp.undo cimport (
    first_retransmit_forget, keep_open, undo_by_duplicates, undo_partial,
    undo_recovery, undo_retransmitted, undo_start,
)
from pystack.core.wire.tcp cimport seq_ge, seq_gt

cdef int64_t MILLISECOND = 1_000_000


# --- the states

cdef void enter_recovery(TcpLayer* tcp, Tcb* tcb, bint ece) noexcept nogil:
    """RFC 6675 section 5 step 4, RFC 6582 section 3.2 step 2, RFC 9937 section 6."""
    first_retransmit_forget(tcb)
    tcb.busy.undo_window = False
    undo_start(tcb)
    if not in_reduction(tcb):
        tcb.busy.undo_window = not ece
        reduction_start(tcp, tcb, CONGESTION_LOSS)
    tcb.busy.rescued = False
    tcb.busy.ca_state = CA_RECOVERY
    count(tcp.context, Counter.TCP_RECOVERIES)


cdef void enter_cwr(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """The window is reduced once per round trip (RFC 3168 section 6.1.2)."""
    tcb.busy.undo_window = False
    if tcb.busy.ca_state < CA_CWR:
        tcb.busy.undo = False
        reduction_start(tcp, tcb, CONGESTION_ECN)
        tcb.busy.ca_state = CA_CWR


cdef void try_to_open(TcpLayer* tcp, Tcb* tcb, const AckNews* news) noexcept nogil:
    first_retransmit_forget(tcb)
    if news.flags & NEWS_ECE:
        enter_cwr(tcp, tcb)
    if tcb.busy.ca_state != CA_CWR:
        keep_open(tcb)


cdef bint leave(TcpLayer* tcp, Tcb* tcb, const AckNews* news) noexcept nogil:
    """`recover` is acknowledged: the episode is over. False: nothing more is to be done."""
    if tcb.busy.ca_state == CA_CWR:
        # Held until something above is acknowledged, so that the peer has seen our CWR.
        if tcb.snd_una != tcb.busy.recover:
            reduction_end(tcp, tcb)
            tcb.busy.ca_state = CA_OPEN
    elif tcb.busy.ca_state == CA_RECOVERY:
        if not tcb.sack_ok:
            duplicates_forget(tcb)
        if undo_recovery(tcp, tcb, news):
            return False
        # The state has changed, but what it began has to be ended.
        reduction_end(tcp, tcb)
    return True


# --- what is lost

cdef void identify_losses(TcpLayer* tcp, Tcb* tcb, AckNews* news) noexcept nogil:
    """RACK; DupThresh duplicates where RACK is off (RFC 6675 section 4) or without SACK; each
    partial ACK without SACK (RFC 6582 section 3.2 step 3).
    """
    cdef uint32_t before = tcb.busy.retrans_out
    cdef bint enough = tcb.busy.sacked_out >= tcb.reordering
    if tcb.busy.packets_out == 0:
        return
    if not tcb.sack_ok:
        if (tcb.busy.ca_state < CA_RECOVERY and enough) or (
                tcb.busy.ca_state == CA_RECOVERY and news.flags & NEWS_ADVANCED):
            sent_mark_first_lost(tcb)
    elif not rack_is_on(tcp, tcb):
        if not sent_mark_lost_by_count(tcb) and tcb.busy.ca_state < CA_RECOVERY and enough:
            sent_mark_first_lost(tcb)
    elif rack_mark_lost(tcp, tcb):
        news.flags &= ~NEWS_SET_TIMER
    if before > tcb.busy.retrans_out:
        news.flags |= NEWS_LOST_AGAIN


cdef bint reneging(TcpLayer* tcp, Tcb* tcb, AckNews* news) noexcept nogil:
    """SND.UNA stands before something that the peer said it has: it has thrown it away (RFC 2018
    section 8). As Linux, wait a moment for its mind to change, then time out.
    """
    if news.flags & (NEWS_RENEGED | NEWS_ADVANCED) != NEWS_RENEGED | NEWS_ADVANCED:
        return False
    retransmit_timer_set(tcp, tcb, TIMER_RTO, max(tcb.rtt.srtt // 2, 10 * MILLISECOND))
    news.flags &= ~NEWS_SET_TIMER
    return True


# --- an ACK

cdef bint recovery_state_acked(
        TcpLayer* tcp, Tcb* tcb, AckNews* news, bint duplicate) noexcept nogil:
    """In Recovery. False: nothing is to be sent again."""
    if not news.flags & NEWS_ADVANCED:
        if not tcb.sack_ok and duplicate:
            duplicate_add(tcp, tcb)
    elif undo_partial(tcp, tcb, news):
        return False
    if undo_by_duplicates(tcp, tcb):
        try_to_open(tcp, tcb, news)
    identify_losses(tcp, tcb, news)
    if tcb.busy.ca_state != CA_RECOVERY:
        # Undone; but if there is a loss all the same, a new recovery begins.
        if tcb.busy.lost_out == 0:
            return False
        enter_recovery(tcp, tcb, news.flags & NEWS_ECE != 0)
    return True


cdef bint other_state_acked(
        TcpLayer* tcp, Tcb* tcb, AckNews* news, bint duplicate) noexcept nogil:
    if not tcb.sack_ok:
        if news.flags & NEWS_ADVANCED:
            duplicates_forget(tcb)
        if duplicate:
            duplicate_add(tcp, tcb)
    if tcb.busy.ca_state <= CA_DISORDER:
        undo_by_duplicates(tcp, tcb)
    identify_losses(tcp, tcb, news)
    if tcb.busy.lost_out == 0:
        try_to_open(tcp, tcb, news)
        if duplicate and tcb.busy.sacked_out:
            count(tcp.context, Counter.TCP_LIMITED_TRANSMITS)
        return False
    if mtu_search_lost(tcp, tcb):
        recovery_too_big(tcp, tcb)
        return False
    enter_recovery(tcp, tcb, news.flags & NEWS_ECE != 0)
    return True


cdef bint loss_state_acked(
        TcpLayer* tcp, Tcb* tcb, AckNews* news, bint duplicate) noexcept nogil:
    """In Loss. True: go on as in Open, because it is over or because retransmissions are lost."""
    loss_acked(tcp, tcb, news, duplicate)
    identify_losses(tcp, tcb, news)
    return tcb.busy.ca_state == CA_OPEN or news.flags & NEWS_LOST_AGAIN


cdef void recovery_acked(
        TcpLayer* tcp, Tcb* tcb, AckNews* news, bint duplicate) noexcept nogil:
    """Linux's tcp_fastretrans_alert(), step by step."""
    tcb.busy.retransmit = RETRANSMIT_NONE
    if duplicate:
        count(tcp.context, Counter.TCP_DUPLICATE_ACKS_IN)
    if tcb.busy.packets_out == 0:
        tcb.busy.sacked_out = 0
    if news.flags & NEWS_ECE:
        tcb.busy.undo_window = False         # the reduction is required
    if reneging(tcp, tcb, news):
        return
    if tcb.busy.ca_state == CA_OPEN:
        tcb.busy.first_retransmit = 0
    elif seq_ge(tcb.snd_una, tcb.busy.recover) and not leave(tcp, tcb, news):
        return
    if tcb.busy.ca_state == CA_RECOVERY:
        if recovery_state_acked(tcp, tcb, news, duplicate):
            tcb.busy.retransmit = RETRANSMIT_LOST
        return
    if tcb.busy.ca_state == CA_LOSS and not loss_state_acked(tcp, tcb, news, duplicate):
        return
    if other_state_acked(tcp, tcb, news, duplicate):
        tcb.busy.retransmit = RETRANSMIT_LOST


cdef inline void change_window(
        TcpLayer* tcp, Tcb* tcb, uint32_t delivered, const AckNews* news) noexcept nogil:
    if in_reduction(tcb):
        prr_acked(tcb, delivered, tcb.rare.lost - news.lost_before, news)
    elif delivered and (news.flags & NEWS_ACKED or (
            news.flags & NEWS_SACKED and tcb.reordering > tcb.config.reordering)):
        congestion_acked(tcp, tcb, delivered * tcb.smss)


cdef void recovery_control(TcpLayer* tcp, Tcb* tcb, const AckNews* news) noexcept nogil:
    """Reduce as the state demands, or grow; with much reordering also by what arrives out of order.
    """
    cdef uint32_t delivered = tcb.delivered - news.delivered_before
    cdef RateSample sample
    rate_sample(tcp, tcb, news, &sample)
    if not congestion_control(tcp, tcb, &sample):
        change_window(tcp, tcb, delivered, news)
        pacing_update(tcp, tcb)


# --- timers

cdef void mark_all_lost(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """After a timeout nothing is in the network any more (RFC 6675 section 5.1); but, as Linux,
    RACK still hopes for what was sent less than a round trip ago.
    """
    cdef SentQueue* queue
    cdef Sent* sent = sent_first(tcb)
    cdef bint reneged = sent != NULL and sent.flags & SENT_SACKED
    cdef uint32_t at
    if sent == NULL:
        return
    if reneged:
        count(tcp.context, Counter.TCP_SACK_RENEGED)
        tcb.busy.sacked_out = 0
        tcb.busy.reneged = True
    elif not tcb.sack_ok:
        duplicates_forget(tcb)
    if sent.flags & (SENT_LOST | SENT_RETRANSMITTED) == SENT_RETRANSMITTED:
        sent.flags &= ~SENT_RETRANSMITTED
        tcb.busy.retrans_out -= sent_segments(sent)
    queue = &tcb.busy.sent
    for at in range(queue.count):
        sent = queue.items + queue.first + at
        if reneged:
            # As Linux, RACK judges what had arrived only when it has been sent again.
            if sent.flags & SENT_SACKED:
                sent.flags = sent.flags & ~SENT_SACKED | SENT_JUDGED
        elif at and rack_is_on(tcp, tcb) and rack_overdue(tcp, tcb, sent.sent_at, 0) > 0:
            continue
        sent_mark_lost(tcb, sent)


cdef void recovery_timeout(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 6298 section 5, RFC 5681 section 3.1; Linux's tcp_enter_loss()."""
    cdef bint new_episode = tcb.busy.ca_state < CA_RECOVERY
    mark_all_lost(tcp, tcb)
    # RFC 5681 section 3.1: ssthresh once per window, and not again while one segment is repeated.
    if (tcb.busy.ca_state <= CA_DISORDER or not seq_gt(tcb.busy.recover, tcb.snd_una)
            or (tcb.busy.ca_state == CA_LOSS and tcb.busy.retransmits == 0)):
        tcb.busy.undo_window = True
        congestion_reduce(tcp, tcb, CONGESTION_TIMEOUT)
        undo_start(tcb)
    else:
        congestion_reduce(tcp, tcb, CONGESTION_TIMEOUT_AGAIN)
    tcb.congestion.cwnd = (sent_in_flight(tcb) + 1) * tcb.smss
    # So many duplicates, and a timeout after all: reordering was overestimated.
    if tcb.busy.ca_state <= CA_DISORDER and tcb.busy.sacked_out >= tcb.config.reordering:
        tcb.reordering = <uint16_t>min(<uint32_t>tcb.reordering, tcb.config.reordering)
    tcb.busy.ca_state = CA_LOSS
    tcb.busy.recover = tcb.snd_nxt
    tcb.busy.tail_probing = False
    frto_start(tcp, tcb, new_episode)
    tcb.busy.retransmit = RETRANSMIT_LOST


cdef void recovery_reordering_timeout(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 8985 section 6.2 step 5: the timer does what an ACK would have done."""
    cdef AckNews none
    cdef uint32_t before = sent_in_flight(tcb)
    cdef uint32_t lost = tcb.rare.lost
    rack_detect_loss(tcp, tcb)
    if sent_in_flight(tcb) != before and mtu_search_lost(tcp, tcb):
        recovery_too_big(tcp, tcb)
    elif sent_in_flight(tcb) != before:
        if tcb.busy.ca_state != CA_RECOVERY:
            enter_recovery(tcp, tcb, False)
            none.flags = 0
            if not congestion_controls(tcb):
                prr_acked(tcb, 1, tcb.rare.lost - lost, &none)
        tcb.busy.retransmit = RETRANSMIT_LOST
        tcb_output_later(tcp, tcb)
    tcb.busy.retransmit_timer = TIMER_REORDERING
    retransmit_timer_rearm(tcp, tcb)


cdef void repeat_at_once(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    if not tcb.sack_ok:
        # What duplicate ACKs have told stands, as far as it can.
        tcb.busy.sacked_out = min(
            tcb.busy.sacked_out,
            tcb.busy.packets_out - min(tcb.busy.packets_out, tcb.busy.lost_out))
    if tcb.busy.ca_state != CA_LOSS:
        tcb.busy.recover = tcb.snd_nxt
        tcb.busy.undo = False
        tcb.busy.undo_window = False
        tcb.busy.ca_state = CA_LOSS
    tcb.busy.frto = False
    tcb.busy.retransmit = RETRANSMIT_LOST
    tcb_output_later(tcp, tcb)


cdef void recovery_too_big(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 1191 section 6.4: retransmit at once. Nothing was congested: cwnd stays."""
    if sent_mark_too_big(tcb, tcb.smss):
        repeat_at_once(tcp, tcb)


cdef void recovery_fast_open(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 7413 section 4.2.1: neither was what a server did not take from a SYN."""
    sent_mark_lost(tcb, sent_first(tcb))
    repeat_at_once(tcp, tcb)


# --- output

cdef uint32_t allowed(const Tcb* tcb, uint32_t train, uint32_t mss) noexcept nogil:
    """Bytes that cwnd lets out as retransmissions, in whole segments."""
    cdef uint32_t pipe = sent_pipe(tcb)
    cdef uint32_t room = tcb.congestion.cwnd - min(pipe, tcb.congestion.cwnd)
    return min(train, room // tcb.smss * mss)


cdef Sent* recovery_within_window(Tcb* tcb, Sent* sent, uint32_t mss) noexcept nogil:
    """As Linux, what lies beyond a window that has shrunk is not repeated (RFC 9293 section 3.8.6,
    SHLD-16), except for the first segment, if nothing is left of the window: that one probes.
    """
    cdef int32_t room
    if sent == NULL:
        return NULL
    room = <int32_t>(tcb.snd_una + tcb.snd_wnd - sent.seq)
    if room <= 0:
        if sent.seq != tcb.snd_una:
            return NULL
        room = mss
    return sent_begin(tcb, sent, room, mss)


cdef Sent* recovery_next(
        TcpLayer* tcp, Tcb* tcb, uint32_t train, uint32_t mss,
        bint new_data_possible) noexcept nogil:
    """RFC 6675 NextSeg(); rules 3 and 4 only where RACK and its probes do not take their place."""
    cdef Sent* sent
    cdef uint32_t size
    if tcb.busy.retransmit == RETRANSMIT_AFTER_NEW:
        # RFC 5682 section 3.1 step 2.b: new data, if there is some.
        if new_data_possible or seq_gt(tcb.snd_nxt, tcb.busy.recover):
            return NULL
        tcb.busy.frto = False
        tcb.busy.retransmit = RETRANSMIT_LOST
    if tcb.busy.retransmit != RETRANSMIT_LOST:
        return NULL
    size = allowed(tcb, train, mss)
    if size == 0:
        return NULL
    sent = sent_next_lost(tcb, size, mss)
    if (sent == NULL and not new_data_possible and tcb.busy.ca_state == CA_RECOVERY
            and tcb.sack_ok and not rack_is_on(tcp, tcb)):
        sent = sent_next_doubtful(tcb, size, mss)
        if sent == NULL and not tcb.busy.rescued:
            tcb.busy.rescued = True
            sent = sent_last(tcb, mss)
            if sent != NULL and sent.flags & (SENT_SACKED | SENT_RETRANSMITTED):
                sent = NULL
    return recovery_within_window(tcb, sent, mss)


cdef void recovery_sent_again(TcpLayer* tcp, Tcb* tcb, Sent* sent) noexcept nogil:
    """RFC 6298 section 5 with RFC 6675 section 5 step 4.3: the timer starts anew with the first
    segment outstanding.
    """
    cdef uint32_t segments = sent_segments(sent)
    count_many(tcp.context, Counter.TCP_RETRANSMITTED_SEGMENTS, segments)
    if tcb.busy.ca_state != CA_LOSS:
        count_many(tcp.context, Counter.TCP_FAST_RETRANSMITS, segments)
    sent_retransmitted(tcb, sent, tcp.context.now)
    undo_retransmitted(tcp, tcb, segments)
    prr_sent(tcb, segments)
    if sent == sent_first(tcb) and tcb.busy.retransmit_timer != TIMER_REORDERING:
        retransmit_timer_backed_off(tcp, tcb)
