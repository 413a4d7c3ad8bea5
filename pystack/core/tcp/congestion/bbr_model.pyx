# BBR's model of the path: bandwidth, least round trip, how much ACKs are aggregated, policers.
# Called by: bbr.
# RFCs: none; draft-cardwell-iccrg-bbr-congestion-control-00 section 4.1.
#
# What the draft does not have is Linux's: the policer's rate ("long-term bandwidth") and the extra
# window for ACKs that come in lumps (draft-cardwell-iccrg-bbr-congestion-control-02 section 4.5.5).

from libc.stdint cimport int64_t, uint32_t, uint64_t
from pystack.core.tcp.congestion.bbr_state cimport BBR_PROBE_BW, BBR_UNIT, BbrState
from pystack.core.tcp.congestion.maximum cimport maximum_add, maximum_of, maximum_reset
from pystack.core.tcp.congestion.window cimport segments
from pystack.core.tcp.layer cimport Tcb
from pystack.core.tcp.rate cimport RateSample
from pystack.core.tcp.rtt cimport rtt_min
from pystack.core.wire.tcp cimport seq_ge

cdef enum:
    INITIAL_WINDOW = 10
    BANDWIDTH_ROUNDS = 10       # BtlBwFilterLen (section 4.1.1.3)
    EXTRA_ROUNDS = 5            # the extra window is of the last five to ten rounds
    EXTRA_MOST = 1 << 20        # segments: then the stretch begins anew
    # A policer: in an interval of 4 to 16 rounds that begins and ends with a loss a fifth is lost;
    # two such intervals have the same rate but for an eighth. Believed for 48 rounds.
    POLICER_LEAST_ROUNDS = 4
    POLICER_MOST_ROUNDS = 16
    POLICER_LOSS = 50           # of 256
    POLICER_RATIO = 8
    POLICER_DIFFERENCE = 500    # bytes per second: or closer than this
    POLICER_ROUNDS = 48

cdef int64_t SECOND = 1_000_000_000
cdef int64_t MILLISECOND = 1_000_000
cdef int64_t RTT_WINDOW = 10 * SECOND           # RTpropFilterLen (section 4.1.2.3)
cdef int64_t EXTRA_TIME = 100 * MILLISECOND     # at most what arrives in it
cdef int64_t STRETCH_MOST = 100 * SECOND        # so that products fit 64 bits


cdef void model_start(BbrState* bbr, const Tcb* tcb, int64_t now) noexcept nogil:
    maximum_reset(&bbr.bandwidth, 0, 0)
    bbr.round_end = tcb.delivered
    bbr.min_rtt = rtt_min(&tcb.rtt) if tcb.rtt.min_us else 0
    bbr.min_rtt_at = bbr.stretch_at = now
    model_forget_policer(bbr, tcb, now)


cdef uint64_t model_bandwidth(const BbrState* bbr) noexcept nogil:
    return bbr.policed if bbr.policed_in_use else maximum_of(&bbr.bandwidth)


cdef uint32_t model_product(
        const BbrState* bbr, const Tcb* tcb, uint64_t bandwidth, uint32_t gain) noexcept nogil:
    """BBRInflight() without the allowance for trains (section 4.2.3.2)."""
    cdef uint64_t size
    if bbr.min_rtt == 0:
        return INITIAL_WINDOW
    # In microseconds: 100 Gbit/s times 100 s still fits.
    size = bandwidth * <uint64_t>max(bbr.min_rtt // 1000, 1) // 1_000_000
    size = (size * gain + BBR_UNIT - 1) // BBR_UNIT
    return <uint32_t>min((size + tcb.smss - 1) // tcb.smss, <uint64_t>1 << 30)


# --- rounds and bandwidth

cdef void count_round(BbrState* bbr, const Tcb* tcb, const RateSample* sample) noexcept nogil:
    """A round is over when something arrives that was sent after it had begun (section 4.1.1.2)."""
    if seq_ge(sample.prior_delivered, bbr.round_end):
        bbr.round_end = tcb.delivered
        bbr.rounds += 1
        bbr.round_start = True


cdef void model_update(
        BbrState* bbr, const Tcb* tcb, const RateSample* sample, int64_t now) noexcept nogil:
    """BBRUpdateBtlBw(): a sample that the application has limited counts only if it shows that
    there is more (section 4.1.1.3).
    """
    cdef uint64_t bandwidth
    bbr.round_start = False
    if sample.interval <= 0:
        return
    count_round(bbr, tcb, sample)
    model_lost(bbr, tcb, sample, now)
    bandwidth = <uint64_t>sample.delivered * tcb.smss * <uint64_t>SECOND // sample.interval
    if not sample.app_limited or bandwidth >= maximum_of(&bbr.bandwidth):
        maximum_add(&bbr.bandwidth, BANDWIDTH_ROUNDS, bbr.rounds, bandwidth)
    note_extra(bbr, tcb, sample, now)


cdef bint model_update_rtt(BbrState* bbr, const RateSample* sample, int64_t now) noexcept nogil:
    """BBRUpdateRTprop() (section 4.1.2.3)."""
    cdef bint expired = now > bbr.min_rtt_at + RTT_WINDOW
    if sample.rtt >= 0 and (bbr.min_rtt == 0 or sample.rtt < bbr.min_rtt
                            or (expired and not sample.rtt_delayed)):
        bbr.min_rtt = max(sample.rtt, 1)
        bbr.min_rtt_at = now
    return expired


# --- ACKs in lumps

cdef void note_extra(
        BbrState* bbr, const Tcb* tcb, const RateSample* sample, int64_t now) noexcept nogil:
    """How much more was acknowledged, since that was last explained by the bandwidth, than this
    explains.
    """
    cdef uint64_t expected, elapsed
    cdef uint32_t extra
    if sample.acked == 0:
        return
    if bbr.round_start:
        bbr.extra_rounds += 1
        if bbr.extra_rounds >= EXTRA_ROUNDS:
            bbr.extra_rounds = 0
            bbr.extra_window ^= 1
            bbr.extra_acked[bbr.extra_window] = 0
    elapsed = <uint64_t>(min(now - bbr.stretch_at, STRETCH_MOST) // 1000)
    expected = model_bandwidth(bbr) * elapsed // 1_000_000 // tcb.smss
    if bbr.stretch_acked <= expected or bbr.stretch_acked + sample.acked >= EXTRA_MOST:
        bbr.stretch_acked = 0
        bbr.stretch_at = now
        expected = 0
    bbr.stretch_acked += sample.acked
    extra = min(bbr.stretch_acked - <uint32_t>expected, segments(tcb))
    bbr.extra_acked[bbr.extra_window] = max(bbr.extra_acked[bbr.extra_window], extra)


cdef uint32_t model_extra(const BbrState* bbr, const Tcb* tcb) noexcept nogil:
    cdef uint64_t most = (
        model_bandwidth(bbr) * <uint64_t>(EXTRA_TIME // MILLISECOND) // 1000 // tcb.smss)
    return <uint32_t>min(max(bbr.extra_acked[0], bbr.extra_acked[1]), most)


# --- policers

cdef void begin_interval(BbrState* bbr, const Tcb* tcb, int64_t now) noexcept nogil:
    bbr.policed_from = now
    bbr.policed_delivered = tcb.delivered
    bbr.policed_lost = tcb.rare.lost
    bbr.policed_rounds = 0


cdef void model_forget_policer(BbrState* bbr, const Tcb* tcb, int64_t now) noexcept nogil:
    bbr.policed = 0
    bbr.policed_in_use = False
    bbr.policed_sampling = False
    begin_interval(bbr, tcb, now)


cdef void end_interval(
        BbrState* bbr, const Tcb* tcb, uint64_t bandwidth, int64_t now) noexcept nogil:
    """Two intervals in a row with much loss and about the same rate: that is a policer's."""
    cdef uint64_t difference
    if bbr.policed:
        difference = max(bandwidth, bbr.policed) - min(bandwidth, bbr.policed)
        if difference * POLICER_RATIO <= bbr.policed or difference <= POLICER_DIFFERENCE:
            bbr.policed = (bandwidth + bbr.policed) // 2
            bbr.policed_in_use = True
            bbr.policed_rounds = 0
            return
    bbr.policed = bandwidth
    begin_interval(bbr, tcb, now)


cdef void model_lost(
        BbrState* bbr, const Tcb* tcb, const RateSample* sample, int64_t now) noexcept nogil:
    """A token bucket that is empty drops what is above its rate, where a bottleneck would queue it:
    probing for more is in vain for a while.
    """
    cdef uint32_t lost, delivered
    cdef int64_t elapsed = (now - bbr.policed_from) // MILLISECOND
    if bbr.policed_in_use:
        if bbr.mode == BBR_PROBE_BW and bbr.round_start:
            bbr.policed_rounds += 1
        return
    if not bbr.policed_sampling:
        if sample.lost == 0:
            return
        begin_interval(bbr, tcb, now)
        bbr.policed_sampling = True
    if sample.app_limited:
        model_forget_policer(bbr, tcb, now)
        return
    if bbr.round_start:
        bbr.policed_rounds += 1
    if bbr.policed_rounds < POLICER_LEAST_ROUNDS:
        return
    if bbr.policed_rounds > POLICER_MOST_ROUNDS:
        model_forget_policer(bbr, tcb, now)
        return
    if sample.lost == 0:
        return
    lost = tcb.rare.lost - bbr.policed_lost
    delivered = tcb.delivered - bbr.policed_delivered
    if delivered == 0 or <uint64_t>lost * BBR_UNIT < <uint64_t>POLICER_LOSS * delivered:
        return
    if elapsed >= 1:
        end_interval(bbr, tcb, <uint64_t>delivered * tcb.smss * 1000 // <uint64_t>elapsed, now)


cdef bint model_policer_is_old(const BbrState* bbr) noexcept nogil:
    return bbr.policed_in_use and bbr.policed_rounds >= POLICER_ROUNDS
