# When to acknowledge: at once, with the second full segment, or after a while.
# Called by: receive and text, handshake, transfer (reads), segments and output (what was sent),
# timers, settings.
# RFCs: 9293 section 3.8.6.3, 5681 section 4.2; where they leave a choice, as Linux.

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.wire.tcp cimport TcpSegment

# The handshake is over.
cdef void acknowledge_start(Tcb* tcb, uint32_t mss) noexcept nogil
# Learn from a segment what a full one is.
cdef void acknowledge_measure(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil
# In-order text has come and is counted in unacked_bytes: an ACK is owed.
cdef void acknowledge_text(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil
cdef void acknowledge_owe(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# Something is wrong (a duplicate, a gap): the sender needs our ACKs for a while.
cdef void acknowledge_quickly(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# The application has read.
cdef void acknowledge_read(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# An ACK has gone out; text has gone out.
cdef void acknowledge_sent(TcpLayer* tcp, Tcb* tcb) noexcept nogil
cdef void acknowledge_by_text(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# The delay is over.
cdef void acknowledge_timer(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# TCP_QUICKACK.
cdef void acknowledge_with_text(TcpLayer* tcp, Tcb* tcb) noexcept nogil
cdef void acknowledge_set_quick(TcpLayer* tcp, Tcb* tcb, bint quick) noexcept nogil


cdef inline bint is_interactive(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """Text is answered with text: our ACKs will find a ride (Linux's ping-pong mode)."""
    return tcb.pingpong >= tcb.config.pingpong_threshold
