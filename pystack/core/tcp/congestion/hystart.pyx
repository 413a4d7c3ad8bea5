# HyStart++: slow start ends when round trips become longer, before it ends in a loss.
# Called by: cubic.
# RFCs: 9406.

from libc.stdint cimport int64_t, uint32_t
from pystack.core.tcp.layer cimport HyStart, Tcb
from pystack.core.wire.tcp cimport seq_ge

# RFC 9406 section 4.3. L, the growth per ACK, is not limited: as in Linux, a receiver that
# acknowledges a train at once shall not slow us down.
cdef enum:
    MIN_RTT_THRESH_US = 4_000
    MAX_RTT_THRESH_US = 16_000
    MIN_RTT_DIVISOR = 8
    N_RTT_SAMPLE = 8
    CSS_GROWTH_DIVISOR = 4
    CSS_ROUNDS = 5


cdef void hystart_sent(HyStart* hystart, const Tcb* tcb) noexcept nogil:
    """A round ends with the acknowledgment of what was outstanding when it began; a batch of ACKs
    is answered as a whole, so that is known only now.
    """
    if not hystart.in_round:
        hystart.window_end = tcb.snd_nxt
        hystart.in_round = True


cdef void start_round(HyStart* hystart) noexcept nogil:
    hystart.in_round = False
    hystart.last_round_min_us = hystart.current_round_min_us
    hystart.current_round_min_us = 0
    hystart.samples = 0


cdef void hystart_sample(HyStart* hystart, int64_t rtt_ns) noexcept nogil:
    """The least round trip of this round."""
    cdef uint32_t rtt_us = <uint32_t>max(rtt_ns // 1000, <int64_t>1)
    if hystart.current_round_min_us == 0 or rtt_us < hystart.current_round_min_us:
        hystart.current_round_min_us = rtt_us
    if hystart.samples < 255:
        hystart.samples += 1


cdef uint32_t rtt_threshold(const HyStart* hystart) noexcept nogil:
    cdef uint32_t share = hystart.last_round_min_us // MIN_RTT_DIVISOR
    return min(max(share, <uint32_t>MIN_RTT_THRESH_US), <uint32_t>MAX_RTT_THRESH_US)


cdef void judge_delay(HyStart* hystart) noexcept nogil:
    """Enter conservative slow start when the delay has grown; leave it if that was a mistake."""
    if hystart.samples < N_RTT_SAMPLE:
        return
    if hystart.css_rounds:
        if hystart.current_round_min_us < hystart.css_baseline_us:
            hystart.css_rounds = 0
    elif hystart.last_round_min_us and (
            hystart.current_round_min_us >= hystart.last_round_min_us + rtt_threshold(hystart)):
        hystart.css_baseline_us = hystart.current_round_min_us
        hystart.css_rounds = CSS_ROUNDS


cdef uint32_t hystart_acked(HyStart* hystart, Tcb* tcb, uint32_t acked) noexcept nogil:
    """RFC 9406 section 4.2."""
    judge_delay(hystart)
    if hystart.in_round and seq_ge(tcb.snd_una, hystart.window_end):
        start_round(hystart)
        if hystart.css_rounds:
            hystart.css_rounds -= 1
            if hystart.css_rounds == 0:
                tcb.congestion.ssthresh = tcb.congestion.cwnd
                return 0
    return acked // CSS_GROWTH_DIVISOR if hystart.css_rounds else acked
