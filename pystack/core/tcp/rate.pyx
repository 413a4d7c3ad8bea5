# How fast the network delivers: a sample of the delivery rate with each ACK.
# Called by: scoreboard (what is sent), arrival and recovery (each ACK), transfer (writes), info.
# RFCs: none; draft-cheng-iccrg-delivery-rate-estimation-02.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from pystack.core.tcp.layer cimport SENT_APP_LIMITED, Tcb, TcpLayer
from pystack.core.tcp.news cimport AckNews
from pystack.core.tcp.rtt cimport rtt_min
from pystack.core.tcp.scoreboard cimport sent_in_flight
from pystack.core.tcp.tcb cimport tcb_unsent
from pystack.core.wire.tcp cimport seq_gt

cdef enum:
    MICROSECONDS_PER_SECOND = 1_000_000
    LONGEST = 0xFFFFFFFF        # us


cdef void remember(Tcb* tcb, const RateSample* sample) noexcept nogil:
    """For TCP_INFO, as Linux: an application-limited sample only if it is no lower than what is
    known.
    """
    cdef uint32_t interval = <uint32_t>min(max(sample.interval // 1000, 1), <int64_t>LONGEST)
    if sample.app_limited and <uint64_t>sample.delivered * tcb.rate_interval_us < (
            <uint64_t>tcb.rate_delivered * interval):
        return
    tcb.rate_delivered = sample.delivered
    tcb.rate_interval_us = interval
    tcb.rate_app_limited = <uint8_t>sample.app_limited


cdef void rate_sample(
        TcpLayer* tcp, Tcb* tcb, const AckNews* news, RateSample* sample) noexcept nogil:
    """Draft section 3.3: the slower of the rates at which it was sent and acknowledged; what was
    acknowledged faster than it can have been sent was only held back on the way.
    """
    cdef int64_t now = tcp.context.now
    cdef int64_t interval
    if tcb.busy.app_limited and seq_gt(tcb.delivered, tcb.busy.app_limited):
        tcb.busy.app_limited = 0     # the bubble has arrived
    sample.interval = 0
    sample.delivered = 0
    sample.rtt = news.rtt if news.rtt else -1
    sample.rtt_delayed = news.rtt_delayed
    sample.prior_delivered = news.sent_delivered
    sample.prior_in_flight = news.in_flight_before
    sample.acked = tcb.delivered - news.delivered_before
    sample.lost = tcb.rare.lost - news.lost_before
    sample.app_limited = news.sent_flags & SENT_APP_LIMITED != 0
    if sample.acked:
        tcb.busy.delivered_at = now
    if news.latest_sent_at == 0:
        return
    tcb.busy.first_sent_at = news.latest_sent_at
    if tcb.busy.reneged:
        return
    sample.delivered = tcb.delivered - news.sent_delivered
    interval = max(news.latest_sent_at - news.sent_first_at, now - news.sent_delivered_at)
    # Shorter than any round trip: what was sent again twice has mixed up the times.
    if interval < max(rtt_min(&tcb.rtt), 1):
        return
    sample.interval = interval
    remember(tcb, sample)


cdef void rate_set_app_limited(Tcb* tcb) noexcept nogil:
    tcb.busy.app_limited = max(tcb.delivered + sent_in_flight(tcb), <uint32_t>1)


cdef void rate_check_app_limited(Tcb* tcb) noexcept nogil:
    """Draft section 3.4: there is less than a segment to send, cwnd has room, and all that is lost
    has been sent again.
    """
    if (tcb_unsent(tcb) < tcb.smss and sent_in_flight(tcb) * tcb.smss < tcb.congestion.cwnd
            and tcb.busy.lost_out <= tcb.busy.retrans_out):
        rate_set_app_limited(tcb)


cdef uint64_t rate_of(const Tcb* tcb) noexcept nogil:
    if tcb.rate_interval_us == 0:
        return 0
    return (<uint64_t>tcb.rate_delivered * tcb.smss * MICROSECONDS_PER_SECOND
            // tcb.rate_interval_us)
