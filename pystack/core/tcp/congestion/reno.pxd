# Reno: slow start, then one SMSS per round trip; half of the window at each loss.
# Called by: interface.
# RFCs: 5681 section 3.1, 3465, 8511.

from libc.stdint cimport uint32_t
from pystack.core.tcp.congestion.algorithm cimport CongestionEvent
from pystack.core.tcp.layer cimport Tcb, TcpLayer

cdef uint32_t reno_ssthresh(TcpLayer* tcp, Tcb* tcb, CongestionEvent event) noexcept nogil
cdef void reno_acked(TcpLayer* tcp, Tcb* tcb, uint32_t acked) noexcept nogil
