# HyStart, as Linux has it: slow start ends when ACKs of one round come as a train as long as
# half of the round trip, or when the round trip has grown.
# Called by: cubic.
# RFCs: none; Ha and Rhee, "Taming the elephants: new TCP slow start" (2011).

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport ClassicHyStart, Tcb, TcpLayer

# A round trip was measured in slow start; `least_us` is the least so far.
cdef void hystart_classic_sample(
        TcpLayer* tcp, Tcb* tcb, ClassicHyStart* hystart, uint32_t rtt_us,
        uint32_t least_us) noexcept nogil
