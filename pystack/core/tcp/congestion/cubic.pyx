# CUBIC: after a reduction the window grows along a cubic curve, flat where the loss had been.
# Called by: interface; tcb frees its state.
# RFCs: 9438, 9406 by way of hystart, 8511.
#
# Integers as in Linux: windows in segments, K and the time on the curve in 1/1024 s, beta and C in
# 1/1024.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from pystack.core.tcp.congestion.algorithm cimport CONGESTION_ECN, CongestionEvent
from pystack.core.tcp.congestion.hystart cimport hystart_acked, hystart_sample, hystart_sent
from pystack.core.tcp.congestion.hystart_classic cimport hystart_classic_sample
from pystack.core.tcp.congestion.window cimport (
    INFINITE_SSTHRESH, additive_increase, in_slow_start, segments, slow_start, threshold,
)
from pystack.core.tcp.layer cimport (
    ClassicHyStart, CubicCurve, CubicState, HyStart, Tcb, TcpLayer,
)

cdef enum:
    SCALE = 1024
    C = 410                     # 0.4 (RFC 9438 section 5.2)
    BETA = 717                  # 0.7 (section 4.6)
    BETA_ECN = 870              # 0.85 (RFC 8511 section 3.1)
    # 1 / alpha in eighths: alpha = 3 (1 - beta) / (1 + beta) (section 4.3)
    EIGHTHS_PER_SEGMENT = 15
    MOST_TIME = 1 << 18         # on the curve, 256 s: beyond it everything is allowed anyway
    LEAST_PER_SEGMENT = 2       # at most half as much again in a round trip (section 4.2)
    # As Linux: as long as no loss has shown where the curve is flat, at least 5 % in a round trip.
    MOST_PER_SEGMENT_WITHOUT_LOSS = 20
    RECOMPUTE_MS = 31           # as Linux, with a window that has not changed
    SETTLED_MS = 1000           # of a curve
    MOST_RTT_US = 0x7FFFFFFF

cdef int64_t MILLISECOND = 1_000_000


cdef CubicState* state_of(Tcb* tcb) noexcept nogil:
    """NULL when out of memory."""
    if tcb.congestion.cubic == NULL:
        tcb.congestion.cubic = <CubicState*>calloc(1, sizeof(CubicState))
    return tcb.congestion.cubic


cdef inline bint is_forgotten(const Tcb* tcb) noexcept nogil:
    """Nothing is known, and what would be learnt now tcb_idle would free at the end of this ACK."""
    return (tcb.congestion.cubic == NULL and tcb.busy.packets_out == 0
            and tcb.busy.send_ring.length == 0 and tcb.congestion.ssthresh == INFINITE_SSTHRESH
            and not tcb.config.hystart_classic)


cdef void cubic_stop(Tcb* tcb) noexcept nogil:
    free(tcb.congestion.cubic)
    tcb.congestion.cubic = NULL


cdef uint32_t cube_root(uint64_t of) noexcept nogil:
    """Rounded down; of < 2^63."""
    cdef uint64_t root = 0
    cdef uint64_t larger
    cdef int bit
    for bit in range(20, -1, -1):
        larger = root | (<uint64_t>1 << bit)
        if larger * larger * larger <= of:
            root = larger
    return <uint32_t>root


cdef void start_epoch(
        CubicCurve* curve, uint32_t cwnd, uint32_t acked, uint32_t now_ms) noexcept nogil:
    """Congestion avoidance begins (section 4.2): K is the time from here to W_max."""
    curve.in_epoch = True
    curve.epoch_start = now_ms
    curve.w_est = cwnd
    curve.w_est_acked = acked
    if curve.w_max <= cwnd:
        curve.k = 0
        curve.origin = cwnd
    else:
        curve.k = cube_root((<uint64_t>1 << 40) // C * (curve.w_max - cwnd))
        curve.origin = curve.w_max


cdef uint32_t cubic_target(const CubicCurve* curve, int64_t elapsed_ms) noexcept nogil:
    """W_cubic(t) = C (t - K)^3 + W_max (section 4.2, figure 1), in segments."""
    cdef uint64_t t = min(<uint64_t>elapsed_ms * SCALE // 1000, <uint64_t>MOST_TIME)
    cdef uint64_t distance = min(t - curve.k if t > curve.k else curve.k - t, <uint64_t>MOST_TIME)
    cdef uint64_t delta = C * distance * distance * distance >> 40
    if t >= curve.k:
        return curve.origin + <uint32_t>delta
    return curve.origin - min(<uint32_t>delta, curve.origin)


cdef void follow_reno(CubicCurve* curve, uint32_t cwnd, bint own_pace) noexcept nogil:
    """W_est, what Reno would have by now (section 4.3); once it is where the loss was, at Reno's
    own pace, if so configured.
    """
    cdef uint32_t per = cwnd
    if curve.w_est < curve.cwnd_prior or not own_pace:
        per = cwnd * EIGHTHS_PER_SEGMENT >> 3
    while curve.w_est_acked > per:
        curve.w_est_acked -= per
        curve.w_est += 1


cdef uint32_t per_segment(
        const CubicCurve* curve, uint32_t cwnd, int64_t elapsed_ms) noexcept nogil:
    """After how many acknowledged segments cwnd grows by one, to be where the curve is a round trip
    later (sections 4.4 and 4.5).
    """
    cdef uint32_t target = cubic_target(curve, elapsed_ms)
    cdef uint32_t per = cwnd // (target - cwnd) if target > cwnd else 100 * cwnd
    if curve.w_max == 0:
        per = min(per, <uint32_t>MOST_PER_SEGMENT_WITHOUT_LOSS)
    return per


cdef void recompute(
        Tcb* tcb, CubicState* state, uint32_t cwnd, uint32_t acked,
        uint32_t now_ms) noexcept nogil:
    """Where the curve is a least round trip from now, at most once in a millisecond; and Reno."""
    cdef CubicCurve* curve = &state.curve
    if not curve.in_epoch or now_ms != state.last_at:
        state.last_cwnd = cwnd
        state.last_at = now_ms
        if not curve.in_epoch:
            start_epoch(curve, cwnd, acked, now_ms)
        state.per_segment = per_segment(
            curve, cwnd,
            <int64_t>(now_ms - curve.epoch_start) + (state.least_rtt_us + 999) // 1000)
    follow_reno(curve, cwnd, tcb.config.cubic_reno_pace)
    if curve.w_est > cwnd:
        state.per_segment = min(state.per_segment, cwnd // (curve.w_est - cwnd))
    state.per_segment = max(state.per_segment, <uint32_t>LEAST_PER_SEGMENT)


cdef void avoidance(TcpLayer* tcp, Tcb* tcb, CubicState* state, uint32_t acked) noexcept nogil:
    cdef CubicCurve* curve = &state.curve
    cdef uint32_t cwnd = segments(tcb)
    cdef uint32_t now_ms = <uint32_t>(tcp.context.now // MILLISECOND)
    curve.w_est_acked += acked // tcb.smss
    if state.last_cwnd != cwnd or now_ms - state.last_at > RECOMPUTE_MS:
        recompute(tcb, state, cwnd, acked // tcb.smss, now_ms)
    additive_increase(tcb, state.per_segment, acked)


cdef void cubic_acked(TcpLayer* tcp, Tcb* tcb, uint32_t acked) noexcept nogil:
    """Slow start, with HyStart++ if it is the first; then the curve (section 4.10, 4.2)."""
    cdef CubicState* state = NULL if is_forgotten(tcb) else state_of(tcb)
    if in_slow_start(tcb):
        if (state != NULL and tcb.config.hystart and not tcb.config.hystart_classic
                and tcb.congestion.ssthresh == INFINITE_SSTHRESH):
            acked = hystart_acked(&state.hystart, tcb, acked)
        acked = slow_start(tcb, acked)
        if acked == 0:
            return
    if state == NULL:
        # Without memory for a curve at Reno's pace.
        additive_increase(tcb, segments(tcb), acked)
        return
    avoidance(tcp, tcb, state, acked)


cdef uint32_t cubic_ssthresh(TcpLayer* tcp, Tcb* tcb, CongestionEvent event) noexcept nogil:
    """beta_cubic times cwnd (section 4.6), and where the curve shall be flat: at the window of
    the loss, or below it if that is lower than the last one's (fast convergence, section 4.7).

    As Linux, cwnd stands for flight_size: it does not grow while it is not in use.
    """
    cdef uint32_t beta = BETA_ECN if event == CONGESTION_ECN and tcb.config.abe else BETA
    cdef uint32_t cwnd = segments(tcb)
    cdef CubicState* state = state_of(tcb)
    if state != NULL:
        memset(&state.hystart, 0, sizeof(HyStart))
        state.curve.in_epoch = False
        state.curve.cwnd_prior = cwnd
        state.curve.w_max = (
            cwnd * (SCALE + beta) // (2 * SCALE) if cwnd < state.curve.w_max else cwnd)
    return threshold(tcb, <uint32_t>(<uint64_t>cwnd * beta // SCALE))


cdef void cubic_timeout(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Section 4.8: the next curve begins where slow start ends; cwnd_prior stays (section 4.3)."""
    cdef CubicState* state = tcb.congestion.cubic
    cdef uint32_t cwnd_prior
    if state == NULL:
        return
    cwnd_prior = state.curve.cwnd_prior
    memset(&state.curve, 0, sizeof(CubicCurve))
    state.curve.cwnd_prior = cwnd_prior
    memset(&state.classic, 0, sizeof(ClassicHyStart))
    state.least_rtt_us = state.last_cwnd = state.last_at = 0


cdef void cubic_sample(TcpLayer* tcp, Tcb* tcb, int64_t rtt_ns) noexcept nogil:
    cdef CubicState* state = NULL if is_forgotten(tcb) else state_of(tcb)
    cdef uint32_t rtt_us = <uint32_t>min(max(rtt_ns // 1000, <int64_t>1), <int64_t>MOST_RTT_US)
    if state == NULL:
        return
    if in_slow_start(tcb) and tcb.congestion.ssthresh == INFINITE_SSTHRESH:
        hystart_sample(&state.hystart, rtt_ns)
    # As Linux: what fast recovery leaves in the queues is no measure of the path.
    if state.curve.in_epoch and (
            <uint32_t>(tcp.context.now // MILLISECOND) - state.curve.epoch_start < SETTLED_MS):
        return
    if state.least_rtt_us == 0 or rtt_us < state.least_rtt_us:
        state.least_rtt_us = rtt_us
    if tcb.config.hystart and tcb.config.hystart_classic and in_slow_start(tcb):
        hystart_classic_sample(tcp, tcb, &state.classic, rtt_us, state.least_rtt_us)


cdef void cubic_sent(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    if tcb.congestion.cubic != NULL:
        hystart_sent(&tcb.congestion.cubic.hystart, tcb)


cdef void cubic_idle(TcpLayer* tcp, Tcb* tcb, int64_t idle_ns) noexcept nogil:
    """Time in which nothing was sent is no time on the curve (section 5.8)."""
    cdef uint32_t now_ms = <uint32_t>(tcp.context.now // MILLISECOND)
    cdef CubicCurve* curve
    if tcb.congestion.cubic == NULL:
        return
    curve = &tcb.congestion.cubic.curve
    curve.epoch_start += <uint32_t>min(
        idle_ns // MILLISECOND, <int64_t>(now_ms - curve.epoch_start))
