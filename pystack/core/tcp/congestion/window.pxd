# The window in segments, as Linux counts it, and the two ways in which it grows.
# Called by: each algorithm, interface, validation.
# RFCs: 5681 section 3.1, 3465.

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport CA_CWR, CA_RECOVERY, Tcb

cdef enum:
    MAX_CWND = 1 << 30
    INFINITE_SSTHRESH = 1 << 30


cdef inline uint32_t segments(const Tcb* tcb) noexcept nogil:
    return max(tcb.congestion.cwnd // tcb.smss, <uint32_t>1)


cdef inline bint in_slow_start(const Tcb* tcb) noexcept nogil:
    return tcb.congestion.cwnd < tcb.congestion.ssthresh


cdef inline uint32_t slow_start(Tcb* tcb, uint32_t acked) noexcept nogil:
    """cwnd grows by what was acknowledged, up to ssthresh (RFC 5681 section 3.1, bytes as RFC
    3465); returns what that leaves over.
    """
    cdef uint32_t step = min(acked, tcb.congestion.ssthresh - tcb.congestion.cwnd)
    tcb.congestion.cwnd = min(tcb.congestion.cwnd + step, <uint32_t>MAX_CWND)
    return acked - step


cdef inline void additive_increase(Tcb* tcb, uint32_t per_segment, uint32_t acked) noexcept nogil:
    """One SMSS more for each `per_segment` SMSS acknowledged; what is left counts for the next."""
    cdef uint32_t per = per_segment * tcb.smss
    cdef uint32_t steps
    # Credit that was gathered at a larger window is applied gently now.
    if tcb.congestion.acked >= per:
        tcb.congestion.acked = 0
        tcb.congestion.cwnd += tcb.smss
    tcb.congestion.acked += acked
    if tcb.congestion.acked >= per:
        steps = tcb.congestion.acked // per
        tcb.congestion.acked -= steps * per
        tcb.congestion.cwnd += steps * tcb.smss
    tcb.congestion.cwnd = min(tcb.congestion.cwnd, <uint32_t>MAX_CWND)


cdef inline uint32_t threshold(const Tcb* tcb, uint32_t window) noexcept nogil:
    """A slow start threshold of so many segments, at least two (RFC 5681 equation 4)."""
    return max(window, <uint32_t>2) * tcb.smss


cdef inline uint32_t current_ssthresh(const Tcb* tcb) noexcept nogil:
    """Three quarters of what cwnd had reached is known to be safe, unless it is just being
    reduced (RFC 2861 section 3.1, as Linux).
    """
    if tcb.busy.ca_state == CA_RECOVERY or tcb.busy.ca_state == CA_CWR:
        return tcb.congestion.ssthresh
    return max(tcb.congestion.ssthresh, ((segments(tcb) >> 1) + (segments(tcb) >> 2)) * tcb.smss)
