# BBR's model of the path: bandwidth, least round trip, how much ACKs are aggregated, policers.
# Called by: bbr.
# RFCs: none; draft-cardwell-iccrg-bbr-congestion-control-00 section 4.1.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from pystack.core.tcp.congestion.bbr_state cimport BbrState
from pystack.core.tcp.layer cimport Tcb
from pystack.core.tcp.rate cimport RateSample

# A connection begins to use BBR.
cdef void model_start(BbrState* bbr, const Tcb* tcb, int64_t now) noexcept nogil
# Each ACK: rounds, bandwidth, policers, aggregation.
cdef void model_update(
        BbrState* bbr, const Tcb* tcb, const RateSample* sample, int64_t now) noexcept nogil
# Each ACK: the least round trip; True if the one that is known had grown too old.
cdef bint model_update_rtt(BbrState* bbr, const RateSample* sample, int64_t now) noexcept nogil
# A loss, by a timeout or with this ACK: does it look like a policer's?
cdef void model_lost(
        BbrState* bbr, const Tcb* tcb, const RateSample* sample, int64_t now) noexcept nogil
# Losses look like a policer's no longer, or that was a mistake.
cdef void model_forget_policer(BbrState* bbr, const Tcb* tcb, int64_t now) noexcept nogil
# It has been believed for long enough: forget it, and probe.
cdef bint model_policer_is_old(const BbrState* bbr) noexcept nogil
# Bytes per second: the policer's rate, or else the bottleneck's.
cdef uint64_t model_bandwidth(const BbrState* bbr) noexcept nogil
# Segments by which cwnd is to be larger, for ACKs that come in lumps.
cdef uint32_t model_extra(const BbrState* bbr, const Tcb* tcb) noexcept nogil
# The bandwidth-delay product times a gain, in segments, rounded up; the initial window as long as
# no round trip is known.
cdef uint32_t model_product(
        const BbrState* bbr, const Tcb* tcb, uint64_t bandwidth, uint32_t gain) noexcept nogil
