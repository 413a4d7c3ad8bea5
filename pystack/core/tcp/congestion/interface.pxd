# Congestion control: how much may be in the network. The algorithms stand beside this file; the
# Tcb says by a small integer which of them it uses.
# Called by: ack, recovery, ecn, output, listen, settings.
# RFCs: 5681, 6582, 6928, 3465, 4015, 3168 section 6.1.2.

from libc.stdint cimport int64_t, uint32_t
from pystack.core.tcp.congestion.algorithm cimport CongestionEvent
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.rate cimport RateSample

cdef enum:
    ALGORITHMS = 3

# The handshake is done, SMSS is known: the initial window, by tcb.busy.retransmits of the SYN.
cdef void congestion_start(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# `acked` bytes have newly arrived, in order or selectively, outside of fast recovery.
cdef void congestion_acked(TcpLayer* tcp, Tcb* tcb, uint32_t acked) noexcept nogil
# A round trip was measured.
cdef void congestion_sample(TcpLayer* tcp, Tcb* tcb, int64_t rtt_ns) noexcept nogil
# An ACK: True if the algorithm has set cwnd itself; otherwise it is reduced or grows as the state
# of loss recovery demands.
cdef bint congestion_control(
        TcpLayer* tcp, Tcb* tcb, const RateSample* sample) noexcept nogil
# Does the algorithm set cwnd itself, whatever the state of loss recovery?
cdef bint congestion_controls(const Tcb* tcb) noexcept nogil
# How much the send buffer should hold, in windows of cwnd.
cdef uint32_t congestion_windows(const Tcb* tcb) noexcept nogil
# Congestion: remembers cwnd and ssthresh for congestion_undo, sets ssthresh; a timeout sets cwnd to
# one SMSS. Once per episode. CONGESTION_TIMEOUT_AGAIN remembers nothing and leaves ssthresh.
cdef void congestion_reduce(TcpLayer* tcp, Tcb* tcb, CongestionEvent event) noexcept nogil
# The last congestion_reduce was a mistake (RFC 4015): cwnd and ssthresh are at least what they were
cdef void congestion_undo(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# Fast recovery is over: cwnd is set to ssthresh.
cdef void congestion_recovered(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# Something is about to be sent and nothing is outstanding.
cdef void congestion_idle(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# Output is over: `sent` if there was new text, `full` if cwnd has no room for another segment.
cdef void congestion_sent(TcpLayer* tcp, Tcb* tcb, bint sent, bint full) noexcept nogil
# Another algorithm from now on.
cdef void congestion_choose(TcpLayer* tcp, Tcb* tcb, int algorithm) noexcept nogil
