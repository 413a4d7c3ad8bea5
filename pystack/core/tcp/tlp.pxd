# Tail loss probes: what an ACK says of the probe. (When: retransmission. The probe itself: output.)
# Called by: ack; output.
# RFCs: 8985 sections 7.3 and 7.4.

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.news cimport AckNews

# A probe has gone out: new data, or (old) the last segment again.
cdef void tail_probe_sent(TcpLayer* tcp, Tcb* tcb, bint old) noexcept nogil
# An ACK came while a probe is outstanding.
cdef void tail_probe_acked(
        TcpLayer* tcp, Tcb* tcb, uint32_t ack, const AckNews* news) noexcept nogil
