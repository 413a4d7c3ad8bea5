# How fast the network delivers: a sample of the delivery rate with each ACK.
# Called by: scoreboard (what is sent), arrival and recovery (each ACK), transfer (writes), info.
# RFCs: none; draft-cheng-iccrg-delivery-rate-estimation-02.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from pystack.core.tcp.layer cimport SENT_APP_LIMITED, Sent, Tcb, TcpLayer
from pystack.core.tcp.news cimport AckNews

# What one ACK says of the rate, for congestion control. Counts are segments.
ctypedef struct RateSample:
    int64_t interval            # ns in which `delivered` arrived; 0: there is no sample
    int64_t rtt                 # ns, of what was sent last; negative: not measured
    uint32_t delivered
    uint32_t prior_delivered    # P.delivered: tcb.delivered when what has arrived was sent
    uint32_t prior_in_flight    # before the ACK
    uint32_t acked              # by this ACK, selectively too
    uint32_t lost               # found to be lost by it
    bint app_limited            # the application may have been what limited it
    bint rtt_delayed            # the ACK may have waited for more

cdef void rate_sample(
        TcpLayer* tcp, Tcb* tcb, const AckNews* news, RateSample* sample) noexcept nogil
# The application is about to write: was there nothing more to send?
cdef void rate_check_app_limited(Tcb* tcb) noexcept nogil
# What is sent until all that is outstanding now has arrived says little about the network.
cdef void rate_set_app_limited(Tcb* tcb) noexcept nogil
# Bytes per second of the last sample that counts.
cdef uint64_t rate_of(const Tcb* tcb) noexcept nogil


cdef inline void rate_sent(Tcb* tcb, Sent* sent, int64_t now) noexcept nogil:
    """A record is sent, or sent again (draft section 3.2); tcb.busy is there."""
    if tcb.busy.packets_out == 0:
        tcb.busy.first_sent_at = tcb.busy.delivered_at = now
    sent.sent_at = now
    sent.first_sent_at = tcb.busy.first_sent_at
    sent.delivered_at = tcb.busy.delivered_at
    sent.delivered = tcb.delivered
    if tcb.busy.app_limited:
        sent.flags |= SENT_APP_LIMITED
    else:
        sent.flags &= ~SENT_APP_LIMITED
