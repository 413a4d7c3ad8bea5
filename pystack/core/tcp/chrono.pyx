# What a connection's time goes to while it has something to send: busy with it, held back by the
# peer's window, or by its own send buffer.
# Called by: transfer (text to send), ack (all of it has arrived), output (why there is no more),
# info.
# RFCs: none; Linux's tcp_chrono, for TCP_INFO.

from libc.stdint cimport int64_t, uint8_t
from pystack.core.tcp.busy cimport tcb_rare
from pystack.core.tcp.layer cimport Tcb, TcpLayer, TcpRare
from pystack.core.tcp.tcb cimport tcb_flight


cdef void change(TcpLayer* tcp, Tcb* tcb, Chrono what) noexcept nogil:
    cdef int64_t took = tcp.context.now - tcb.busy.chrono_since
    cdef TcpRare* rare
    if tcb.busy.chrono == CHRONO_BUSY:
        tcb.busy_time += took
    elif tcb.busy.chrono != CHRONO_NONE:
        rare = tcb_rare(tcb)
        if rare != NULL:
            rare.chrono_time[tcb.busy.chrono - CHRONO_WINDOW] += took
    tcb.busy.chrono = <uint8_t>what
    tcb.busy.chrono_since = tcp.context.now


cdef void chrono_start(TcpLayer* tcp, Tcb* tcb, Chrono what) noexcept nogil:
    if tcb.busy.chrono < what:
        change(tcp, tcb, what)


cdef void chrono_stop(TcpLayer* tcp, Tcb* tcb, Chrono what) noexcept nogil:
    if tcb.busy.send_ring.length == 0 and tcb_flight(tcb) == 0:
        if tcb.busy.chrono != CHRONO_NONE:
            change(tcp, tcb, CHRONO_NONE)
    elif tcb.busy.chrono == what:
        change(tcp, tcb, CHRONO_BUSY)


cdef int64_t chrono_time(const TcpLayer* tcp, const Tcb* tcb, Chrono what) noexcept nogil:
    cdef int64_t running = tcp.context.now - tcb.busy.chrono_since if tcb.busy.chrono == what else 0
    if what == CHRONO_BUSY:
        return tcb.busy_time + running
    return tcb.rare.chrono_time[<int>what - CHRONO_WINDOW] + running
