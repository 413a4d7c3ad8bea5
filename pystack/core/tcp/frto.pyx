# After a timeout: was it spurious (F-RTO), and what is to be sent.
# Called by: recovery.
# RFCs: 5682, 6298 section 5, 4015.

from libc.stdint cimport int32_t
from pystack.core.tcp.layer cimport RETRANSMIT_AFTER_NEW, RETRANSMIT_LOST, Tcb, TcpLayer
from pystack.core.tcp.news cimport (
    NEWS_ADVANCED, NEWS_ORIGINAL_ARRIVED, NEWS_SACKED, AckNews,
)
from pystack.core.tcp.reordering cimport duplicate_add, duplicates_forget
from pystack.core.tcp.tcb cimport tcb_flight
from pystack.core.tcp.undo cimport undo_loss, undo_recovery
from pystack.core.wire.tcp cimport seq_ge, seq_gt


cdef void frto_start(TcpLayer* tcp, Tcb* tcb, bint new_episode) noexcept nogil:
    """RFC 5682 section 3.1 step 1: not when recovery was under way, for its own retransmissions
    would be taken for originals; a repeated timeout may be judged again.
    """
    tcb.busy.frto = tcb.config.frto != 0 and (new_episode or tcb.busy.retransmits != 0)


cdef bint new_data_may_go(const Tcb* tcb) noexcept nogil:
    cdef int32_t window = <int32_t>(tcb.snd_una + tcb.snd_wnd - tcb.snd_nxt)
    return window > 0 and not tcb.fin_sent and (
        tcb.busy.send_ring.length > tcb_flight(tcb) or tcb.fin_queued)


cdef void loss_acked(
        TcpLayer* tcp, Tcb* tcb, const AckNews* news, bint duplicate) noexcept nogil:
    cdef bint recovered = seq_ge(tcb.snd_una, tcb.busy.recover)
    if news.flags & NEWS_ADVANCED and undo_loss(tcp, tcb, news, False):
        return
    if tcb.busy.frto:
        # Step 3.b of RFC 5682 section 3.1, with SACK (section 3.2) whenever it is seen: something
        # that was sent only once has arrived.
        if news.flags & NEWS_ORIGINAL_ARRIVED and undo_loss(tcp, tcb, news, True):
            return
        if seq_gt(tcb.snd_nxt, tcb.busy.recover):
            if news.flags & NEWS_SACKED or duplicate:
                tcb.busy.frto = False            # step 3.a: the loss was real
        elif news.flags & NEWS_ADVANCED and not recovered:
            # Step 2.b: new data, whose fate will tell.
            tcb.busy.recover = tcb.snd_nxt
            if new_data_may_go(tcb):
                tcb.busy.retransmit = RETRANSMIT_AFTER_NEW
                return
            tcb.busy.frto = False
    if recovered:
        undo_recovery(tcp, tcb, news)       # step 2.a, and the first part of 3.a
        return
    if not tcb.sack_ok:
        # A duplicate says that some of the new data of step 2.b has arrived.
        if seq_gt(tcb.snd_nxt, tcb.busy.recover) and duplicate:
            duplicate_add(tcp, tcb)
        elif news.flags & NEWS_ADVANCED:
            duplicates_forget(tcb)
    tcb.busy.retransmit = RETRANSMIT_LOST
