# What a congestion control algorithm is: a name and a few functions, each of which may be NULL.
# Called by: interface (the table of algorithms), each algorithm.
# RFCs: 5681, 9438; draft-cardwell-iccrg-bbr-congestion-control-00.

from libc.stdint cimport int64_t, uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.rate cimport RateSample

cdef enum CongestionEvent:
    CONGESTION_LOSS = 0         # fast recovery begins
    CONGESTION_TIMEOUT = 1      # the retransmission timer has fired: a new episode
    CONGESTION_TIMEOUT_AGAIN = 2        # it has fired for what it had retransmitted: ssthresh stays
    CONGESTION_ECN = 3          # the peer has echoed a congestion mark

# The functions that an algorithm must have: ssthresh and acked. cwnd and ssthresh are bytes.
#
# One with `control` looks after cwnd itself, whatever the state of loss recovery; PRR, growth,
# validation of the window and what idleness does to it are for the others.
ctypedef struct Algorithm:
    const char* name
    # A connection begins to use it.
    void (*start)(TcpLayer* tcp, Tcb* tcb) noexcept nogil
    # The slow start threshold after a congestion event, at least 2 SMSS.
    uint32_t (*ssthresh)(TcpLayer* tcp, Tcb* tcb, CongestionEvent event) noexcept nogil
    # It is given up: free what it has allocated.
    void (*stop)(Tcb* tcb) noexcept nogil
    # `acked` bytes arrived while nothing is being recovered and the window was in use: grow.
    void (*acked)(TcpLayer* tcp, Tcb* tcb, uint32_t acked) noexcept nogil
    # A round trip was measured.
    void (*sample)(TcpLayer* tcp, Tcb* tcb, int64_t rtt_ns) noexcept nogil
    # Output is over.
    void (*sent)(TcpLayer* tcp, Tcb* tcb) noexcept nogil
    # The last reduction was a mistake.
    void (*undo)(TcpLayer* tcp, Tcb* tcb) noexcept nogil
    # Something is sent after `idle_ns` in which nothing was outstanding.
    void (*idle)(TcpLayer* tcp, Tcb* tcb, int64_t idle_ns) noexcept nogil
    # An ACK, with what it says of the delivery rate: set cwnd. False: it does not, this time.
    bint (*control)(TcpLayer* tcp, Tcb* tcb, const RateSample* sample) noexcept nogil
    # The retransmission timer has fired; cwnd is reduced already.
    void (*timeout)(TcpLayer* tcp, Tcb* tcb) noexcept nogil
    # How many times cwnd the send buffer should hold; 0: twice.
    uint32_t windows
