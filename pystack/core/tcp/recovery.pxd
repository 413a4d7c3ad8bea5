# Loss recovery: Linux's states Open, Disorder, CWR, Recovery and Loss; when to enter and to leave
# them, and what to send again.
# Called by: ack (after each ACK), timers, errors, output for what to retransmit.
# RFCs: 8985, 6675, 6582, 5681 section 3.2, 3042, 6298 section 5, 2018.

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport Sent, Tcb, TcpLayer
from pystack.core.tcp.news cimport AckNews

# The scoreboard is up to date with an ACK that is dubious: what does that mean? duplicate: in the
# sense of RFC 5681 section 2.
cdef void recovery_acked(
        TcpLayer* tcp, Tcb* tcb, AckNews* news, bint duplicate) noexcept nogil
# cwnd after an ACK.
cdef void recovery_control(TcpLayer* tcp, Tcb* tcb, const AckNews* news) noexcept nogil
# The retransmission timer has fired.
cdef void recovery_timeout(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# The reordering timer has fired.
cdef void recovery_reordering_timeout(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# The path's MTU is smaller than segments that are outstanding.
cdef void recovery_too_big(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# The one record of the scoreboard is text of our SYN that the peer did not take.
cdef void recovery_fast_open(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# What to retransmit now, at most `train` bytes in segments of `mss`; NULL: nothing, send new data
# if the windows allow.
cdef Sent* recovery_next(
        TcpLayer* tcp, Tcb* tcb, uint32_t train, uint32_t mss,
        bint new_data_possible) noexcept nogil
# As much of it as the peer's window allows; NULL: nothing.
cdef Sent* recovery_within_window(Tcb* tcb, Sent* sent, uint32_t mss) noexcept nogil
# It has gone out.
cdef void recovery_sent_again(TcpLayer* tcp, Tcb* tcb, Sent* sent) noexcept nogil
