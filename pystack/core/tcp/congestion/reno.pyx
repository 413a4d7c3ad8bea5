# Reno: slow start, then one SMSS per round trip; half of the window at each loss.
# Called by: interface.
# RFCs: 5681 section 3.1, 3465, 8511.

from libc.stdint cimport uint32_t
from pystack.core.tcp.congestion.algorithm cimport CONGESTION_ECN, CongestionEvent
from pystack.core.tcp.congestion.window cimport (
    additive_increase, in_slow_start, segments, slow_start, threshold,
)
from pystack.core.tcp.layer cimport Tcb, TcpLayer


cdef void reno_acked(TcpLayer* tcp, Tcb* tcb, uint32_t acked) noexcept nogil:
    """RFC 5681 section 3.1: equation 2 with bytes counted, then one SMSS for each cwnd of bytes."""
    if in_slow_start(tcb):
        acked = slow_start(tcb, acked)
        if acked == 0:
            return
    additive_increase(tcb, segments(tcb), acked)


cdef uint32_t reno_ssthresh(TcpLayer* tcp, Tcb* tcb, CongestionEvent event) noexcept nogil:
    """Half of cwnd, at least two segments; four fifths for a mark (RFC 8511 section 3).

    As Linux, cwnd stands for the FlightSize of RFC 5681 equation 4: it does not grow while it is
    not in use.
    """
    if event == CONGESTION_ECN and tcb.config.abe:
        return threshold(tcb, segments(tcb) * 4 // 5)
    return threshold(tcb, segments(tcb) // 2)
