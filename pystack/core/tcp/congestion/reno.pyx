# Reno: slow start, then one SMSS per round trip; half of the window at each loss.
# Called by: interface; cubic for its slow start.
# RFCs: 5681 section 3.1, 3465.

from libc.stdint cimport uint32_t
from pystack.core.tcp.congestion.algorithm cimport CONGESTION_LOSS, CongestionEvent
from pystack.core.tcp.layer cimport Congestion, Tcb, TcpLayer
from pystack.core.tcp.tcb cimport tcb_flight


cdef uint32_t slow_start(Tcb* tcb, uint32_t acked) noexcept nogil:
    """cwnd grows by what was acknowledged, up to ssthresh (RFC 5681 section 3.1, bytes as RFC
    3465); returns what that left over.
    """
    cdef Congestion* congestion = &tcb.congestion
    cdef uint32_t step
    if congestion.cwnd >= congestion.ssthresh:
        return acked
    step = min(acked, congestion.ssthresh - congestion.cwnd)
    congestion.cwnd = min(congestion.cwnd + step, <uint32_t>MAX_CWND)
    return acked - step


cdef void avoidance(Tcb* tcb, uint32_t acked, uint32_t per) noexcept nogil:
    """One SMSS more for each `per` bytes acknowledged; `per` = cwnd is RFC 5681 section 3.1."""
    cdef Congestion* congestion = &tcb.congestion
    congestion.acked += acked
    if congestion.acked >= per:
        congestion.acked -= per
        congestion.cwnd = min(congestion.cwnd + tcb.smss, <uint32_t>MAX_CWND)


cdef void reno_acked(TcpLayer* tcp, Tcb* tcb, uint32_t acked) noexcept nogil:
    acked = slow_start(tcb, acked)
    avoidance(tcb, acked, tcb.congestion.cwnd)


cdef uint32_t reno_ssthresh(TcpLayer* tcp, Tcb* tcb, CongestionEvent event) noexcept nogil:
    """max(FlightSize / 2, 2 SMSS) (RFC 5681 equation 4).

    What limited transmit has sent is beyond cwnd; it does not count (RFC 5681 section 3.2).
    """
    cdef uint32_t flight = tcb_flight(tcb)
    if event == CONGESTION_LOSS:
        flight = min(flight, tcb.congestion.cwnd)
    return max(flight // 2, 2 * tcb.smss)
