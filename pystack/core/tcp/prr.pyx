# Proportional rate reduction: how cwnd moves while it is being reduced.
# Called by: recovery, tlp, frto, ack (each ACK), output (what was sent).
# RFCs: 6937, 9937, 3168 section 6.1.2.

from libc.stdint cimport int64_t, uint32_t
from pystack.core.tcp.congestion.algorithm cimport CongestionEvent
from pystack.core.tcp.congestion.interface cimport congestion_recovered, congestion_reduce
from pystack.core.tcp.layer cimport CA_CWR, Tcb, TcpLayer
from pystack.core.tcp.news cimport NEWS_ADVANCED, AckNews
from pystack.core.tcp.scoreboard cimport sent_in_flight


cdef void reduction_start(TcpLayer* tcp, Tcb* tcb, CongestionEvent event) noexcept nogil:
    cdef uint32_t cwnd = tcb.congestion.cwnd
    tcb.busy.recover = tcb.snd_nxt
    tcb.busy.tail_probing = False
    tcb.busy.prr_delivered = 0
    tcb.busy.prr_out = 0
    tcb.busy.prr_start = max(cwnd // tcb.smss, <uint32_t>1)
    congestion_reduce(tcp, tcb, event)
    tcb.congestion.cwnd = cwnd


cdef void reduction_end(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 9937 section 6.2: at the end cwnd is ssthresh."""
    if tcb.busy.ca_state == CA_CWR or tcb.busy.undo:
        congestion_recovered(tcp, tcb)


cdef void prr_acked(
        Tcb* tcb, uint32_t delivered, uint32_t lost, const AckNews* news) noexcept nogil:
    """RFC 6937 section 3, in segments as Linux; the slow start reduction bound after progress
    without further loss (safeACK of RFC 9937 section 6), else the conservative bound.
    """
    cdef int64_t ssthresh = tcb.congestion.ssthresh // tcb.smss
    cdef int64_t pipe = sent_in_flight(tcb)
    cdef int64_t send
    if delivered == 0:
        return
    tcb.busy.prr_delivered += delivered
    if pipe > ssthresh:
        send = ((ssthresh * tcb.busy.prr_delivered + tcb.busy.prr_start - 1) // tcb.busy.prr_start
                - <int64_t>tcb.busy.prr_out)
    else:
        send = max(<int64_t>tcb.busy.prr_delivered - tcb.busy.prr_out, <int64_t>delivered)
        if news.flags & NEWS_ADVANCED and lost == 0:
            send += 1
        send = min(send, ssthresh - pipe)
    # The fast retransmission goes out whatever the arithmetic says.
    send = max(send, <int64_t>(0 if tcb.busy.prr_out else 1))
    tcb.congestion.cwnd = <uint32_t>(pipe + send) * tcb.smss
