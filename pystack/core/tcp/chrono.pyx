# What a connection's time goes to while it has something to send: busy with it, held back by the
# peer's window, or by its own send buffer.
# Called by: calls (text to send), ack (all of it has arrived), output (why there is no more), info.
# RFCs: none; Linux's tcp_chrono, for TCP_INFO.

from libc.stdint cimport int64_t, uint8_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.tcb cimport tcb_flight


cdef void change(TcpLayer* tcp, Tcb* tcb, Chrono what) noexcept nogil:
    if tcb.chrono != CHRONO_NONE:
        tcb.chrono_time[tcb.chrono - 1] += tcp.context.now - tcb.chrono_since
    tcb.chrono = <uint8_t>what
    tcb.chrono_since = tcp.context.now


cdef void chrono_start(TcpLayer* tcp, Tcb* tcb, Chrono what) noexcept nogil:
    if tcb.chrono < what:
        change(tcp, tcb, what)


cdef void chrono_stop(TcpLayer* tcp, Tcb* tcb, Chrono what) noexcept nogil:
    if tcb.send_ring.length == 0 and tcb_flight(tcb) == 0:
        if tcb.chrono != CHRONO_NONE:
            change(tcp, tcb, CHRONO_NONE)
    elif tcb.chrono == what:
        change(tcp, tcb, CHRONO_BUSY)


cdef int64_t chrono_time(const TcpLayer* tcp, const Tcb* tcb, Chrono what) noexcept nogil:
    cdef int64_t running = tcp.context.now - tcb.chrono_since if tcb.chrono == what else 0
    return tcb.chrono_time[<int>what - 1] + running
