# Tail loss probes: what an ACK says of the probe. (When: retransmission. The probe itself: output.)
# Called by: ack; output.
# RFCs: 8985 sections 7.3 and 7.4.

from libc.stdint cimport uint32_t
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.tcp.congestion.algorithm cimport CONGESTION_LOSS
from pystack.core.tcp.layer cimport CA_CWR, TIMER_RTO, Tcb, TcpLayer
from pystack.core.tcp.news cimport (
    NEWS_ADVANCED, NEWS_DUPLICATE_PROBE, NEWS_NOT_DUPLICATE, NEWS_SACKED, AckNews,
)
from pystack.core.tcp.prr cimport reduction_end, reduction_start
from pystack.core.tcp.retransmission cimport retransmit_timer_rearm
from pystack.core.tcp.undo cimport keep_open
from pystack.core.wire.tcp cimport seq_gt, seq_lt


cdef void tail_probe_sent(TcpLayer* tcp, Tcb* tcb, bint old) noexcept nogil:
    """TLP_send_probe() (section 7.3): one at a time; then the RTO, from now."""
    count(tcp.context, Counter.TCP_TAIL_PROBES)
    tcb.busy.tail_probing = True
    tcb.busy.tail_probe_old = old
    tcb.busy.tail_probe_end = tcb.snd_nxt
    tcb.busy.retransmit_timer = TIMER_RTO
    retransmit_timer_rearm(tcp, tcb)


cdef void tail_probe_acked(
        TcpLayer* tcp, Tcb* tcb, uint32_t ack, const AckNews* news) noexcept nogil:
    """TLP_process_ack() (section 7.4.2): a loss that the probe itself has repaired is congestion
    all the same.
    """
    if seq_lt(ack, tcb.busy.tail_probe_end):
        return
    if not tcb.busy.tail_probe_old or news.flags & NEWS_DUPLICATE_PROBE:
        tcb.busy.tail_probing = False        # new data has arrived; or both copies of the old
    elif seq_gt(ack, tcb.busy.tail_probe_end):
        # No D-SACK: only the probe has arrived.
        reduction_start(tcp, tcb, CONGESTION_LOSS)
        tcb.busy.ca_state = CA_CWR
        reduction_end(tcp, tcb)
        keep_open(tcb)
        count(tcp.context, Counter.TCP_TAIL_PROBE_RECOVERIES)
    elif not news.flags & (NEWS_ADVANCED | NEWS_NOT_DUPLICATE | NEWS_SACKED):
        tcb.busy.tail_probing = False        # a pure duplicate ACK: both copies have arrived
