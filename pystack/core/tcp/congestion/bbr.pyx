# BBR: sends at the rate at which the network delivers, and keeps about as much outstanding as fits
# the path without a queue. Losses tell it little.
# Called by: interface; pacing.
# RFCs: none; draft-cardwell-iccrg-bbr-congestion-control-00.
#
# Version 1, as Linux's: sections are the draft's. Windows are in segments here.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from pystack.core.memory.random cimport random_next
from pystack.core.tcp.busy cimport tcb_rare
from pystack.core.tcp.congestion.algorithm cimport CongestionEvent
from pystack.core.tcp.congestion.bbr_model cimport (
    model_bandwidth, model_extra, model_forget_policer, model_lost, model_policer_is_old,
    model_product, model_start, model_update, model_update_rtt,
)
from pystack.core.tcp.congestion.bbr_state cimport (
    BBR_DRAIN, BBR_PROBE_BW, BBR_PROBE_RTT, BBR_STARTUP, BBR_UNIT, BbrState,
)
from pystack.core.tcp.congestion.maximum cimport maximum_of
from pystack.core.tcp.congestion.reno cimport reno_ssthresh
from pystack.core.tcp.congestion.window cimport INFINITE_SSTHRESH, MAX_CWND, segments
from pystack.core.tcp.layer cimport CA_LOSS, CA_OPEN, CA_RECOVERY, Tcb, TcpLayer, TcpRare
from pystack.core.tcp.rate cimport RateSample, rate_set_app_limited
from pystack.core.tcp.scoreboard cimport sent_in_flight

cdef enum:
    INITIAL_WINDOW = 10
    LEAST_WINDOW = 4            # BBRMinPipeCwnd (section 4.2.3.1): delayed ACKs still flow
    HIGH_GAIN = 739             # 2/ln(2), rounded up (section 4.2.2): doubles in a round trip
    DRAIN_GAIN = 88             # its inverse (section 4.3.3)
    CWND_GAIN = 512
    PHASES = 8                  # of the gain cycle (section 4.3.4.3)
    PROBING = 320               # 5/4
    DRAINING = 192              # 3/4
    FULL_ROUNDS = 3             # without growth by a quarter: the pipe is full (section 4.3.2)
    MARGIN = 99                 # percent: a bit below the bandwidth, so that no queue stays
    LOW_RATE = 150_000          # bytes per second: below it a train is one segment
    TRAINS_PER_SECOND = 1 << 10
    MOST_TRAIN = 0x7F           # segments, of the allowance

cdef int64_t SECOND = 1_000_000_000
cdef int64_t MILLISECOND = 1_000_000
cdef int64_t PROBE_RTT_TIME = 200 * MILLISECOND         # ProbeRTTDuration (section 4.3.5)


# --- modes

cdef bint pipe_is_full(const BbrState* bbr) noexcept nogil:
    return bbr.full_rounds >= FULL_ROUNDS


cdef void next_phase(BbrState* bbr, int64_t now) noexcept nogil:
    bbr.cycle = (bbr.cycle + 1) % PHASES
    bbr.cycle_at = now


cdef void enter_probe_bw(TcpLayer* tcp, BbrState* bbr) noexcept nogil:
    """BBREnterProbeBW() (section 4.3.4.3): in any phase but the draining one, so that flows that
    share a bottleneck do not probe at the same time.
    """
    bbr.mode = BBR_PROBE_BW
    bbr.cycle = <unsigned char>(PHASES - 1 - random_next(&tcp.context.random) % (PHASES - 1))
    next_phase(bbr, tcp.context.now)


cdef void leave_probe_rtt(TcpLayer* tcp, BbrState* bbr) noexcept nogil:
    if pipe_is_full(bbr):
        enter_probe_bw(tcp, bbr)
    else:
        bbr.mode = BBR_STARTUP


cdef void set_gains(BbrState* bbr) noexcept nogil:
    if bbr.mode == BBR_STARTUP:
        bbr.pacing_gain = bbr.cwnd_gain = HIGH_GAIN
    elif bbr.mode == BBR_DRAIN:
        bbr.pacing_gain = DRAIN_GAIN
        bbr.cwnd_gain = HIGH_GAIN
    elif bbr.mode == BBR_PROBE_RTT:
        bbr.pacing_gain = bbr.cwnd_gain = BBR_UNIT
    else:
        bbr.cwnd_gain = CWND_GAIN
        bbr.pacing_gain = BBR_UNIT
        if bbr.cycle < 2 and not bbr.policed_in_use:
            bbr.pacing_gain = DRAINING if bbr.cycle else PROBING


# --- the pacing rate

cdef uint64_t bbr_pacing_rate(const Tcb* tcb) noexcept nogil:
    return tcb.rare.bbr.pacing_rate


cdef uint64_t rate_at(uint64_t bandwidth, uint32_t gain) noexcept nogil:
    return bandwidth * gain // BBR_UNIT * MARGIN // 100


cdef void first_pacing_rate(BbrState* bbr, const Tcb* tcb) noexcept nogil:
    """BBRInitPacingRate() (section 4.2.1): the initial window in a round trip, or in 1 ms as long
    as that is not known.
    """
    cdef int64_t rtt = max(tcb.rtt.srtt, 1000) if tcb.rtt.srtt else MILLISECOND
    bbr.seen_rtt = tcb.rtt.srtt != 0
    bbr.pacing_rate = rate_at(<uint64_t>tcb.congestion.cwnd * <uint64_t>SECOND // rtt, HIGH_GAIN)


cdef void set_pacing_rate(BbrState* bbr, const Tcb* tcb, uint64_t bandwidth) noexcept nogil:
    """BBRSetPacingRate() (section 4.2.1): not lower as long as the pipe is being filled."""
    cdef uint64_t rate = rate_at(bandwidth, bbr.pacing_gain)
    if not bbr.seen_rtt and tcb.rtt.srtt:
        first_pacing_rate(bbr, tcb)
    if pipe_is_full(bbr) or rate > bbr.pacing_rate:
        bbr.pacing_rate = rate


cdef uint32_t bbr_least_train(const Tcb* tcb) noexcept nogil:
    return 1 if tcb.rare.bbr.pacing_rate < LOW_RATE else 2


# --- windows

cdef uint32_t train_goal(const Tcb* tcb) noexcept nogil:
    """BBR.send_quantum (section 4.2.2), in segments: a millisecond's worth."""
    cdef uint64_t bytes = min(
        tcb.rare.bbr.pacing_rate // TRAINS_PER_SECOND, <uint64_t>0xFFFF)
    cdef uint32_t goal = max(<uint32_t>bytes // tcb.smss, bbr_least_train(tcb))
    return min(goal, <uint32_t>MOST_TRAIN)


cdef uint32_t with_allowance(const BbrState* bbr, const Tcb* tcb, uint32_t window) noexcept nogil:
    """Trains are being built, are under way and are being acknowledged: room for three of them, and
    for delayed ACKs an even number (section 4.2.3.2).
    """
    window += 3 * train_goal(tcb)
    window += window & 1
    # A short path: two more while it probes, so that there is something to see.
    return window + 2 if bbr.mode == BBR_PROBE_BW and bbr.cycle == 0 else window


cdef uint32_t inflight_at(const BbrState* bbr, const Tcb* tcb, uint32_t gain) noexcept nogil:
    """BBRInflight(): what is outstanding if the rate is `gain` times the bandwidth."""
    return with_allowance(
        bbr, tcb, model_product(bbr, tcb, maximum_of(&bbr.bandwidth), gain))


cdef uint32_t in_network_at_departure(
        const BbrState* bbr, const Tcb* tcb, uint32_t in_flight, int64_t now) noexcept nogil:
    """Of what is outstanding now, what will still be when pacing lets the next train go."""
    cdef uint64_t delivered
    if bbr.pacing_gain > BBR_UNIT:
        in_flight += train_goal(tcb)
    if tcb.busy.paced_until <= now:
        return in_flight
    delivered = (model_bandwidth(bbr) * <uint64_t>((tcb.busy.paced_until - now) // 1000)
                 // 1_000_000 // tcb.smss)
    return in_flight - <uint32_t>min(<uint64_t>in_flight, delivered)


cdef void save_window(BbrState* bbr, const Tcb* tcb) noexcept nogil:
    """BBRSaveCwnd() (section 4.2.3.4): the last that was good."""
    if bbr.ca_state < CA_RECOVERY and bbr.mode != BBR_PROBE_RTT:
        bbr.prior_cwnd = segments(tcb)
    else:
        bbr.prior_cwnd = max(bbr.prior_cwnd, segments(tcb))


cdef void set_window(Tcb* tcb, uint64_t window) noexcept nogil:
    tcb.congestion.cwnd = <uint32_t>min(window * tcb.smss, <uint64_t>MAX_CWND)


cdef uint32_t modulate_for_recovery(
        BbrState* bbr, const Tcb* tcb, const RateSample* sample) noexcept nogil:
    """BBRModulateCwndForRecovery() (section 4.2.3.4): in the first round of a recovery as much is
    sent as arrives, and later no more than twice that; at its end the window is what it was.
    """
    cdef uint32_t window = segments(tcb)
    cdef uint32_t in_flight = sent_in_flight(tcb)
    if sample.lost:
        window = window - sample.lost if window > sample.lost else 1
    if tcb.busy.ca_state == CA_RECOVERY and bbr.ca_state != CA_RECOVERY:
        bbr.conserving = True
        bbr.round_end = tcb.delivered
        window = in_flight + sample.acked
    elif bbr.ca_state >= CA_RECOVERY and tcb.busy.ca_state < CA_RECOVERY:
        window = max(window, bbr.prior_cwnd)
        bbr.conserving = False
    bbr.ca_state = tcb.busy.ca_state
    return max(window, in_flight + sample.acked) if bbr.conserving else window


cdef void update_window(
        BbrState* bbr, Tcb* tcb, const RateSample* sample, uint64_t bandwidth) noexcept nogil:
    """BBRSetCwnd() (section 4.2.3.6)."""
    cdef uint32_t window = segments(tcb)
    cdef uint32_t target
    if sample.acked:
        window = modulate_for_recovery(bbr, tcb, sample)
        if not bbr.conserving:
            target = model_product(bbr, tcb, bandwidth, bbr.cwnd_gain)
            if pipe_is_full(bbr):
                target = with_allowance(bbr, tcb, target + model_extra(bbr, tcb))
                window = min(window + sample.acked, target)
            elif window < with_allowance(bbr, tcb, target) or tcb.delivered < INITIAL_WINDOW:
                window += sample.acked
            window = max(window, <uint32_t>LEAST_WINDOW)
    if bbr.mode == BBR_PROBE_RTT:
        window = min(window, <uint32_t>LEAST_WINDOW)
    set_window(tcb, window)


# --- the state machine

cdef void check_cycle(
        TcpLayer* tcp, BbrState* bbr, const Tcb* tcb, const RateSample* sample) noexcept nogil:
    """BBRCheckCyclePhase() (section 4.3.4.3): a phase is a round trip; probing goes on until it has
    built a queue or lost something, draining ends when the queue is gone.
    """
    cdef int64_t now = tcp.context.now
    cdef bint over = now - bbr.cycle_at > bbr.min_rtt
    cdef uint32_t in_flight
    if bbr.mode != BBR_PROBE_BW:
        return
    if bbr.pacing_gain != BBR_UNIT:
        in_flight = in_network_at_departure(bbr, tcb, sample.prior_in_flight, now)
        if bbr.pacing_gain > BBR_UNIT:
            over = over and (
                sample.lost != 0 or in_flight >= inflight_at(bbr, tcb, bbr.pacing_gain))
        else:
            over = over or in_flight <= inflight_at(bbr, tcb, BBR_UNIT)
    if over:
        next_phase(bbr, now)


cdef void check_full_pipe(BbrState* bbr, const RateSample* sample) noexcept nogil:
    """BBRCheckFullPipe() (section 4.3.2.1)."""
    cdef uint64_t bandwidth = maximum_of(&bbr.bandwidth)
    if pipe_is_full(bbr) or not bbr.round_start or sample.app_limited:
        return
    if bandwidth >= bbr.full_bandwidth * 5 // 4:
        bbr.full_bandwidth = bandwidth
        bbr.full_rounds = 0
        return
    bbr.full_rounds += 1


cdef void check_drain(TcpLayer* tcp, BbrState* bbr, Tcb* tcb) noexcept nogil:
    """BBRCheckDrain() (section 4.3.3)."""
    if bbr.mode == BBR_STARTUP and pipe_is_full(bbr):
        bbr.mode = BBR_DRAIN
        # Of no use here, but for whoever reads it, or comes after.
        tcb.congestion.ssthresh = <uint32_t>min(
            <uint64_t>inflight_at(bbr, tcb, BBR_UNIT) * tcb.smss, <uint64_t>INFINITE_SSTHRESH)
    if bbr.mode == BBR_DRAIN and in_network_at_departure(
            bbr, tcb, sent_in_flight(tcb), tcp.context.now) <= inflight_at(bbr, tcb, BBR_UNIT):
        enter_probe_bw(tcp, bbr)


cdef void check_probe_rtt_done(TcpLayer* tcp, BbrState* bbr, Tcb* tcb) noexcept nogil:
    if bbr.probe_rtt_done_at == 0 or tcp.context.now <= bbr.probe_rtt_done_at:
        return
    bbr.min_rtt_at = tcp.context.now        # the next in ten seconds
    set_window(tcb, max(segments(tcb), bbr.prior_cwnd))
    leave_probe_rtt(tcp, bbr)


cdef void check_probe_rtt(
        TcpLayer* tcp, BbrState* bbr, Tcb* tcb, const RateSample* sample) noexcept nogil:
    """BBRCheckProbeRTT() (section 4.3.5): when no round trip as short as the least has been seen
    for ten seconds, next to nothing is sent for 200 ms and a round.
    """
    cdef bint expired = model_update_rtt(bbr, sample, tcp.context.now)
    if expired and not bbr.idle_restart and bbr.mode != BBR_PROBE_RTT:
        save_window(bbr, tcb)
        bbr.mode = BBR_PROBE_RTT
        bbr.probe_rtt_done_at = 0
    if bbr.mode == BBR_PROBE_RTT:
        rate_set_app_limited(tcb)       # what it brings says nothing of the bandwidth
        if bbr.probe_rtt_done_at == 0:
            if sent_in_flight(tcb) <= LEAST_WINDOW:
                bbr.probe_rtt_done_at = tcp.context.now + PROBE_RTT_TIME
                bbr.probe_rtt_round_done = False
                bbr.round_end = tcb.delivered
        else:
            if bbr.round_start:
                bbr.probe_rtt_round_done = True
            if bbr.probe_rtt_round_done:
                check_probe_rtt_done(tcp, bbr, tcb)
    if sample.delivered:
        bbr.idle_restart = False


# --- the interface

cdef bint bbr_control(TcpLayer* tcp, Tcb* tcb, const RateSample* sample) noexcept nogil:
    """BBRUpdateModelAndState() and BBRUpdateControlParameters() (section 3.3), on each ACK."""
    cdef BbrState* bbr = tcb.rare.bbr
    cdef uint64_t bandwidth
    if bbr == NULL:
        return False
    model_update(bbr, tcb, sample, tcp.context.now)
    if bbr.round_start:
        bbr.conserving = False
        if model_policer_is_old(bbr):
            model_forget_policer(bbr, tcb, tcp.context.now)
            enter_probe_bw(tcp, bbr)
    check_cycle(tcp, bbr, tcb, sample)
    check_full_pipe(bbr, sample)
    check_drain(tcp, bbr, tcb)
    check_probe_rtt(tcp, bbr, tcb, sample)
    set_gains(bbr)
    bandwidth = model_bandwidth(bbr)
    set_pacing_rate(bbr, tcb, bandwidth)
    update_window(bbr, tcb, sample, bandwidth)
    return True


cdef void bbr_start(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """BBROnConnectionInit() (section 4.3.1)."""
    cdef TcpRare* rare = tcb_rare(tcb)
    cdef BbrState* bbr
    if rare == NULL:
        return      # it is Reno then
    if rare.bbr == NULL:
        rare.bbr = <BbrState*>calloc(1, sizeof(BbrState))
    bbr = rare.bbr
    if bbr == NULL:
        return
    memset(bbr, 0, sizeof(BbrState))
    bbr.ca_state = CA_OPEN
    tcb.congestion.ssthresh = INFINITE_SSTHRESH
    model_start(bbr, tcb, tcp.context.now)
    first_pacing_rate(bbr, tcb)
    set_gains(bbr)


cdef void bbr_stop(Tcb* tcb) noexcept nogil:
    if tcb.rare.bbr != NULL:
        free(tcb.rare.bbr)
        tcb.rare.bbr = NULL


cdef uint32_t bbr_ssthresh(TcpLayer* tcp, Tcb* tcb, CongestionEvent event) noexcept nogil:
    """A recovery begins: remember the window."""
    if tcb.rare.bbr == NULL:
        return reno_ssthresh(tcp, tcb, event)
    save_window(tcb.rare.bbr, tcb)
    return tcb.congestion.ssthresh


cdef void bbr_undo(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """It was no loss: growth has to be judged anew, unless the pipe is known to be full."""
    cdef BbrState* bbr = tcb.rare.bbr
    if bbr != NULL:
        bbr.full_bandwidth = 0
        if not pipe_is_full(bbr):
            bbr.full_rounds = 0
        model_forget_policer(bbr, tcb, tcp.context.now)


cdef void bbr_idle(TcpLayer* tcp, Tcb* tcb, int64_t idle_ns) noexcept nogil:
    """BBRHandleRestartFromIdle() (section 4.3.4.4): at the bandwidth that is known, no burst and no
    new start.
    """
    cdef BbrState* bbr = tcb.rare.bbr
    if bbr == NULL or tcb.busy.app_limited == 0:
        return
    bbr.idle_restart = True
    bbr.stretch_at = tcp.context.now
    bbr.stretch_acked = 0
    if bbr.mode == BBR_PROBE_BW:
        bbr.pacing_rate = rate_at(model_bandwidth(bbr), BBR_UNIT)
    elif bbr.mode == BBR_PROBE_RTT:
        check_probe_rtt_done(tcp, bbr, tcb)


cdef void bbr_timeout(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """BBROnEnterRTO() (section 4.2.3.4), and the growth seen so far is forgotten."""
    cdef BbrState* bbr = tcb.rare.bbr
    cdef RateSample sample
    if bbr == NULL:
        return
    bbr.ca_state = CA_LOSS
    bbr.full_bandwidth = 0
    bbr.round_start = True
    memset(&sample, 0, sizeof(RateSample))
    sample.lost = 1
    model_lost(bbr, tcb, &sample, tcp.context.now)


cdef void bbr_info(const Tcb* tcb, BbrInfo* info) noexcept nogil:
    cdef const BbrState* bbr = tcb.rare.bbr
    cdef uint64_t bandwidth = model_bandwidth(bbr)
    info.bandwidth_low = <uint32_t>bandwidth
    info.bandwidth_high = <uint32_t>(bandwidth >> 32)
    info.min_rtt = <uint32_t>(bbr.min_rtt // 1000) if bbr.min_rtt else 0xFFFFFFFF
    info.pacing_gain = <uint16_t>bbr.pacing_gain
    info.cwnd_gain = <uint16_t>bbr.cwnd_gain
