# HyStart++: slow start ends when round trips become longer, before it ends in a loss.
# Called by: cubic.
# RFCs: 9406.

from libc.stdint cimport int64_t, uint32_t
from pystack.core.tcp.layer cimport HyStart, Tcb

# A round trip was measured in slow start.
cdef void hystart_sample(HyStart* hystart, int64_t rtt_ns) noexcept nogil
# Output is over.
cdef void hystart_sent(HyStart* hystart, const Tcb* tcb) noexcept nogil
# `acked` bytes arrived in slow start: returns those for which cwnd may grow, and ends slow start
# when it is time.
cdef uint32_t hystart_acked(HyStart* hystart, Tcb* tcb, uint32_t acked) noexcept nogil
