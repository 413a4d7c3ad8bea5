# Round-trip time and retransmission timeout.
# Called by: ack, timers, listen.
# RFCs: 6298, 7323 section 4.

from libc.stdint cimport int64_t
from pystack.core.tcp.layer cimport Rtt, TcpConfig

cdef enum:
    MAX_BACKOFF = 16


cdef void rtt_sample(Rtt* rtt, int64_t sample_ns, const TcpConfig* config) noexcept nogil:
    """Fold one round trip into SRTT, RTTVAR and RTO (RFC 6298 section 2).

    sample_ns >= 0, and never from a retransmitted segment without a timestamp (Karn, section 3).
    """
    cdef int64_t error
    sample_ns = max(sample_ns, 1)
    if rtt.srtt == 0:
        rtt.srtt = sample_ns
        rtt.rttvar = sample_ns // 2
    else:
        error = rtt.srtt - sample_ns if rtt.srtt > sample_ns else sample_ns - rtt.srtt
        rtt.rttvar += (error - rtt.rttvar) // 4
        rtt.srtt += (sample_ns - rtt.srtt) // 8
    # As Linux, the minimum bounds 4 * RTTVAR and not the sum: a steady path keeps 200 ms above its
    # SRTT.
    rtt.rto = min(rtt.srtt + max(4 * rtt.rttvar, config.rto_min), config.rto_max)
    rtt.backoff = 0


cdef int64_t rtt_timeout(const Rtt* rtt, const TcpConfig* config) noexcept nogil:
    """The timeout in force, ns (RFC 6298 sections 2.5 and 5.5)."""
    return min(rtt.rto << rtt.backoff, config.rto_max)


cdef void rtt_back_off(Rtt* rtt) noexcept nogil:
    """Double the timeout (RFC 6298 section 5.5)."""
    if rtt.backoff < MAX_BACKOFF:
        rtt.backoff += 1
