# How much an application may queue for sending, and when it is told that it may again.
# Called by: transfer (writes), calls (poll), ack and output (progress), settings.
# RFCs: none; tcp(7), TCP_NOTSENT_LOWAT as Linux.

from libc.stdint cimport uint32_t, uint64_t
from pystack.core.context cimport endpoint_ready
from pystack.core.endpoint cimport READY_WRITE
from pystack.core.tcp.congestion.interface cimport congestion_windows
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.scoreboard cimport sent_pipe
from pystack.core.tcp.tcb cimport tcb_unsent

cdef enum:
    LEAST_SEGMENTS = 10         # RFC 6928
    MOST_IN_TRAIN = 0xFFFF


cdef uint32_t train_goal(const Tcb* tcb) noexcept nogil:
    cdef uint32_t goal = min(tcb.max_snd_wnd // 2, <uint32_t>MOST_IN_TRAIN)
    return max(goal - goal % tcb.smss, tcb.smss)


cdef uint32_t send_buffer_room(const Tcb* tcb) noexcept nogil:
    """The buffer's; TCP_NOTSENT_LOWAT is looked at where buffers are filled (chunks.pyx)."""
    return tcb.send_buffer - min(tcb.busy.send_ring.length, tcb.send_buffer)


cdef bint send_buffer_has_room(const Tcb* tcb) noexcept nogil:
    """A third of the buffer is free, and less than half of the low-water mark unsent (as Linux)."""
    return (tcb.busy.send_ring.length <= tcb.send_buffer - tcb.send_buffer // 3
            and <uint64_t>tcb_unsent(tcb) * 2 < tcb.settings.notsent_lowat)


cdef void expand(const TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Room for two windows of cwnd: one in the network, one for the application to fill; for BBR,
    which goes on sending while it recovers, for a third.
    """
    cdef uint64_t size
    if tcb.settings.send_locked or sent_pipe(tcb) >= tcb.congestion.cwnd:
        return
    size = max(<uint64_t>tcb.congestion.cwnd, LEAST_SEGMENTS * <uint64_t>tcb.smss) * (
        congestion_windows(tcb))
    size = min(size, <uint64_t>tcb.config.send_buffer_max)
    tcb.send_buffer = max(tcb.send_buffer, <uint32_t>size)


cdef void send_buffer_moved(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    if not tcb.write_blocked:
        return
    expand(tcp, tcb)
    if send_buffer_has_room(tcb):
        tcb.write_blocked = False
        endpoint_ready(tcp.context, &tcb.endpoint, READY_WRITE)
