# RACK: what was sent before something that has arrived, and long enough ago, is lost.
# Called by: arrival (each delivery), recovery (detection), timers (the reordering timer), undo.
# RFCs: 8985 sections 5 and 6.

from libc.stdint cimport int64_t, uint8_t, uint32_t
from pystack.core.tcp.layer cimport (
    CA_RECOVERY, SENT_EVER_RETRANSMITTED, SENT_JUDGED, SENT_LOST, SENT_RETRANSMITTED,
    TIMER_REORDERING, Sent, SentQueue, Tcb, TcpLayer,
)
from pystack.core.tcp.news cimport AckNews
from pystack.core.tcp.retransmission cimport TIMER_LEAST, retransmit_timer_set
from pystack.core.tcp.rtt cimport rtt_min
from pystack.core.tcp.scoreboard cimport sent_mark_lost
from pystack.core.tcp.sent_order cimport (
    NO_RECORD, order_after, order_mark, order_newer, order_older, order_remove, sent_find,
)
from pystack.core.wire.tcp cimport seq_gt, seq_le, seq_lt

# Bits of TcpConfig.recovery, as of Linux's tcp_recovery.
cdef enum:
    RECOVERY_RACK = 1
    RECOVERY_STATIC_WINDOW = 2
    RECOVERY_NO_DUP_THRESH = 4

cdef enum:
    PERSIST = 16            # RFC 8985 section 6.2 step 4: recoveries that a widened window lasts
    MAX_STEPS = 255


cdef bint rack_is_on(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    return tcb.sack_ok and tcb.config.recovery & RECOVERY_RACK


cdef bint sent_after(
        const Tcb* tcb, int64_t t1, uint32_t end1, bint again1, int64_t t2, uint32_t end2,
        bint again2) noexcept nogil:
    """RACK_sent_after() (section 6.2 step 2): what was sent at the same time is in order of its
    numbers; but what had made recovery begin was sent before all that is sent again.
    """
    if t1 != t2:
        return t1 > t2
    if again2 and not again1 and seq_le(end1, tcb.busy.recover):
        return False
    return seq_gt(end1, end2)


cdef void rack_advance(
        TcpLayer* tcp, Tcb* tcb, uint8_t flags, uint32_t end, int64_t sent_at) noexcept nogil:
    """Section 6.2 step 2: the latest transmission that is known to have arrived."""
    cdef int64_t rtt = tcp.context.now - sent_at
    cdef bint again = flags & SENT_EVER_RETRANSMITTED != 0
    if again and rtt < rtt_min(&tcb.rtt):
        # Too soon for an answer to the retransmission: it was the original that arrived.
        return
    tcb.busy.rack.advanced = True
    tcb.busy.rack.rtt = rtt
    if sent_after(tcb, sent_at, end, again,
                  tcb.busy.rack.sent_at, tcb.busy.rack.end, tcb.busy.rack.again):
        tcb.busy.rack.sent_at = sent_at
        tcb.busy.rack.end = end
        tcb.busy.rack.again = again


cdef int64_t reordering_window(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """RACK_update_reo_wnd(), section 6.2 step 4: none while nothing was ever reordered and losses
    are evident; else a quarter of the least round trip, more after D-SACKs, at most SRTT.
    """
    if tcb.rare.reordering_seen == 0:
        if tcb.busy.ca_state >= CA_RECOVERY:
            return 0
        if (tcb.busy.sacked_out >= tcb.reordering
                and not tcb.config.recovery & RECOVERY_NO_DUP_THRESH):
            return 0
    return min(rtt_min(&tcb.rtt) // 4 * tcb.rack_steps, tcb.rtt.srtt)


cdef int64_t rack_overdue(
        const TcpLayer* tcp, const Tcb* tcb, int64_t sent_at, int64_t window) noexcept nogil:
    return tcb.busy.rack.rtt + window - (tcp.context.now - sent_at)


cdef void overtake(Tcb* tcb) noexcept nogil:
    """Something has arrived: move the mark beyond all that was sent before it."""
    cdef SentQueue* queue = &tcb.busy.sent
    cdef uint32_t at = order_after(queue, &queue.order.overtaken)
    cdef const Sent* sent
    while at != NO_RECORD:
        sent = queue.items + queue.first + at
        if not sent_after(tcb, tcb.busy.rack.sent_at, tcb.busy.rack.end, tcb.busy.rack.again,
                          sent.sent_at, sent.end, sent.flags & SENT_EVER_RETRANSMITTED != 0):
            break
        order_mark(&queue.order.overtaken, sent)
        at = order_newer(queue, at)


cdef bint is_in_network(const Sent* sent) noexcept nogil:
    return sent.flags & (SENT_LOST | SENT_RETRANSMITTED) != SENT_LOST


cdef int64_t rack_detect_loss(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RACK_detect_loss(), section 6.2 step 5: from the oldest that is in the network to the first
    that is not overdue. The latest that has been overtaken is waited for.

    As Linux, what an undo has taken back is not judged a second time.
    """
    cdef int64_t window = reordering_window(tcp, tcb)
    cdef SentQueue* queue = &tcb.busy.sent
    cdef Sent* sent
    cdef uint32_t at, last, beyond, following
    overtake(tcb)
    if not queue.order.overtaken.is_set:
        return 0
    last = sent_find(queue, queue.order.overtaken.last)
    beyond = order_newer(queue, last)
    at = order_after(queue, &queue.order.passed)
    while at != beyond:
        sent = queue.items + queue.first + at
        following = order_newer(queue, at)
        if not is_in_network(sent):
            order_mark(&queue.order.passed, sent)
        elif rack_overdue(tcp, tcb, sent.sent_at, window) <= 0:
            sent_mark_lost(tcb, sent)
            order_remove(queue, at)
            sent.flags |= SENT_JUDGED
        else:
            break
        at = following
    if at == beyond:
        return 0
    while not is_in_network(queue.items + queue.first + last):
        last = order_older(queue, last)
    return rack_overdue(tcp, tcb, queue.items[queue.first + last].sent_at, window)


cdef bint rack_mark_lost(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef int64_t wait
    if not tcb.busy.rack.advanced:
        return False
    tcb.busy.rack.advanced = False
    wait = rack_detect_loss(tcp, tcb)
    if wait == 0:
        return False
    retransmit_timer_set(tcp, tcb, TIMER_REORDERING, wait + TIMER_LEAST)
    return True


cdef void rack_update_window(TcpLayer* tcp, Tcb* tcb, const AckNews* news) noexcept nogil:
    """Section 6.2 step 4: a step more for each round trip with a D-SACK; back to one after 16
    recoveries without.
    """
    if tcb.config.recovery & RECOVERY_STATIC_WINDOW or news.latest_sent_at == 0:
        return
    # Of the same round trip as the last one: it says nothing about the window that we have now.
    if seq_lt(news.sent_delivered, tcb.rack_adapted_at):
        tcb.busy.rack.duplicate_seen = False
    if tcb.busy.rack.duplicate_seen:
        tcb.rack_steps = <uint8_t>min(tcb.rack_steps + 1, <int>MAX_STEPS)
        tcb.busy.rack.duplicate_seen = False
        tcb.rack_adapted_at = tcb.delivered
        tcb.rack_persist = PERSIST
    elif tcb.rack_persist == 0:
        tcb.rack_steps = 1


cdef void rack_persist(Tcb* tcb, int change) noexcept nogil:
    tcb.rack_persist = <uint8_t>max(0, min(tcb.rack_persist + change, <int>PERSIST))
