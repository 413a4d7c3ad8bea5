# Reno: slow start, then one SMSS per round trip; half of the window at each loss.
# Called by: interface; cubic for its slow start.
# RFCs: 5681 section 3.1, 3465.

from libc.stdint cimport uint32_t
from pystack.core.tcp.congestion.algorithm cimport CongestionEvent
from pystack.core.tcp.layer cimport Tcb, TcpLayer

cdef enum:
    MAX_CWND = 1 << 30

cdef uint32_t reno_ssthresh(TcpLayer* tcp, Tcb* tcb, CongestionEvent event) noexcept nogil
cdef void reno_acked(TcpLayer* tcp, Tcb* tcb, uint32_t acked) noexcept nogil
# Slow start takes what it needs of `acked` up to ssthresh; returns the rest.
cdef uint32_t slow_start(Tcb* tcb, uint32_t acked) noexcept nogil
# One SMSS more for each `per` bytes acknowledged.
cdef void avoidance(Tcb* tcb, uint32_t acked, uint32_t per) noexcept nogil
