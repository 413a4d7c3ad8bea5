# Loss recovery: when to believe that something is lost, and when it is over.
# Called by: ack (after each ACK), timers (RTO), calls of output for what to retransmit.
# RFCs: 6675, 6582, 5681 section 3.2, 3042, 6298 section 5, 2018.

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport Sent, Tcb, TcpLayer

# An ACK came: `acked` bytes newly acknowledged in order, `sacked` selectively; `duplicate` in the
# sense of RFC 5681.
cdef void recovery_acked(
        TcpLayer* tcp, Tcb* tcb, uint32_t acked, uint32_t sacked, bint duplicate) noexcept nogil
cdef void recovery_timeout(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# What to retransmit now, cut to at most `size` bytes; NULL: nothing, send new data if the window
# allows.
cdef Sent* recovery_next(
        Tcb* tcb, uint32_t train, uint32_t mss, bint new_data_possible) noexcept nogil
