# Round-trip time and retransmission timeout.
# Called by: ack, timers, listen.
# RFCs: 6298, 7323 section 4.

from libc.stdint cimport int64_t
from pystack.core.tcp.layer cimport Rtt, TcpConfig

cdef void rtt_sample(Rtt* rtt, int64_t sample_ns, const TcpConfig* config) noexcept nogil
# The timeout in force: RTO doubled by each back-off, within the bounds.
cdef int64_t rtt_timeout(const Rtt* rtt, const TcpConfig* config) noexcept nogil
cdef void rtt_back_off(Rtt* rtt) noexcept nogil
