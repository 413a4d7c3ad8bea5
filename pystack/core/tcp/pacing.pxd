# Pacing: what cwnd allows leaves spread over the round trip, not in one burst.
# Called by: output, segments, settings; timers, when a wait is over.
# RFCs: none; the rates are Linux's (tcp(7), SO_MAX_PACING_RATE in socket(7)).

from libc.stdint cimport uint32_t, uint64_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer

# What the congestion window means; nothing of it is remembered at rest.
cdef uint64_t pacing_by_window(const Tcb* tcb) noexcept nogil
# Take over what the last ACK has changed.
cdef void pacing_update(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# Bytes per second at which this connection sends; all ones: no limit.
cdef uint64_t pacing_rate(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil
# Must the next train wait? If so, output will be called again when it is over.
cdef bint pacing_holds(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# How long a train may be, at most `train`, in whole segments of mss.
cdef uint32_t pacing_train(
        const TcpLayer* tcp, const Tcb* tcb, uint32_t mss, uint32_t train) noexcept nogil
# So many bytes leave, from `seq` on.
cdef void pacing_sent(TcpLayer* tcp, Tcb* tcb, uint32_t seq, uint32_t length) noexcept nogil


cdef inline bint pacing_is_on(const Tcb* tcb) noexcept nogil:
    """As in Linux without a pacing queue below: only for those that asked for it, and for BBR."""
    return tcb.settings.pacing or tcb.rare.bbr != NULL
