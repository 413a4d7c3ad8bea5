# What a connection's time goes to while it has something to send: busy with it, held back by the
# peer's window, or by its own send buffer.
# Called by: transfer (text to send), ack (all of it has arrived), output (why there is no more),
# info.
# RFCs: none; Linux's tcp_chrono, for TCP_INFO.

from libc.stdint cimport int64_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer

# Each outranks the one before.
cdef enum Chrono:
    CHRONO_NONE = 0
    CHRONO_BUSY = 1
    CHRONO_WINDOW = 2           # rwnd_limited
    CHRONO_ROOM = 3             # sndbuf_limited

cdef void chrono_start(TcpLayer* tcp, Tcb* tcb, Chrono what) noexcept nogil
cdef void chrono_stop(TcpLayer* tcp, Tcb* tcb, Chrono what) noexcept nogil
# ns
cdef int64_t chrono_time(const TcpLayer* tcp, const Tcb* tcb, Chrono what) noexcept nogil
