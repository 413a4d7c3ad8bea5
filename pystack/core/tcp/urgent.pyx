# Urgent text: in line; reads end before its last byte, the mark, and begin there (as Linux).
# Called by: text (URG), transfer (reads).
# RFCs: 9293 section 3.8.5, 6093 section 4.

from libc.stdint cimport uint16_t, uint32_t
from pystack.core.context cimport endpoint_ready
from pystack.core.endpoint cimport READY_URGENT
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.wire.tcp cimport TcpSegment, seq_gt, seq_le


cdef inline uint32_t next_read(const Tcb* tcb) noexcept nogil:
    """The sequence number of what is read next."""
    return tcb.rcv_nxt - tcb.fin_received - tcb.busy.received.length


cdef void urgent_input(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """Sixth, check the URG bit (RFC 9293 section 3.10.7.4): RCV.UP moves forward only, and the user
    is told (MUST-32). As Linux, a pointer of 0 is one of 1.
    """
    cdef uint32_t up = seg.seq + max(seg.urgent, <uint16_t>1)
    if tcb.fin_received or (tcb.urgent_in and seq_le(up, tcb.rcv_up)):
        return
    if not seq_gt(up, next_read(tcb)):
        return                  # it was read already
    tcb.urgent_in = True
    tcb.rcv_up = up
    endpoint_ready(tcp.context, &tcb.endpoint, READY_URGENT)


cdef uint32_t urgent_limit(const Tcb* tcb, uint32_t offset, uint32_t length) noexcept nogil:
    cdef uint32_t distance = tcb.rcv_up - 1 - (next_read(tcb) + offset)
    if tcb.urgent_in and 0 < distance < length:
        return distance
    return length


cdef bint urgent_at_mark(const Tcb* tcb) noexcept nogil:
    return tcb.urgent_in and tcb.rcv_up - 1 == next_read(tcb)


cdef void urgent_read(Tcb* tcb) noexcept nogil:
    if tcb.urgent_in and seq_le(tcb.rcv_up, next_read(tcb)):
        tcb.urgent_in = False
