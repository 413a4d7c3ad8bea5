# The one timer of what is outstanding: retransmission timeout, tail loss probe or reordering.
# Called by: ack, recovery, rack, output, timers.
# RFCs: 6298 section 5, 8985 sections 6.2 and 7.2.

from libc.stdint cimport int64_t
from pystack.core.tcp.layer cimport RetransmitTimer, Tcb, TcpLayer

# ns. Linux adds two ticks of its clock to short timers: 2 ms or 8 ms on usual kernels, by their HZ.
cdef enum:
    TIMER_LEAST = 4_000_000

cdef void retransmit_timer_set(
        TcpLayer* tcp, Tcb* tcb, RetransmitTimer what, int64_t ns) noexcept nogil
# The RTO from now; or, where another timer was pending, from when the oldest data was sent.
cdef void retransmit_timer_rearm(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# After progress: a tail loss probe, or the RTO from now.
cdef void retransmit_timer_restart(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# New data was sent: start the timer if it is not running; and a probe may be due for its end.
cdef void retransmit_timer_sent(TcpLayer* tcp, Tcb* tcb, bint first) noexcept nogil
# Arm the RTO with its back-off, but not beyond the user timeout.
cdef void retransmit_timer_backed_off(TcpLayer* tcp, Tcb* tcb) noexcept nogil
