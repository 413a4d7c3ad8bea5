# The window that we offer, and how large the receive buffer becomes.
# Called by: listen and calls (opening), receive (text), transfer (reads), segments (their window),
#   settings.
# RFCs: 9293 sections 3.8.6 and 3.8.6.2.2, 7323 section 2; where they leave a choice, as Linux.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer

# The shift to offer on a SYN.
cdef uint8_t window_scale_for(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil
# The window of a SYN, in full: a whole number of segments of a size. The field says 65535 at most.
cdef uint32_t window_at_first(const TcpLayer* tcp, const Tcb* tcb, uint32_t mss) noexcept nogil
# The handshake is over; what the window may grow to is known.
cdef void window_start(TcpLayer* tcp, Tcb* tcb, uint32_t mss) noexcept nogil
# The window that we would like to offer now; it may be less than what has been offered.
cdef uint32_t window_choose(const Tcb* tcb) noexcept nogil
# The field of a segment that is sent now; remembers the edge, which never moves left.
cdef uint16_t window_field(Tcb* tcb) noexcept nogil
# In-order text has come: offer more, the faster it comes.
cdef void window_grow(Tcb* tcb, uint32_t length) noexcept nogil
# The application has read `size` bytes.
cdef void window_read(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# How long a round trip takes, as a receiver sees it: of a timestamp, or of a window's worth.
cdef void window_round_trip(Tcb* tcb, int64_t sample) noexcept nogil
cdef void window_round_trip_of_window(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# SO_RCVBUF, in bytes of stream.
cdef void window_resize(Tcb* tcb, uint32_t size) noexcept nogil
# The same without a promise that it stays so.
cdef void window_widen(Tcb* tcb, uint32_t size) noexcept nogil
# TCP_WINDOW_CLAMP: 0 or -EINVAL. As Linux, 0 takes the bound away, before the connection only.
cdef int window_set_clamp(Tcb* tcb, uint32_t clamp) noexcept nogil


cdef inline uint32_t window_now(const Tcb* tcb) noexcept nogil:
    """What of the offered window is left (RCV.WND)."""
    cdef uint32_t left = tcb.rcv_edge - tcb.rcv_nxt
    return left if <int>left > 0 else 0
