# Congestion control: how much may be in the network. The algorithms stand beside this file; the
# Tcb says by a small integer which of them it uses.
# Called by: ack, recovery, ecn, output, listen, settings.
# RFCs: 5681, 6582, 6928, 3465, 4015, 3168 section 6.1.2.

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset
from pystack.core.tcp.congestion.algorithm cimport (
    CONGESTION_TIMEOUT, CONGESTION_TIMEOUT_AGAIN, Algorithm, CongestionEvent,
)
from pystack.core.tcp.congestion.bbr cimport (
    bbr_control, bbr_idle, bbr_ssthresh, bbr_start, bbr_stop, bbr_timeout, bbr_undo,
)
from pystack.core.tcp.congestion.cubic cimport (
    cubic_acked, cubic_idle, cubic_sample, cubic_sent, cubic_ssthresh, cubic_stop,
    cubic_timeout,
)
from pystack.core.tcp.congestion.reno cimport reno_acked, reno_ssthresh
from pystack.core.tcp.congestion.validation cimport (
    restart_window, validate_window, window_is_used,
)
from pystack.core.tcp.congestion.window cimport INFINITE_SSTHRESH
from pystack.core.tcp.layer cimport (
    CONGESTION_BBR, CONGESTION_CUBIC, CONGESTION_RENO, ECN_OWE_CWR, Congestion, Tcb, TcpLayer,
)
from pystack.core.tcp.rate cimport RateSample
from pystack.core.tcp.shared_settings cimport settings_of

# By the numbers of layer.pxd.
cdef Algorithm[ALGORITHMS] TABLE
memset(TABLE, 0, sizeof(TABLE))
TABLE[<int>CONGESTION_RENO].name = "reno"
TABLE[<int>CONGESTION_RENO].ssthresh = reno_ssthresh
TABLE[<int>CONGESTION_RENO].acked = reno_acked
TABLE[<int>CONGESTION_CUBIC].name = "cubic"
TABLE[<int>CONGESTION_CUBIC].ssthresh = cubic_ssthresh
TABLE[<int>CONGESTION_CUBIC].acked = cubic_acked
TABLE[<int>CONGESTION_CUBIC].sample = cubic_sample
TABLE[<int>CONGESTION_CUBIC].sent = cubic_sent
TABLE[<int>CONGESTION_CUBIC].idle = cubic_idle
TABLE[<int>CONGESTION_CUBIC].stop = cubic_stop
TABLE[<int>CONGESTION_CUBIC].timeout = cubic_timeout
TABLE[<int>CONGESTION_BBR].name = "bbr"
TABLE[<int>CONGESTION_BBR].start = bbr_start
TABLE[<int>CONGESTION_BBR].stop = bbr_stop
TABLE[<int>CONGESTION_BBR].ssthresh = bbr_ssthresh
TABLE[<int>CONGESTION_BBR].acked = reno_acked   # without memory for its state it is Reno
TABLE[<int>CONGESTION_BBR].control = bbr_control
TABLE[<int>CONGESTION_BBR].undo = bbr_undo
TABLE[<int>CONGESTION_BBR].idle = bbr_idle
TABLE[<int>CONGESTION_BBR].timeout = bbr_timeout
TABLE[<int>CONGESTION_BBR].windows = 3

# For whoever chooses one by name: the position is the number.
NAMES = tuple(TABLE[i].name.decode() for i in range(<int>ALGORITHMS))


cdef inline const Algorithm* algorithm_of(const Tcb* tcb) noexcept nogil:
    return &TABLE[tcb.settings.congestion]


cdef void congestion_choose(TcpLayer* tcp, Tcb* tcb, int algorithm) noexcept nogil:
    """Within settings_edit. As Linux, cwnd and ssthresh stay as the algorithm before has left them.
    """
    if algorithm == tcb.settings.congestion:
        return
    if algorithm_of(tcb).stop != NULL:
        algorithm_of(tcb).stop(tcb)
    settings_of(tcb).congestion = <unsigned char>algorithm
    tcb.congestion.acked = 0
    if tcb.congestion.cwnd and algorithm_of(tcb).start != NULL:
        algorithm_of(tcb).start(tcp, tcb)


cdef void congestion_start(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 6928 section 2: one segment if the SYN or the SYN-ACK was lost more than once.

    It bounds ten segments by 14,600 bytes; as Linux, only the count is used here, so that a path
    of jumbo frames does not start with one segment.
    """
    cdef bint again = tcb.busy.retransmits != 0 and tcb.rare.total_retransmitted > 1
    cdef uint32_t initial = 1 if again else tcb.config.initial_window
    tcb.congestion.cwnd = initial * tcb.smss
    tcb.congestion.ssthresh = INFINITE_SSTHRESH
    tcb.congestion.acked = 0
    tcb.busy.usage_end = tcb.snd_nxt
    tcb.congestion.used_since = tcp.context.now
    if algorithm_of(tcb).start != NULL:
        algorithm_of(tcb).start(tcp, tcb)


cdef void congestion_acked(TcpLayer* tcp, Tcb* tcb, uint32_t acked) noexcept nogil:
    """Only a window that was used may grow (RFC 7661 section 4.2)."""
    if window_is_used(tcb):
        algorithm_of(tcb).acked(tcp, tcb, acked)
    tcb.congestion.used_since = tcp.context.now


cdef bint congestion_control(
        TcpLayer* tcp, Tcb* tcb, const RateSample* sample) noexcept nogil:
    return algorithm_of(tcb).control != NULL and algorithm_of(tcb).control(tcp, tcb, sample)


cdef bint congestion_controls(const Tcb* tcb) noexcept nogil:
    return algorithm_of(tcb).control != NULL


cdef uint32_t congestion_windows(const Tcb* tcb) noexcept nogil:
    return algorithm_of(tcb).windows or 2


cdef void congestion_sample(TcpLayer* tcp, Tcb* tcb, int64_t rtt_ns) noexcept nogil:
    if algorithm_of(tcb).sample != NULL:
        algorithm_of(tcb).sample(tcp, tcb, rtt_ns)


cdef void congestion_reduce(TcpLayer* tcp, Tcb* tcb, CongestionEvent event) noexcept nogil:
    """RFC 5681 sections 3.1 (the loss window: one segment) and 3.2 step 2."""
    cdef Congestion* congestion = &tcb.congestion
    congestion.acked = 0
    # RFC 3168 section 6.1.2: whatever the reason, the peer may stop echoing marks.
    if tcb.ecn:
        tcb.ecn |= ECN_OWE_CWR
    if event != CONGESTION_TIMEOUT_AGAIN:
        tcb.busy.prior_cwnd = congestion.cwnd
        tcb.busy.prior_ssthresh = congestion.ssthresh
        congestion.ssthresh = algorithm_of(tcb).ssthresh(tcp, tcb, event)
    if event == CONGESTION_TIMEOUT or event == CONGESTION_TIMEOUT_AGAIN:
        congestion.cwnd = tcb.smss
        if algorithm_of(tcb).timeout != NULL:
            algorithm_of(tcb).timeout(tcp, tcb)
    else:
        congestion.cwnd = congestion.ssthresh
    congestion.used_since = tcp.context.now


cdef void congestion_undo(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 4015 section 3.2 restores what was, and never takes away what has been gained since."""
    cdef Congestion* congestion = &tcb.congestion
    congestion.cwnd = max(congestion.cwnd, tcb.busy.prior_cwnd)
    congestion.ssthresh = max(congestion.ssthresh, tcb.busy.prior_ssthresh)
    tcb.ecn &= ~ECN_OWE_CWR
    if algorithm_of(tcb).undo != NULL:
        algorithm_of(tcb).undo(tcp, tcb)


cdef void congestion_recovered(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 9937 section 6.2: PRR has brought the flight close to it, so that there is no burst."""
    if congestion_controls(tcb):
        return
    tcb.congestion.cwnd = tcb.congestion.ssthresh
    tcb.congestion.used_since = tcp.context.now


cdef void congestion_idle(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    # Waiting for ACKs is no idleness: what was acknowledged last ends it.
    cdef int64_t idle_ns = tcp.context.now - max(tcb.last_sent_at, tcb.congestion.used_since)
    if tcb.last_sent_at == 0:
        return
    if not congestion_controls(tcb):
        restart_window(tcp, tcb, tcp.context.now - tcb.last_sent_at)
    if algorithm_of(tcb).idle != NULL:
        algorithm_of(tcb).idle(tcp, tcb, idle_ns)


cdef void congestion_sent(TcpLayer* tcp, Tcb* tcb, bint sent, bint full) noexcept nogil:
    if not congestion_controls(tcb):
        validate_window(tcp, tcb, sent, full)
    if algorithm_of(tcb).sent != NULL:
        algorithm_of(tcb).sent(tcp, tcb)
