# Round-trip time and retransmission timeout.
# Called by: ack, handshake, timers, listen.
# RFCs: 6298, 7323 section 4, 8985 section 6.2 step 1 (RACK.min_RTT).

from libc.stdint cimport int64_t, uint32_t
from pystack.core.tcp.layer cimport Rtt, Tcb, TcpBusy, TcpLayer
from pystack.core.wire.tcp cimport seq_gt

cdef enum:
    MAX_BACKOFF = 16

cdef int64_t LONGEST_US = 0xFFFFFFF


cdef uint32_t microseconds(int64_t ns) noexcept nogil:
    return <uint32_t>max(<int64_t>1, min(ns // 1000, LONGEST_US))


cdef void deviate(Rtt* rtt, int64_t error_ns) noexcept nogil:
    """RTTVAR <- 3/4 RTTVAR + 1/4 |error| (RFC 6298 section 2.3), in mdev four times that.

    As Linux, when the round trip becomes shorter the deviation grows by an eighth of that only:
    good news shall not lengthen the timeout.
    """
    cdef int64_t change = (error_ns if error_ns >= 0 else -error_ns) // 1000 - rtt.mdev // 4
    if error_ns < 0 and change > 0:
        change //= 8
    rtt.mdev = <uint32_t>max(<int64_t>0, min(<int64_t>rtt.mdev + change, LONGEST_US * 4))


cdef void rtt_sample(TcpLayer* tcp, Tcb* tcb, int64_t sample_ns) noexcept nogil:
    """Fold one round trip into SRTT, RTTVAR and RTO (RFC 6298 section 2).

    As Linux, the RTO takes the largest deviation of a round trip, and lets it go by a quarter per
    round trip: many samples in one window do not make it forget. The minimum bounds 4 * RTTVAR
    and not the sum: a steady path keeps 200 ms above its SRTT.
    """
    cdef Rtt* rtt = &tcb.rtt
    cdef uint32_t least = <uint32_t>(tcb.config.rto_min // 1000)
    cdef int64_t error
    sample_ns = max(sample_ns, 1)
    if rtt.srtt == 0:
        rtt.srtt = sample_ns
        rtt.mdev = 2 * microseconds(sample_ns)
        rtt.rttvar = tcb.busy.mdev_max = max(rtt.mdev, least)
        tcb.busy.round_end = tcb.snd_nxt
    else:
        error = sample_ns - rtt.srtt
        rtt.srtt = max(rtt.srtt + error // 8, 1)
        deviate(rtt, error)
        if rtt.mdev > tcb.busy.mdev_max:
            tcb.busy.mdev_max = rtt.mdev
            rtt.rttvar = max(rtt.rttvar, rtt.mdev)
        if seq_gt(tcb.snd_una, tcb.busy.round_end):
            if tcb.busy.mdev_max < rtt.rttvar:
                rtt.rttvar -= (rtt.rttvar - tcb.busy.mdev_max) // 4
            tcb.busy.round_end = tcb.snd_nxt
            tcb.busy.mdev_max = least
    rtt.rto = min(rtt.srtt + <int64_t>rtt.rttvar * 1000, tcb.config.rto_max)
    tcb.backoff = 0


cdef void keep(Tcb* tcb, int place, uint32_t at_ms, uint32_t sample_us) noexcept nogil:
    """This is now the least from `place` on."""
    if place == 0:
        tcb.rtt.min_us = sample_us
        tcb.rtt.min_at_ms = at_ms
    for place in range(max(place - 1, 0), 2):
        tcb.busy.min_us[place] = sample_us
        tcb.busy.min_at_ms[place] = at_ms


cdef void shift(Tcb* tcb, uint32_t at_ms, uint32_t sample_us) noexcept nogil:
    """The best has grown too old: the second best takes its place."""
    cdef TcpBusy* busy = tcb.busy
    tcb.rtt.min_us, tcb.rtt.min_at_ms = busy.min_us[0], busy.min_at_ms[0]
    busy.min_us[0], busy.min_at_ms[0] = busy.min_us[1], busy.min_at_ms[1]
    keep(tcb, 2, at_ms, sample_us)


cdef void rtt_min_sample(TcpLayer* tcp, Tcb* tcb, int64_t sample_ns) noexcept nogil:
    """The least of a moving window in constant space: the best of all of it, of its last three
    quarters and of its last half (as Linux's win_minmax).
    """
    cdef const TcpBusy* busy = tcb.busy
    cdef const Rtt* rtt = &tcb.rtt
    cdef uint32_t window = <uint32_t>(tcb.config.min_rtt_window // 1_000_000)
    cdef uint32_t now = <uint32_t>(tcp.context.now // 1_000_000)
    cdef uint32_t sample = microseconds(sample_ns)
    if rtt.min_us == 0 or sample <= rtt.min_us or now - busy.min_at_ms[1] > window:
        keep(tcb, 0, now, sample)
        return
    if sample <= busy.min_us[0]:
        keep(tcb, 1, now, sample)
    elif sample <= busy.min_us[1]:
        keep(tcb, 2, now, sample)
    if now - rtt.min_at_ms > window:
        shift(tcb, now, sample)
        if now - rtt.min_at_ms > window:
            shift(tcb, now, sample)
    elif busy.min_at_ms[0] == rtt.min_at_ms and now - rtt.min_at_ms > window // 4:
        keep(tcb, 1, now, sample)
    elif busy.min_at_ms[1] == busy.min_at_ms[0] and now - rtt.min_at_ms > window // 2:
        keep(tcb, 2, now, sample)


cdef int64_t rtt_timeout(const Tcb* tcb) noexcept nogil:
    """The timeout in force, ns (RFC 6298 sections 2.5 and 5.5)."""
    return min(tcb.rtt.rto << tcb.backoff, tcb.config.rto_max)


cdef void rtt_back_off(Tcb* tcb) noexcept nogil:
    """Double the timeout (RFC 6298 section 5.5)."""
    if tcb.backoff < MAX_BACKOFF:
        tcb.backoff += 1
