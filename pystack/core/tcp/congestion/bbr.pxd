# BBR: sends at the rate at which the network delivers, and keeps about as much outstanding as fits
# the path without a queue. Losses tell it little.
# Called by: interface; pacing.
# RFCs: none; draft-cardwell-iccrg-bbr-congestion-control-00.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from pystack.core.tcp.congestion.algorithm cimport CongestionEvent
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.rate cimport RateSample

# Linux's struct tcp_bbr_info, what TCP_CC_INFO tells.
ctypedef struct BbrInfo:
    uint32_t bandwidth_low      # bytes per second
    uint32_t bandwidth_high
    uint32_t min_rtt            # us; all ones: not known
    uint32_t pacing_gain        # in 1/256
    uint32_t cwnd_gain

cdef void bbr_start(TcpLayer* tcp, Tcb* tcb) noexcept nogil
cdef void bbr_stop(Tcb* tcb) noexcept nogil
cdef bint bbr_control(TcpLayer* tcp, Tcb* tcb, const RateSample* sample) noexcept nogil
cdef uint32_t bbr_ssthresh(TcpLayer* tcp, Tcb* tcb, CongestionEvent event) noexcept nogil
cdef void bbr_undo(TcpLayer* tcp, Tcb* tcb) noexcept nogil
cdef void bbr_idle(TcpLayer* tcp, Tcb* tcb, int64_t idle_ns) noexcept nogil
cdef void bbr_timeout(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# The rate at which it wants to be paced; tcb.rare.bbr is there.
cdef uint64_t bbr_pacing_rate(const Tcb* tcb) noexcept nogil
# At least so many segments make a train.
cdef uint32_t bbr_least_train(const Tcb* tcb) noexcept nogil
cdef void bbr_info(const Tcb* tcb, BbrInfo* info) noexcept nogil
