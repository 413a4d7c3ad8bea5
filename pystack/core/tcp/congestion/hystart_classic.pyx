# HyStart, as Linux has it: slow start ends when ACKs of one round come as a train as long as
# half of the round trip, or when the round trip has grown.
# Called by: cubic.
# RFCs: none; Ha and Rhee, "Taming the elephants: new TCP slow start" (2011).

from libc.stdint cimport int32_t, uint32_t, uint64_t
from pystack.core.tcp.layer cimport ClassicHyStart, Tcb, TcpLayer
from pystack.core.tcp.pacing cimport pacing_is_on, pacing_rate
from pystack.core.wire.tcp cimport seq_gt

cdef enum:
    LOW_WINDOW = 16             # segments: nothing is concluded from less
    TRAIN_GAP_US = 2_000        # ACKs closer than that belong together
    LEAST_GROWTH_US = 4_000
    MOST_GROWTH_US = 16_000
    SAMPLES = 8
    MOST_ACK_DELAY_US = 1_000
    FOUR_TRAINS = 4 * 65536     # bytes


cdef void start_round(ClassicHyStart* hystart, const Tcb* tcb, uint32_t now_us) noexcept nogil:
    hystart.in_round = True
    hystart.round_start = hystart.last_ack = now_us
    hystart.round_end = tcb.snd_nxt
    hystart.least_rtt = 0xFFFFFFFF
    hystart.samples = 0


cdef uint32_t ack_delay(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """What a receiver that joins segments into trains may take for it."""
    cdef uint64_t rate = max(pacing_rate(tcp, tcb), <uint64_t>1)
    return <uint32_t>min(
        <uint64_t>FOUR_TRAINS * 1_000_000 // rate, <uint64_t>MOST_ACK_DELAY_US)


cdef bint train_is_long(
        const TcpLayer* tcp, const Tcb* tcb, ClassicHyStart* hystart, uint32_t now_us,
        uint32_t least_us) noexcept nogil:
    cdef uint32_t threshold = least_us + ack_delay(tcp, tcb)
    if <int32_t>(now_us - hystart.last_ack) > TRAIN_GAP_US:
        return False
    hystart.last_ack = now_us
    if not pacing_is_on(tcb):
        threshold >>= 1
    return <int32_t>(now_us - hystart.round_start) > <int32_t>threshold


cdef bint delay_has_grown(
        ClassicHyStart* hystart, uint32_t rtt_us, uint32_t least_us) noexcept nogil:
    hystart.least_rtt = min(hystart.least_rtt, rtt_us)
    if hystart.samples < SAMPLES:
        hystart.samples += 1
        return False
    return hystart.least_rtt > least_us + min(
        max(least_us >> 3, <uint32_t>LEAST_GROWTH_US), <uint32_t>MOST_GROWTH_US)


cdef void hystart_classic_sample(
        TcpLayer* tcp, Tcb* tcb, ClassicHyStart* hystart, uint32_t rtt_us,
        uint32_t least_us) noexcept nogil:
    cdef uint32_t now_us = <uint32_t>(tcp.context.now // 1000)
    cdef bint long_train
    if hystart.found or tcb.congestion.cwnd < LOW_WINDOW * tcb.smss:
        return
    if not hystart.in_round or seq_gt(tcb.snd_una, hystart.round_end):
        start_round(hystart, tcb, now_us)
    long_train = train_is_long(tcp, tcb, hystart, now_us, least_us)
    if delay_has_grown(hystart, rtt_us, least_us) or long_train:
        hystart.found = True
        tcb.congestion.ssthresh = tcb.congestion.cwnd
