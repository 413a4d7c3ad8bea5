# The ACK field, step five of SEGMENT ARRIVES: what has arrived, how large the peer's window is, how
# long it took.
# Called by: input, handshake (the first window).
# RFCs: 9293 section 3.10.7.4, 5961 section 5, 7323 section 4, 2018, 2883.

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.wire.tcp cimport TcpOptions, TcpSegment

# In a synchronized state. True: go on with the segment; False: it was dropped (a challenge ACK may
# be owed).
cdef bint ack_input(
        TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg, const TcpOptions* options) noexcept nogil
cdef uint32_t segment_window(const Tcb* tcb, const TcpSegment* seg) noexcept nogil
cdef bint fin_is_acked(const Tcb* tcb) noexcept nogil
