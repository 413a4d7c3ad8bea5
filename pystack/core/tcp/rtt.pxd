# Round-trip time and retransmission timeout.
# Called by: ack, handshake, timers, listen.
# RFCs: 6298, 7323 section 4, 8985 section 6.2 step 1 (RACK.min_RTT).

from libc.stdint cimport int64_t
from pystack.core.tcp.layer cimport Rtt, Tcb, TcpLayer

# One round trip, >= 0 ns, never of a retransmitted segment without a timestamp (Karn).
cdef void rtt_sample(TcpLayer* tcp, Tcb* tcb, int64_t sample_ns) noexcept nogil
# The latest round trip, for the least of the last minutes.
cdef void rtt_min_sample(TcpLayer* tcp, Tcb* tcb, int64_t sample_ns) noexcept nogil
# The timeout in force: RTO doubled by each back-off, within the bounds.
cdef int64_t rtt_timeout(const Tcb* tcb) noexcept nogil
cdef void rtt_back_off(Tcb* tcb) noexcept nogil


cdef inline int64_t rtt_min(const Rtt* rtt) noexcept nogil:
    """The least round trip of the last minutes, ns; very long if there was none."""
    return <int64_t>rtt.min_us * 1000 if rtt.min_us else <int64_t>1 << 42
