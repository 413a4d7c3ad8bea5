# Is the window in use? One that is not must not grow, and what was not tried for long is forgotten.
# Called by: interface.
# RFCs: 7661, 5681 section 4.1, 2861; the arithmetic is Linux's.

from libc.stdint cimport int64_t, uint32_t
from pystack.core.tcp.congestion.window cimport current_ssthresh, in_slow_start
from pystack.core.tcp.layer cimport CA_OPEN, Tcb, TcpLayer
from pystack.core.wire.tcp cimport seq_ge


cdef bint window_is_used(const Tcb* tcb) noexcept nogil:
    """It was full in this round trip; in slow start half of it is enough, so that cwnd grows to
    twice what was acknowledged.
    """
    if tcb.limited:
        return True
    return in_slow_start(tcb) and tcb.congestion.cwnd < 2 * tcb.busy.max_flight


cdef void forget_unused(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """For an RTO less than cwnd was in use: go half of the way to what was (RFC 2861 section 3.2).

    Not if the application waits for room in the send buffer: then it is that which limits.
    """
    cdef uint32_t used = max(tcb.congestion.used, tcb.config.initial_window * tcb.smss)
    if tcb.busy.ca_state == CA_OPEN and not tcb.write_blocked:
        if used < tcb.congestion.cwnd:
            tcb.congestion.ssthresh = current_ssthresh(tcb)
            tcb.congestion.cwnd = (tcb.congestion.cwnd + used) // 2 // tcb.smss * tcb.smss
        tcb.congestion.used = 0
    tcb.congestion.used_since = tcp.context.now


cdef void validate_window(TcpLayer* tcp, Tcb* tcb, bint sent, bint full) noexcept nogil:
    """Remember the best that is known of the use of cwnd: that it was full in this round trip, or
    how much was outstanding.
    """
    # Counted in segments, as cwnd: small ones fill it too.
    cdef uint32_t flight = tcb.busy.packets_out * tcb.smss
    if not sent and not full:
        return
    if (full or seq_ge(tcb.snd_una, tcb.busy.usage_end)
            or (not tcb.limited and flight > tcb.busy.max_flight)):
        tcb.limited = full
        tcb.busy.max_flight = flight
        tcb.busy.usage_end = tcb.snd_nxt
    if window_is_used(tcb):
        tcb.congestion.used = 0
        tcb.congestion.used_since = tcp.context.now
        return
    tcb.congestion.used = max(tcb.congestion.used, flight)
    if (tcb.config.slow_start_after_idle
            and tcp.context.now - tcb.congestion.used_since >= tcb.rtt.rto):
        forget_unused(tcp, tcb)


cdef void restart_window(TcpLayer* tcp, Tcb* tcb, int64_t idle_ns) noexcept nogil:
    """Half of cwnd is forgotten for each RTO of idleness, down to the restart window (RFC 5681
    section 4.1 takes that at once; RFC 2861 section 3.1, as Linux, in steps); ssthresh remembers.
    """
    cdef uint32_t cwnd = tcb.congestion.cwnd
    cdef uint32_t restart = min(tcb.config.initial_window * tcb.smss, cwnd)
    if not tcb.config.slow_start_after_idle or idle_ns <= tcb.rtt.rto:
        return
    tcb.congestion.ssthresh = current_ssthresh(tcb)
    idle_ns -= tcb.rtt.rto
    while idle_ns > 0 and cwnd > restart:
        cwnd = (cwnd // tcb.smss >> 1) * tcb.smss
        idle_ns -= tcb.rtt.rto
    tcb.congestion.cwnd = max(cwnd, restart)
    tcb.congestion.used = 0
    tcb.congestion.used_since = tcp.context.now
