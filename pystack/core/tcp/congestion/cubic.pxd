# CUBIC: after a reduction the window grows along a cubic curve, flat where the loss had been.
# Called by: interface; tcb frees its state.
# RFCs: 9438, 9406 by way of hystart, 8511.

from libc.stdint cimport int64_t, uint32_t
from pystack.core.tcp.congestion.algorithm cimport CongestionEvent
from pystack.core.tcp.layer cimport Tcb, TcpLayer

cdef uint32_t cubic_ssthresh(TcpLayer* tcp, Tcb* tcb, CongestionEvent event) noexcept nogil
cdef void cubic_acked(TcpLayer* tcp, Tcb* tcb, uint32_t acked) noexcept nogil
cdef void cubic_sample(TcpLayer* tcp, Tcb* tcb, int64_t rtt_ns) noexcept nogil
cdef void cubic_sent(TcpLayer* tcp, Tcb* tcb) noexcept nogil
cdef void cubic_idle(TcpLayer* tcp, Tcb* tcb, int64_t idle_ns) noexcept nogil
cdef void cubic_stop(Tcb* tcb) noexcept nogil
cdef void cubic_timeout(TcpLayer* tcp, Tcb* tcb) noexcept nogil
