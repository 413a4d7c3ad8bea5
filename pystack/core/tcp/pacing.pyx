# Pacing: what cwnd allows leaves spread over the round trip, not in one burst.
# Called by: output, segments, settings; timers, when a wait is over.
# RFCs: none; the rates are Linux's (tcp(7), SO_MAX_PACING_RATE in socket(7)).

from libc.stdint cimport int64_t, uint32_t, uint64_t
from pystack.core.memory.deadline cimport DEADLINE_NEVER
from pystack.core.tcp.busy cimport tcb_is_awake
from pystack.core.tcp.congestion.bbr cimport bbr_least_train, bbr_pacing_rate
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.rtt cimport rtt_min
from pystack.core.tcp.tcb cimport tcb_rearm
from pystack.core.wire.tcp cimport seq_max

cdef enum:
    FREE_SEGMENTS = 10          # the first of a connection are not paced
    MANY = 32                   # halvings
    TRAINS_PER_SECOND = 1 << 10         # about: a train is what is sent in a millisecond

cdef uint64_t UNLIMITED = ~<uint64_t>0
cdef int64_t SECOND = 1_000_000_000


cdef uint64_t pacing_by_window(const Tcb* tcb) noexcept nogil:
    """Twice cwnd in a round trip as long as cwnd doubles, afterwards a fifth more than cwnd, so
    that the wait never is what limits.
    """
    cdef uint64_t window = max(tcb.congestion.cwnd, tcb.busy.packets_out * tcb.smss)
    cdef uint64_t percent = tcb.config.pacing_ca_ratio
    if tcb.congestion.cwnd < tcb.congestion.ssthresh // 2:
        percent = tcb.config.pacing_ss_ratio
    # cwnd < 2^30 and percent <= 1000: in microseconds it fits 64 bits.
    return window * percent * 10_000 // max(<uint64_t>tcb.rtt.srtt // 1000, <uint64_t>1)


cdef void pacing_update(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    tcb.busy.pacing_rate = pacing_by_window(tcb)


cdef uint64_t pacing_rate(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """BBR has a rate of its own. At most what the application allows."""
    cdef uint64_t rate = tcb.busy.pacing_rate
    if tcb.rare.bbr != NULL:
        return min(bbr_pacing_rate(tcb), tcb.settings.max_pacing_rate)
    if not tcb_is_awake(tcb):
        rate = pacing_by_window(tcb)
    if tcb.rtt.srtt == 0 or rate == 0:
        return tcb.settings.max_pacing_rate
    return min(rate, tcb.settings.max_pacing_rate)


cdef bint pacing_holds(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    if tcb.busy.paced_until <= tcp.context.now:
        tcb.busy.pace_at = DEADLINE_NEVER
        return False
    tcb.busy.pace_at = tcb.busy.paced_until
    tcb_rearm(tcp, tcb)
    return True


cdef uint32_t pacing_train(
        const TcpLayer* tcp, const Tcb* tcb, uint32_t mss, uint32_t train) noexcept nogil:
    """As Linux sizes its TSO packets: a millisecond's worth, at least two segments; on a short path
    more, up to a whole train.
    """
    cdef uint64_t size = pacing_rate(tcp, tcb) // TRAINS_PER_SECOND
    cdef uint64_t halvings = MANY
    cdef uint64_t least = tcb.config.min_tso_segs
    if 0 < tcb.config.tso_rtt_log < MANY:
        halvings = <uint64_t>rtt_min(&tcb.rtt) // 1000 >> tcb.config.tso_rtt_log
    if tcb.rare.bbr != NULL:
        least = bbr_least_train(tcb)
    if halvings < MANY:
        size += train >> halvings
    size = max(size - size % mss, least * mss)
    return <uint32_t>min(size, <uint64_t>train)


cdef void pacing_sent(TcpLayer* tcp, Tcb* tcb, uint32_t seq, uint32_t length) noexcept nogil:
    """The next train waits as long as this one takes at the rate; half of that may be made up for
    time in which nothing was sent.
    """
    cdef uint64_t rate = pacing_rate(tcp, tcb)
    cdef int64_t start = max(tcb.busy.paced_until, tcp.context.now)
    cdef int64_t credit = start - tcb.busy.paced_until
    cdef int64_t wait = 0
    if 0 < rate < UNLIMITED and (
            seq_max(seq + length, tcb.snd_nxt) - tcb.iss > FREE_SEGMENTS * tcb.smss):
        wait = <int64_t>min(<uint64_t>length * SECOND // rate, <uint64_t>3600 * SECOND)
        wait -= min(wait // 2, credit)
    tcb.busy.paced_until = start + wait
