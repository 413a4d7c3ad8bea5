# Undo: a reduction of cwnd that was a mistake, found by timestamps (Eifel) or by D-SACKs.
# Called by: recovery, frto; output (what was sent again).
# RFCs: 3522, 4015, 3708, 2883.

from libc.stdint cimport int32_t, int64_t, uint32_t
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.tcp.clock cimport timestamp_at
from pystack.core.tcp.congestion.interface cimport congestion_undo
from pystack.core.tcp.layer cimport (
    CA_DISORDER, CA_OPEN, SENT_EVER_RETRANSMITTED, Sent, Tcb, TcpLayer,
)
from pystack.core.tcp.news cimport AckNews
from pystack.core.tcp.rack cimport rack_persist
from pystack.core.tcp.reordering cimport reordering_note
from pystack.core.tcp.scoreboard cimport sent_first, sent_unmark_lost
from pystack.core.wire.tcp cimport seq_lt


cdef void undo_start(Tcb* tcb) noexcept nogil:
    tcb.busy.undo = True
    tcb.busy.undo_marker = tcb.snd_una
    # Retransmissions that are still out, a tail loss probe among them, may cause D-SACKs later.
    tcb.busy.undo_retransmitted = <int32_t>tcb.busy.retrans_out
    if tcb.busy.tail_probing and tcb.busy.tail_probe_old:
        tcb.busy.undo_retransmitted += 1
    if tcb.busy.undo_retransmitted == 0:
        tcb.busy.undo_retransmitted = -1


cdef void undo_retransmitted(TcpLayer* tcp, Tcb* tcb, uint32_t segments) noexcept nogil:
    """RFC 3522 section 3.2 step 2: RetransmitTS."""
    if tcb.busy.first_retransmit == 0:
        tcb.busy.first_retransmit = max(timestamp_at(tcb, tcp.context.now), <uint32_t>1)
    tcb.busy.undo_retransmitted = max(tcb.busy.undo_retransmitted, <int32_t>0) + <int32_t>segments


cdef void undo_duplicates(Tcb* tcb, uint32_t segments) noexcept nogil:
    """RFC 3708: when all that was sent again has arrived twice, all of it was for nothing."""
    if tcb.busy.undo and tcb.busy.undo_retransmitted > 0:
        tcb.busy.undo_retransmitted = max(
            <int32_t>0, tcb.busy.undo_retransmitted - <int32_t>segments)


cdef bint echo_is_earlier(const AckNews* news, uint32_t when) noexcept nogil:
    return news.has_echo and news.echoed != 0 and seq_lt(news.echoed, when)


cdef bint echo_is_before(const Tcb* tcb, const AckNews* news, int64_t sent_at) noexcept nogil:
    return echo_is_earlier(news, timestamp_at(tcb, sent_at))


cdef bint was_only_late(const Tcb* tcb, const AckNews* news) noexcept nogil:
    """The ACK is for an original: it echoes a time before the first retransmission (RFC 3522
    section 3.2 step 5), or there has been none yet.
    """
    if tcb.busy.first_retransmit:
        return echo_is_earlier(news, tcb.busy.first_retransmit)
    # Without SACK the time is forgotten when `recover` is acknowledged.
    return tcb.sack_ok or seq_lt(tcb.snd_una, tcb.busy.recover)


cdef bint may_undo(const Tcb* tcb, const AckNews* news) noexcept nogil:
    return tcb.busy.undo and (tcb.busy.undo_retransmitted == 0 or was_only_late(tcb, news))


cdef void undo_reduction(TcpLayer* tcp, Tcb* tcb, bint nothing_lost) noexcept nogil:
    """RFC 4015 section 3.2; not where ECN had its part in the reduction."""
    if nothing_lost:
        sent_unmark_lost(tcb)
    if tcb.busy.undo_window:
        congestion_undo(tcp, tcb)
    tcb.busy.undo = False
    tcb.busy.rack.advanced = True        # what is lost is to be judged anew
    count(tcp.context, Counter.TCP_UNDONE)


cdef bint undo_by_duplicates(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    if not tcb.busy.undo or tcb.busy.undo_retransmitted != 0:
        return False
    rack_persist(tcb, 1)
    undo_reduction(tcp, tcb, False)
    return True


cdef bint any_retransmission(const Tcb* tcb) noexcept nogil:
    cdef const Sent* sent
    if tcb.busy.retrans_out:
        return True
    sent = sent_first(tcb)
    return sent != NULL and sent.flags & SENT_EVER_RETRANSMITTED


cdef void first_retransmit_forget(Tcb* tcb) noexcept nogil:
    if not any_retransmission(tcb):
        tcb.busy.first_retransmit = 0


cdef void keep_open(Tcb* tcb) noexcept nogil:
    cdef int state = CA_OPEN
    if tcb.busy.sacked_out or tcb.busy.lost_out or any_retransmission(tcb):
        state = CA_DISORDER
    if tcb.busy.ca_state != state:
        tcb.busy.ca_state = <unsigned char>state
        tcb.busy.recover = tcb.snd_nxt


cdef bint undo_partial(TcpLayer* tcp, Tcb* tcb, const AckNews* news) noexcept nogil:
    """The hole was filled by a late original, not by its retransmission: that is reordering."""
    if not tcb.busy.undo or not was_only_late(tcb, news):
        return False
    reordering_note(tcp, tcb, news.prior_una)
    # As long as retransmissions are out new data goes, but nothing more is believed lost.
    if tcb.busy.retrans_out:
        return True
    first_retransmit_forget(tcb)
    undo_reduction(tcp, tcb, True)
    keep_open(tcb)
    return False


cdef bint state_is_kept(Tcb* tcb) noexcept nogil:
    """Without SACK, until something above `recover` is acknowledged: duplicates of what was sent
    again must not start another recovery (RFC 6582 section 6).
    """
    if tcb.sack_ok or tcb.snd_una != tcb.busy.recover:
        return False
    first_retransmit_forget(tcb)
    return True


cdef bint undo_recovery(TcpLayer* tcp, Tcb* tcb, const AckNews* news) noexcept nogil:
    if may_undo(tcb, news):
        undo_reduction(tcp, tcb, False)
    else:
        rack_persist(tcb, -1)
    if state_is_kept(tcb):
        return True
    tcb.busy.ca_state = CA_OPEN
    tcb.busy.reneged = False
    return False


cdef bint undo_loss(TcpLayer* tcp, Tcb* tcb, const AckNews* news, bint frto) noexcept nogil:
    """RFC 4015 section 3 after a spurious timeout."""
    if not frto and not may_undo(tcb, news):
        return False
    undo_reduction(tcp, tcb, True)
    if frto:
        count(tcp.context, Counter.TCP_SPURIOUS_TIMEOUTS)
    tcb.busy.retransmits = 0
    if state_is_kept(tcb):
        return True
    if frto or tcb.sack_ok:
        tcb.busy.ca_state = CA_OPEN
        tcb.busy.reneged = False
    return True
