# What an ACK says has arrived: in order, selectively, twice.
# Called by: ack.
# RFCs: 9293 section 3.10.7.4, 2018 section 5, 2883 section 5, 8985 section 6.2 steps 1 to 3.

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.news cimport AckNews
from pystack.core.wire.tcp cimport TcpOptions

# Selective acknowledgments of a segment whose ACK field is `ack`; SND.UNA has moved already.
cdef void arrival_sacked(
        TcpLayer* tcp, Tcb* tcb, uint32_t ack, const TcpOptions* options,
        AckNews* news) noexcept nogil
# Everything before SND.UNA has arrived: forget it.
cdef void arrival_acked(TcpLayer* tcp, Tcb* tcb, AckNews* news) noexcept nogil
