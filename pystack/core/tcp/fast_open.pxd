# TCP Fast Open: data in SYNs.
# Called by: listen and handshake (both sides), input, calls (opening), timers, tcb (endings).
# RFCs: 7413; where it leaves a choice, as Linux.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from pystack.core.ip.layer cimport IpView
from pystack.core.tcp.fast_open_cookie cimport FastOpenCookie
from pystack.core.tcp.layer cimport Backlog, FAST_OPEN_EARLY, Tcb, TcpLayer
from pystack.core.wire.tcp cimport TcpOptions, TcpSegment

# --- the server

# May the data of this SYN be taken at once? *answer: the cookie for the SYN-ACK, if it is to have
# one.
cdef bint fast_open_input(
        TcpLayer* tcp, Tcb* listener, const IpView* view, const TcpSegment* seg,
        const TcpOptions* options, FastOpenCookie* answer) noexcept nogil
# The child of such a SYN, whose options are agreed on: into the accept queue, with its data.
cdef void fast_open_child(
        TcpLayer* tcp, Tcb* listener, Tcb* child, const TcpSegment* seg) noexcept nogil
# It has been accepted, and the handshake still goes on.
cdef void fast_open_accepted(Tcb* listener, Tcb* child) noexcept nogil
# The handshake is over, or the connection is: it does not count any more.
cdef void fast_open_leave(Tcb* tcb) noexcept nogil
# A RST is about to end it.
cdef void fast_open_reset(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# The listener closes: forget its children that have been accepted, and resets.
cdef void fast_open_release(Backlog* backlog) noexcept nogil


cdef inline bint is_early(const Tcb* tcb) noexcept nogil:
    """Sends and receives, though its SYN-ACK is not acknowledged yet."""
    return tcb.fast_open & FAST_OPEN_EARLY != 0


cdef inline bint awaits_accept(const Tcb* tcb) noexcept nogil:
    return tcb.busy.listener != NULL and tcb.busy.list == &tcb.busy.listener.rare.backlog.accept


# --- the client

# Is there a cookie (or is none needed), so that data may go with the SYN? connect() can wait for it
# then.
cdef bint fast_open_possible(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# Send the first SYN, with as much of the data as it carries; how much that is.
cdef uint32_t fast_open_syn(
        TcpLayer* tcp, Tcb* tcb, const uint8_t* data, size_t length) noexcept nogil
# The SYN-ACK to it; `again`: the SYN had been repeated. Its data is freed, or sent again at once.
cdef void fast_open_answered(
        TcpLayer* tcp, Tcb* tcb, uint32_t ack, const TcpOptions* options,
        bint again) noexcept nogil
# A timeout before it is counted in tcb.busy.retransmits; `last`: the connection ends with it.
cdef void fast_open_timeout(TcpLayer* tcp, const Tcb* tcb, bint last) noexcept nogil
# The connection is over: did a middlebox eat its data, or let it pass?
cdef void fast_open_end(TcpLayer* tcp, const Tcb* tcb) noexcept nogil
