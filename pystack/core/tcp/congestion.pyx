# Congestion control: how much may be in the network. NewReno; others will stand beside it behind
# these functions.
# Called by: ack, recovery, timers, output.
# RFCs: 5681, 6582, 6928, 3465.

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport Congestion

cdef enum:
    MAX_CWND = 1 << 30


cdef uint32_t initial_window(uint32_t smss, uint32_t segments) noexcept nogil:
    # RFC 6928 section 2 bounds 10 segments by 14,600 bytes; as Linux, only the count is used here,
    # so that
    # a path of jumbo frames does not start with one segment.
    return segments * smss


cdef void congestion_start(
        Congestion* congestion, uint32_t smss, uint32_t initial_segments) noexcept nogil:
    congestion.cwnd = initial_window(smss, initial_segments)
    congestion.ssthresh = MAX_CWND
    congestion.acked = 0


cdef void congestion_acked(Congestion* congestion, uint32_t acked, uint32_t smss) noexcept nogil:
    """Grow cwnd: slow start up to ssthresh, then one SMSS per window (RFC 5681 section 3.1, bytes
    as RFC 3465).

    Only a window that was used may grow (RFC 7661 section 4.3's floor).
    """
    cdef uint32_t step
    if not congestion.limited:
        return
    if congestion.cwnd < congestion.ssthresh:
        step = min(acked, congestion.ssthresh - congestion.cwnd)
        congestion.cwnd = min(congestion.cwnd + step, <uint32_t>MAX_CWND)
        acked -= step
    congestion.acked += acked
    if congestion.acked >= congestion.cwnd:
        congestion.acked -= congestion.cwnd
        congestion.cwnd = min(congestion.cwnd + smss, <uint32_t>MAX_CWND)


cdef void congestion_lost(Congestion* congestion, uint32_t flight, uint32_t smss) noexcept nogil:
    """ssthresh = max(FlightSize / 2, 2 SMSS), and cwnd the same (RFC 5681 equation 4, RFC 6675
    section 5).
    """
    congestion.ssthresh = max(flight // 2, 2 * smss)
    congestion.cwnd = congestion.ssthresh
    congestion.acked = 0


cdef void congestion_timeout(
        Congestion* congestion, uint32_t flight, uint32_t smss, bint first) noexcept nogil:
    """The loss window (RFC 5681 section 3.1): one segment.

    first: the segment had not yet been retransmitted by the timer; else ssthresh stays.
    """
    if first:
        congestion.ssthresh = max(flight // 2, 2 * smss)
    congestion.cwnd = smss
    congestion.acked = 0
    congestion.limited = True


cdef void congestion_recovered(
        Congestion* congestion, uint32_t flight, uint32_t smss) noexcept nogil:
    """cwnd = min(ssthresh, max(FlightSize, SMSS) + SMSS) (RFC 6582 section 3.2 step 3): no burst.
    """
    congestion.cwnd = min(congestion.ssthresh, max(flight, smss) + smss)


cdef void congestion_idle(
        Congestion* congestion, uint32_t smss, uint32_t initial_segments) noexcept nogil:
    """The restart window after an idle RTO (RFC 5681 section 4.1)."""
    congestion.cwnd = min(congestion.cwnd, initial_window(smss, initial_segments))
