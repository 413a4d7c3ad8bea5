# Segment text, step seven of SEGMENT ARRIVES: into the receive queue, in order or not.
# Called by: text; input (duplicates); segments (SACK blocks).
# RFCs: 9293 sections 3.10.7.4 and 3.8.6.2.2, 2018, 2883, 5681 section 4.2.

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.window cimport window_now
from pystack.core.wire.tcp cimport SackBlock, TcpSegment

# The segment has been trimmed to the window. True if rcv_nxt moved.
cdef bint text_input(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil
# Data arrived again; it will be reported as a D-SACK.
cdef void duplicate_seen(TcpLayer* tcp, Tcb* tcb, uint32_t start, uint32_t end) noexcept nogil
# A segment came from beyond a hole.
cdef void out_of_order_count(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# The stream has ended: what lies beyond a hole is no part of it.
cdef void nothing_follows(Tcb* tcb) noexcept nogil
# Blocks to report, newest first, a D-SACK before all others; returns how many were written.
cdef int sack_blocks(const Tcb* tcb, SackBlock* blocks, int room) noexcept nogil
cdef bint holes_exist(const Tcb* tcb) noexcept nogil


cdef inline bint text_is_ready(const Tcb* tcb) noexcept nogil:
    """As much as SO_RCVLOWAT asks for; or less, once the window has no room for another segment: as
    in Linux, nobody waits for what cannot come.
    """
    return tcb.busy.received.length >= tcb.settings.receive_low or (
        tcb.busy.received.length != 0 and window_now(tcb) <= tcb.ack_segment)
