# Proportional rate reduction: how cwnd moves while it is being reduced.
# Called by: recovery, tlp, frto, ack (each ACK), output (what was sent).
# RFCs: 6937, 9937, 3168 section 6.1.2.

from libc.stdint cimport uint32_t
from pystack.core.tcp.congestion.algorithm cimport CongestionEvent
from pystack.core.tcp.layer cimport CA_CWR, CA_RECOVERY, Tcb, TcpLayer
from pystack.core.tcp.news cimport AckNews

# An episode begins: ssthresh is set, cwnd follows ACK by ACK.
cdef void reduction_start(TcpLayer* tcp, Tcb* tcb, CongestionEvent event) noexcept nogil
# It is over: cwnd is ssthresh, unless the reduction has been undone.
cdef void reduction_end(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# An ACK has delivered `delivered` segments, and shown `lost` to be lost.
cdef void prr_acked(
        Tcb* tcb, uint32_t delivered, uint32_t lost, const AckNews* news) noexcept nogil


cdef inline bint in_reduction(const Tcb* tcb) noexcept nogil:
    return tcb.busy.ca_state == CA_RECOVERY or tcb.busy.ca_state == CA_CWR


cdef inline void prr_sent(Tcb* tcb, uint32_t segments) noexcept nogil:
    if in_reduction(tcb):
        tcb.busy.prr_out += segments
